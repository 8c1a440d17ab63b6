"""Compiled programs, given back before they are too many for the system."""

import gc
from pathlib import Path

import jax

MANY = 20_000
"""Pieces of memory that a process has mapped. Linux allows 65,530, a program takes
hundreds, and beyond that XLA dies of a segmentation fault."""
_MAPS = Path("/proc/self/maps")


def let_go() -> bool:
    """Forgets compiled programs where the process has many; says whether it did.

    A study of a dozen trainings in one process reaches the limit. What is used again
    is compiled again.
    """
    if not _MAPS.exists() or len(_MAPS.read_bytes().splitlines()) <= MANY:
        return False
    jax.clear_caches()
    gc.collect()
    return True

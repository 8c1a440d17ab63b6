"""Bars on what takes more than a moment."""

from collections.abc import Iterable

import tqdm


def shown(results: Iterable, what: str, total: int) -> Iterable:
    """The same, with a progress bar in a terminal."""
    return tqdm.tqdm(results, desc=what, total=total, unit="shard", disable=None)

"""DNA as arrays of letters: ASCII, upper case, N for all but A, C, G and T."""

import numpy as np
from jaxtyping import UInt8

N = ord("N")
NO_LETTER = 0
"""Stands where a window reaches beyond its sequence."""


def _table() -> UInt8[np.ndarray, " bytes"]:
    """What each byte is read as."""
    table = np.full(256, N, np.uint8)
    for letters in (b"ACGT", b"acgt"):
        table[list(letters)] = list(b"ACGT")
    return table


_LETTERS = _table()
_COMPLEMENT = np.arange(256, dtype=np.uint8)
_COMPLEMENT[list(b"ACGT")] = list(b"TGCA")


def as_letters(text: str) -> UInt8[np.ndarray, " bases"]:
    """A sequence, upper or lower case, as letters."""
    return _LETTERS[np.frombuffer(text.encode("ascii", "replace"), np.uint8)]


def reverse_complement(
    letters: UInt8[np.ndarray, "windows bases"],
) -> UInt8[np.ndarray, "windows bases"]:
    """The other strand; what is none of A, C, G and T stays."""
    return _COMPLEMENT[letters[:, ::-1]]

"""What a sequence tells without a model: length, letters, k-mer frequencies."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

FEATURES = ("length", "gc", "cpg", "n_share")
"""The columns of `features`."""

_COMPLEMENT = str.maketrans("ACGTURYKMBVDHacgturykmbvdh", "TGCAAYRMKVBHDtgcaayrmkvbhd")
_PLACES = np.full(256, 4, np.uint8)
_PLACES[list(b"ACGT")] = _PLACES[list(b"acgt")] = range(4)


def features(sequences: Sequence[str]) -> Float32[np.ndarray, "sequences 4"]:
    """What a shortcut could rank regions by, upper and lower case alike (SPEC 3.3).

    Returns:
        A row per sequence: its length in bp; the share of G and C among its A, C, G
        and T; its number of CpG; the share of its letters that are none of the four.
        Shares of nothing are 0.
    """
    rows = [_features(sequence.upper()) for sequence in sequences]
    return np.array(rows, np.float32).reshape(-1, len(FEATURES))


def _features(sequence: str) -> tuple[int, float, int, float]:
    strong = sequence.count("G") + sequence.count("C")
    known = strong + sequence.count("A") + sequence.count("T")
    length = len(sequence)
    n_share = (length - known) / max(length, 1)
    return length, strong / max(known, 1), sequence.count("CG"), n_share


def kmer_frequencies(
    sequences: Sequence[str], k: int
) -> Float32[np.ndarray, "sequences kmers"]:
    """Shares of the overlapping k-mers of A, C, G and T, in alphabetical order.

    Args:
        sequences: upper or lower case alike.
        k: letters of a k-mer, 1 to 8.

    Returns:
        A row of 4**k per sequence. It sums to 1, or is 0 where the sequence holds no
        k-mer without another letter.
    """
    if not 1 <= k <= 8:
        raise ValueError(f"k must be from 1 to 8, not {k}")
    shares = np.zeros((len(sequences), 4**k), np.float32)
    for row, sequence in enumerate(sequences):
        letters = np.frombuffer(sequence.encode("ascii", "replace"), np.uint8)
        places = _PLACES[letters]
        if len(places) >= k:
            windows = np.lib.stride_tricks.sliding_window_view(places, k)
            kmers = windows[(windows < 4).all(axis=1)] @ 4 ** np.arange(k)[::-1]
            shares[row] = np.bincount(kmers, minlength=4**k) / max(len(kmers), 1)
    return shares


def reverse_complement(sequence: str) -> str:
    """The other strand, 5' to 3'; knows the IUPAC codes, keeps upper and lower case."""
    return sequence.translate(_COMPLEMENT)[::-1]

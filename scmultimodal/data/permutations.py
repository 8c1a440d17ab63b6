"""Random orders that depend on their key alone.

Every random choice of this room is a permutation drawn from Philox, a counter-based
generator: the key names the seed and the purpose, the counter names the place (an
epoch, a cell, a step). Nothing depends on what was drawn before, so resuming, hosts
and threads change nothing. The raw words of a NumPy bit generator are stable between
NumPy versions; `Generator.permutation` is not, hence the sort.
"""

import enum

import numpy as np
from jaxtyping import Int64


class Stream(enum.IntEnum):
    """What a permutation is for. Streams of one seed are independent."""

    EPOCH = 0
    BATCH_ORDER = 1
    FEATURE_ORDER = 2
    SPLIT = 3
    PEAKS = 4


def permutation(
    size: int, *, seed: int, stream: Stream, position: tuple[int, int] = (0, 0)
) -> Int64[np.ndarray, " size"]:
    """Returns the permutation of `range(size)` that belongs to a key.

    Args:
        size: number of things to order.
        seed: seed of the run, 0 or more.
        stream: what the permutation is for.
        position: two numbers, 0 or more, that say which one of the stream.
    """
    philox = np.random.Philox(key=(seed, stream), counter=(0, 0, *position))
    return np.argsort(philox.random_raw(size), kind="stable")

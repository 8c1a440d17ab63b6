"""Non-zero medians of genes over more cells than memory holds (SPEC 2.2.7).

A float from 0 is, as an integer of its bits, in the order of floats. Counting how many
values share the upper bits is a histogram with logarithmic bins; counting the rest of
the bits among those of the middle bin gives the median itself.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Float, Float32, Int64, Integer, UInt32

from scmultimodal.singlecell import cores

# Of 32 bits: 16 for the histogram, 7 of which are the fraction's first.
_LOW_BITS = 16
RELATIVE_ERROR = 2.0**-8
"""Of a median by histogram: half a bin, whose width is 1 / 128 of what it begins at."""


class Block(NamedTuple):
    """Counts of some cells, in CSR form."""

    indptr: Integer[np.ndarray, " offsets"]
    indices: Integer[np.ndarray, " nonzeros"]
    counts: Integer[np.ndarray, " nonzeros"]
    factors: Float[np.ndarray, " cells"]
    """What the counts of each cell are multiplied by; 0 leaves it out."""


def fit_medians(
    blocks: Callable[[], Iterable[Block]], num_genes: int, *, exact: bool
) -> Float32[np.ndarray, " genes"]:
    """Median of log1p(count · factor) over each gene's entries; 1 where it has none.

    Memory: some hundred numbers per gene, whatever the number of cells.

    Args:
        blocks: gives all cells, each time it is called: twice, or four times if exact.
        num_genes: number of columns.
        exact: the median of the float32 values; otherwise one within `RELATIVE_ERROR`.
    """
    first, last = _range(blocks())
    lowest = np.full(num_genes, first, np.int64)
    histogram = _count(blocks(), lowest, _LOW_BITS, last - first + 1)
    total = histogram.sum(1, dtype=np.int64)
    middle = []
    for rank in ((total - 1) // 2, total // 2):
        digit, rank_in_bin = _find(histogram, rank)
        keys = lowest + digit << _LOW_BITS
        if exact:
            for shift in (8, 0):
                counts = _count(blocks(), keys >> shift, shift, 256)
                digit, rank_in_bin = _find(counts, rank_in_bin)
                keys += digit << shift
        else:
            keys += 1 << (_LOW_BITS - 1)
        middle.append(keys.astype(np.uint32).view(np.float32))
    medians = np.mean(middle, axis=0, dtype=np.float32)
    return np.where(total > 0, medians, np.float32(1))


def _count(
    blocks: Iterable[Block], lowest: Int64[np.ndarray, " genes"], shift: int, bins: int
) -> UInt32[np.ndarray, "genes bins"]:
    """How many values of each gene have which upper bits.

    Args:
        blocks: all cells.
        lowest: the upper bits that the first bin stands for.
        shift: how many lower bits are left away.
        bins: number of bins; what lies beyond is not counted.
    """
    histogram = np.zeros((len(lowest), bins), np.uint32)
    # Genes, not cells, are shared out: threads write to places of their own.
    for block in blocks:
        arguments = (*map(np.asarray, block), lowest, shift, histogram)

        def count(genes: slice, arguments=arguments) -> None:
            _count_genes(genes.start, genes.stop, *arguments)

        list(cores.on_all(count, len(lowest)))
    return histogram


def _find(
    histogram: UInt32[np.ndarray, "genes bins"], rank: Int64[np.ndarray, " genes"]
) -> tuple[Int64[np.ndarray, " genes"], Int64[np.ndarray, " genes"]]:
    """The bin that the value of a rank is in, and its rank there."""
    found, left = np.zeros_like(rank), rank.copy()
    for number in range(histogram.shape[1] - 1):
        beyond = (found == number) & (left >= histogram[:, number])
        left[beyond] -= histogram[beyond, number]
        found[beyond] += 1
    return found, left


# The type checker of the tests would wrap what numba compiles: hence no_type_check.
@numba.njit(nogil=True, cache=True)
@no_type_check
def _count_genes(
    first, last, indptr, indices, counts, factors, lowest, shift, histogram
):
    value = np.empty(1, np.float32)
    key = value.view(np.uint32)
    for row in range(len(factors)):
        if factors[row] <= 0:
            continue
        mine = indices[indptr[row] : indptr[row + 1]]
        begin = indptr[row] + np.searchsorted(mine, first)
        end = indptr[row] + np.searchsorted(mine, last)
        count_before = -1
        for at in range(begin, end):
            if counts[at] != count_before:
                count_before = counts[at]
                value[0] = np.log1p(count_before * factors[row])
            gene = indices[at]
            place = np.int64(key[0] >> shift) - lowest[gene]
            if 0 <= place < histogram.shape[1]:
                histogram[gene, place] += 1


def _range(blocks: Iterable[Block]) -> tuple[int, int]:
    """The upper bits of the least and of the greatest value there can be."""
    least, greatest = np.inf, 0.0
    for block in blocks:
        used = block.factors[block.factors > 0]
        if len(used) and len(block.counts):
            least = min(least, used.min())
            greatest = max(greatest, used.max() * int(block.counts.max()))
    ends = np.log1p(np.array([min(least, greatest), greatest])).astype(np.float32)
    low, high = (ends.view(np.uint32) >> np.uint32(_LOW_BITS)).tolist()
    return low, high

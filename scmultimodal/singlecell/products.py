"""Products of counts and a sparse table of small weights: peaks to genes."""

from typing import no_type_check

import numba
import numpy as np
import scipy.sparse as sp

from scmultimodal.ops import csr
from scmultimodal.singlecell import cores

# An entry of the right side of a product: its column, and its weight in 8 bits.
_COLUMN_BITS = 24
_MORE = np.uint32(2**32 - 1)


def multiply(counts: sp.csr_matrix, weights: sp.csr_matrix) -> sp.csr_matrix:
    """The product of two matrices of whole numbers from 0: int32 [rows, columns].

    Fast for a right side whose rows are short (a peak serves few genes). Indices are
    sorted and zeros are not stored.

    Args:
        counts: [rows, inner].
        weights: [inner, columns].
    """
    if counts.shape[1] != weights.shape[0]:
        raise ValueError(f"{counts.shape} times {weights.shape} is no product")
    columns = weights.shape[1]
    if columns >= 2**_COLUMN_BITS - 4 or weights.data.max(initial=0) > 255:
        product = sp.csr_matrix(counts.astype(np.int32) @ weights)
        product.sort_indices()
        return product
    table = _pack(weights)

    # As much as there can be: pages that nothing is written to take no memory.
    size = counts.shape[0] * columns
    indices, data = np.empty(size, np.int32), np.empty(size, np.int32)
    parts = cores.parts(counts.shape[0])

    def block(rows: slice) -> np.ndarray:
        span = slice(rows.start * columns, rows.stop * columns)
        out = (indices[span], data[span], _is_turned(rows, parts))
        return _multiply(*cores.arrays(counts, rows), *table, columns, *out)

    lengths = list(cores.on_all(block, counts.shape[0]))
    ends = np.cumsum([0, *(part.sum() for part in lengths)])
    begin = 0
    for rows, first, last in zip(parts, ends[:-1], ends[1:], strict=True):
        at = rows.start * columns
        if _is_turned(rows, parts):
            at = rows.stop * columns - (last - first)
        if not first:
            begin = at
        if at != begin + first:
            for array in (indices, data):
                array[begin + first : begin + last] = array[at : at + last - first]
    indptr = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))
    whole = slice(begin, begin + ends[-1])
    return csr.wrap(data[whole], indices[whole], indptr, (counts.shape[0], columns))


def _is_turned(rows: slice, parts: list[slice]) -> bool:
    """Whether a part is written from its end to its beginning.

    So is the first: its result then borders on that of the second, which need not be
    moved. Of two parts none is.
    """
    return rows == parts[0]


def _pack(weights: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns and weights as one number each, the first four of every row apart.

    Returns:
        Four entries for each row, of which the unused name columns beyond the last,
        and the fourth says `_MORE` where there are others; where the others of each
        row begin; the others.
    """
    entries = weights.indices.astype(np.uint32)
    entries |= weights.data.astype(np.uint32) << np.uint32(_COLUMN_BITS)
    lengths = np.diff(weights.indptr)
    first = np.empty((len(lengths), 4), np.uint32)
    first[:] = weights.shape[1] + np.arange(4)
    row = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(entries)) - weights.indptr[row]
    kept = place < np.where(lengths > 4, 3, 4)[row]
    first[row[kept], place[kept]] = entries[kept]
    first[lengths > 4, 3] = _MORE
    others = np.where(lengths > 4, lengths - 3, 0)
    begin = np.concatenate([[0], np.cumsum(others)]).astype(np.uint32)
    return first.ravel(), begin, entries[~kept]


# The type checker of the tests would wrap what numba compiles: hence no_type_check.
@numba.njit(nogil=True, cache=True)
@no_type_check
def _multiply(
    indptr, indices, data, first, begin, others, columns, out_indices, out_data, turned
):
    """Lengths of the rows of a product; its indices and its data go to `out`.

    Four entries of the right side are taken whether they are there or not: a loop of
    unknown length costs the processor more, for it cannot foresee its end.

    `turned` fills `out` from its end, with the last column of the last row first.
    """
    one, four = np.uint64(1), np.uint64(4)
    rows, width = np.uint64(len(indptr) - 1), np.uint64(columns)
    lengths = np.empty(rows, np.int64)
    sums = np.zeros(columns + 4, np.int32)
    # Unsigned numbers go round: so many steps of the greatest one go back.
    step = ~np.uint64(0) if turned else one
    at_row, at_column, filled = np.uint64(0), np.uint64(0), np.uint64(0)
    if turned:
        at_row, at_column = rows - one, width - one
        filled = np.uint64(out_data.size) - one
    row = at_row
    for _ in range(rows):
        for at in range(indptr[row], indptr[row + one]):
            inner, count = np.uint64(indices[at]), data[at]
            place = inner * four
            for slot in range(np.uint64(3)):
                _add(sums, first[place + slot], count)
            entry = first[place + np.uint64(3)]
            if entry != _MORE:
                _add(sums, entry, count)
                continue
            for to in range(np.uint64(begin[inner]), np.uint64(begin[inner + one])):
                _add(sums, others[to], count)
        length = np.int64(0)
        column = at_column
        # Without a branch: what is zero is overwritten by what comes next.
        for _ in range(width):
            out_indices[filled] = column
            out_data[filled] = sums[column]
            there = sums[column] != 0
            filled += step * np.uint64(there)
            length += there
            column += step
        sums[:] = 0
        lengths[row] = length
        row += step
    return lengths


@numba.njit(nogil=True, cache=True)
@no_type_check
def _add(sums, entry, count):
    column = np.uint64(entry & np.uint32(2**_COLUMN_BITS - 1))
    sums[column] += count * np.int32(entry >> np.uint32(_COLUMN_BITS))

"""Loops over the rows of counts, compiled, on all cores.

Blocks of rows go to threads of Python, which the compiled code runs side by side: it
holds no lock. (numba's own threads may not be used by two threads at once.)
"""

import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, no_type_check

import numba
import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Float32, Int64, Integer, UInt8

Part = TypeVar("Part")

# A cell holds few counts, and most are small: their logarithms are taken once.
_SMALL = 256

# Of 32 bits: 12, 12 and 8.
_HIGH, _LOW, _MASK, _LOW_MASK = map(np.uint32, (20, 8, 0xFFF, 0xFF))
_DIGITS = 4_096

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

    def block(rows: slice) -> np.ndarray:
        span = slice(rows.start * columns, rows.stop * columns)
        arrays = (*_arrays(counts, rows), *table, columns, indices[span], data[span])
        return _multiply(*arrays)

    parts = list(_on_all_cores(block, counts.shape[0]))
    lengths, end = np.concatenate([np.zeros(1, np.int64), *parts]), 0
    for begin, part in zip(_edges(counts.shape[0]) * columns, parts, strict=False):
        size = part.sum()
        if begin > end:
            for array in (indices, data):
                array[end : end + size] = array[begin : begin + size]
        end += size
    shape = (counts.shape[0], columns)
    return canonical_csr(data[:end], indices[:end], np.cumsum(lengths), shape)


def canonical_csr(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]
) -> sp.csr_matrix:
    """Wraps arrays that are known to fit; scipy would look at every index again."""
    index = np.int32 if max(len(data), *shape) < 2**31 else np.int64
    matrix = sp.csr_matrix(shape, dtype=data.dtype)
    matrix.data, matrix.indices = data, indices.astype(index, copy=False)
    matrix.indptr = indptr.astype(index, copy=False)
    matrix.has_canonical_format = True
    return matrix


def row_sums(counts: sp.csr_matrix) -> Int64[np.ndarray, " rows"]:
    """The sum of each row."""
    sums = np.empty(counts.shape[0], np.int64)

    def block(rows: slice) -> None:
        indptr, _, data = _arrays(counts, rows)
        _sum_rows(indptr, data, sums[rows])

    list(_on_all_cores(block, counts.shape[0]))
    return sums


def log_values(
    counts: sp.csr_matrix, factors: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, " nonzeros"]:
    """log1p of each count times the factor of its row: float32."""
    values = np.empty(counts.nnz, np.float32)

    def block(rows: slice) -> None:
        indptr, _, data = _arrays(counts, rows)
        span = slice(int(counts.indptr[rows.start]), int(counts.indptr[rows.stop]))
        _log_rows(indptr, data, factors[rows], values[span])

    list(_on_all_cores(block, counts.shape[0]))
    return values


def percentile_bins(
    values: Float32[np.ndarray, " nonzeros"],
    indptr: Integer[np.ndarray, " offsets"],
    num_bins: int,
) -> UInt8[np.ndarray, " nonzeros"]:
    """1 + the number of edges strictly below each value, row by row.

    An edge is the linear percentile k / num_bins of the row: it lies between two
    neighbours of the sorted row, the lower one included. A value of the row is above
    the edge if and only if it is above that lower neighbour, so there is nothing to
    interpolate, and nothing to round.
    """
    bins = np.empty(len(values), np.uint8)

    def block(rows: slice) -> None:
        ends = indptr[rows.start : rows.stop + 1].astype(np.int64)
        span = slice(int(ends[0]), int(ends[-1]))
        _bin_rows(values[span], ends - ends[0], num_bins, bins[span])

    list(_on_all_cores(block, len(indptr) - 1))
    return bins


def count_bins(
    counts: sp.csr_matrix,
    factors: Float[np.ndarray, " rows"],
    medians: Float32[np.ndarray, " columns"],
    num_bins: int,
) -> UInt8[np.ndarray, " nonzeros"]:
    """`percentile_bins` of `log_values` over the medians of their columns.

    In one go: a row's values never leave the cache.
    """
    bins = np.empty(counts.nnz, np.uint8)

    def block(rows: slice) -> None:
        span = slice(int(counts.indptr[rows.start]), int(counts.indptr[rows.stop]))
        _bin_counts(
            *_arrays(counts, rows), factors[rows], medians, num_bins, bins[span]
        )

    list(_on_all_cores(block, counts.shape[0]))
    return bins


def num_cores() -> int:
    """The threads that this process may use: OMP_NUM_THREADS, or one for each core."""
    if os.environ.get("OMP_NUM_THREADS", "").isdecimal():
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _edges(rows: int) -> Int64[np.ndarray, " edges"]:
    """Where equal parts of the rows begin, one for each core, and the end."""
    return np.unique(np.linspace(0, rows, num_cores() + 1).astype(np.int64))


def _on_all_cores(block: Callable[[slice], Part], rows: int) -> Iterator[Part]:
    """What `block` gives for each part of the rows, in order."""
    parts = [slice(*ends) for ends in itertools.pairwise(_edges(rows).tolist())]
    if len(parts) < 2:
        yield from map(block, parts)
        return
    with ThreadPoolExecutor(len(parts)) as pool:
        yield from pool.map(block, parts)


def _arrays(
    matrix: sp.csr_matrix, rows: slice
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of some rows, as the compiled code takes them.

    Unsigned: a signed index is tested for being negative at every use.
    """
    indptr = matrix.indptr[rows.start : rows.stop + 1].astype(np.uint64)
    span = slice(int(indptr[0]), int(indptr[-1]))
    return (
        indptr - indptr[0],
        matrix.indices[span].view(np.uint32)
        if matrix.indices.dtype == np.int32
        else matrix.indices[span].astype(np.uint32),
        matrix.data[span].astype(np.int32, copy=False),
    )


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
    place = np.arange(len(entries)) - np.repeat(weights.indptr[:-1], lengths)
    first = np.empty((len(lengths), 4), np.uint32)
    first[:] = weights.shape[1] + np.arange(4)
    kept = place < np.where(np.repeat(lengths, lengths) > 4, 3, 4)
    first[np.repeat(np.arange(len(lengths)), lengths)[kept], place[kept]] = entries[
        kept
    ]
    first[lengths > 4, 3] = _MORE
    others = np.where(lengths > 4, lengths - 3, 0)
    begin = np.concatenate([[0], np.cumsum(others)]).astype(np.uint32)
    return first.ravel(), begin, entries[~kept]


# The type checker of the tests would wrap what numba compiles: hence no_type_check.
@numba.njit(nogil=True, cache=True)
@no_type_check
def _multiply(
    indptr, indices, data, first, begin, others, columns, out_indices, out_data
):
    """Lengths of the rows of a product; its indices and its data go to `out`.

    Four entries of the right side are taken whether they are there or not: a loop of
    unknown length costs the processor more, for it cannot foresee its end.
    """
    one, width, four = np.uint64(1), np.uint64(columns), np.uint64(4)
    column_of, weight_of = np.uint32(2**_COLUMN_BITS - 1), np.uint32(_COLUMN_BITS)
    lengths = np.empty(len(indptr) - 1, np.int64)
    sums = np.zeros(columns + 4, np.int32)
    filled = np.uint64(0)
    for row in range(np.uint64(len(lengths))):
        for at in range(indptr[row], indptr[row + one]):
            inner, count = np.uint64(indices[at]), data[at]
            place = inner * four
            for slot in range(np.uint64(3)):
                entry = first[place + slot]
                sums[np.uint64(entry & column_of)] += count * np.int32(
                    entry >> weight_of
                )
            entry = first[place + np.uint64(3)]
            if entry != _MORE:
                sums[np.uint64(entry & column_of)] += count * np.int32(
                    entry >> weight_of
                )
                continue
            for to in range(np.uint64(begin[inner]), np.uint64(begin[inner + one])):
                entry = others[to]
                sums[np.uint64(entry & column_of)] += count * np.int32(
                    entry >> weight_of
                )
        begun = filled
        # Without a branch: what is zero is overwritten by what comes next.
        for column in range(width):
            out_indices[filled] = column
            out_data[filled] = sums[column]
            filled += np.uint64(sums[column] != 0)
        sums[:] = 0
        lengths[row] = filled - begun
    return lengths


@numba.njit(nogil=True, cache=True)
@no_type_check
def _sum_rows(indptr, data, out):
    for row in range(len(out)):
        total = np.int64(0)
        for at in range(indptr[row], indptr[row + 1]):
            total += data[at]
        out[row] = total


@numba.njit(nogil=True, cache=True)
@no_type_check
def _log_rows(indptr, data, factors, out):
    known, row_of = _no_logarithms()
    for row in range(len(factors)):
        mine = slice(indptr[row], indptr[row + 1])
        _log_row(data[mine], factors[row], row, known, row_of, out[mine])


@numba.njit(nogil=True, cache=True)
@no_type_check
def _no_logarithms():
    return np.empty(_SMALL, np.float32), np.full(_SMALL, -1, np.int64)


@numba.njit(nogil=True, cache=True)
@no_type_check
def _log_row(data, factor, row, known, row_of, out):
    """Logarithms of small counts are kept, with the row that they are of."""
    for at in range(len(data)):
        count = data[at]
        if 0 <= count < _SMALL:
            if row_of[count] != row:
                row_of[count] = row
                known[count] = np.log1p(count * factor)
            out[at] = known[count]
        else:
            out[at] = np.log1p(count * factor)


@numba.njit(nogil=True, cache=True)
@no_type_check
def _bin_counts(indptr, indices, data, factors, medians, num_bins, out):
    known, row_of = _no_logarithms()
    values, edges = (
        np.empty(len(medians), np.float32),
        np.empty(num_bins - 1, np.uint32),
    )
    for row in range(len(factors)):
        mine = slice(indptr[row], indptr[row + 1])
        some = values[: indptr[row + 1] - indptr[row]]
        _log_row(data[mine], factors[row], row, known, row_of, some)
        columns = indices[mine]
        for at in range(len(some)):
            some[at] /= medians[columns[at]]
        _bin_row(some.view(np.uint32), edges, out[mine])


@numba.njit(nogil=True, cache=True)
@no_type_check
def _bin_rows(values, indptr, num_bins, out):
    keys, edges = values.view(np.uint32), np.empty(num_bins - 1, np.uint32)
    for row in range(len(indptr) - 1):
        mine = slice(indptr[row], indptr[row + 1])
        _bin_row(keys[mine], edges, out[mine])


@numba.njit(nogil=True, cache=True)
@no_type_check
def _bin_row(keys, edges, out):
    if not len(keys):
        return
    _find_edges(keys, edges)
    for at in range(len(keys)):
        below = 1
        for edge in edges:
            below += keys[at] > edge
        out[at] = below


@numba.njit(nogil=True, cache=True)
@no_type_check
def _find_edges(keys, edges):
    """The lower neighbours of a row's edges: floats from 0, as the bits they are.

    Bits of such floats have their order. Highest digit first, and then those alone
    that share it.
    """
    counts = np.zeros(_DIGITS, np.int64)
    for key in keys:
        counts[key >> _HIGH] += 1
    same = np.empty(len(keys), np.uint32)
    for k in range(len(edges)):
        rank = (k + 1) * (len(keys) - 1) // (len(edges) + 1)
        high, rank = _digit(counts, rank)
        size = np.uint64(0)
        for key in keys:
            same[size] = key
            size += np.uint64(key >> _HIGH == high)
        middle_counts = np.zeros(_DIGITS, np.int64)
        for key in same[:size]:
            middle_counts[(key >> _LOW) & _MASK] += 1
        middle, rank = _digit(middle_counts, rank)
        prefix = (high << (_HIGH - _LOW)) | middle
        low_counts = np.zeros(_DIGITS, np.int64)
        for key in same[:size]:
            if key >> _LOW == prefix:
                low_counts[key & _LOW_MASK] += 1
        low, rank = _digit(low_counts, rank)
        edges[k] = (prefix << _LOW) | low


@numba.njit(nogil=True, cache=True)
@no_type_check
def _digit(counts, rank):
    """Where the running sum of counts goes beyond a rank, and the rank there."""
    digit = np.uint32(0)
    while rank >= counts[digit]:
        rank -= counts[digit]
        digit += np.uint32(1)
    return digit, rank

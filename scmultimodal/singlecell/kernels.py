"""Sums, logarithms and bins of the rows of counts, compiled, on all cores."""

from typing import no_type_check

import numba
import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Float32, Int64, Integer, UInt8

from scmultimodal.singlecell import cores

# A cell holds few counts, and most are small: their logarithms are taken once.
_SMALL = 256

# Of 32 bits: 12, 12 and 8.
_HIGH, _LOW, _MASK, _LOW_MASK = map(np.uint32, (20, 8, 0xFFF, 0xFF))
_DIGITS = 4_096


def row_sums(counts: sp.csr_matrix) -> Int64[np.ndarray, " rows"]:
    """The sum of each row."""
    sums = np.empty(counts.shape[0], np.int64)

    def block(rows: slice) -> None:
        indptr, _, data = cores.arrays(counts, rows)
        _sum_rows(indptr, data, sums[rows])

    list(cores.on_all(block, counts.shape[0]))
    return sums


def log_values(
    counts: sp.csr_matrix, factors: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, " nonzeros"]:
    """log1p of each count times the factor of its row: float32."""
    values = np.empty(counts.nnz, np.float32)

    def block(rows: slice) -> None:
        indptr, _, data = cores.arrays(counts, rows)
        span = slice(int(counts.indptr[rows.start]), int(counts.indptr[rows.stop]))
        _log_rows(indptr, data, factors[rows], values[span])

    list(cores.on_all(block, counts.shape[0]))
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

    list(cores.on_all(block, len(indptr) - 1))
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
            *cores.arrays(counts, rows), factors[rows], medians, num_bins, bins[span]
        )

    list(cores.on_all(block, counts.shape[0]))
    return bins


# The type checker of the tests would wrap what numba compiles: hence no_type_check.
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
    values = np.empty(len(medians), np.float32)
    edges = np.empty(num_bins - 1, np.uint32)
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

"""Loops that lay the entries of sparse rows out as batches, compiled by numba.

They run without Python's lock, so that a prefetching thread disturbs nobody. What is
read from disk is checked on the way: nothing is ever written beyond an array's end.
"""

import dataclasses
import typing

import numba
import numpy as np
from jaxtyping import Bool, Int32, Int64, Shaped, UInt, UInt8


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """The rows of a batch that come from one matrix in CSR form.

    Attributes:
        rows: where each stands in the batch; no row twice.
        starts: where its entries begin.
        lengths: how many there are.
        genes: gene of each entry of the matrix.
        values: value of each entry of the matrix.
    """

    rows: Int64[np.ndarray, " rows"]
    starts: Int64[np.ndarray, " rows"]
    lengths: Int64[np.ndarray, " rows"]
    genes: UInt[np.ndarray, " nonzeros"]
    values: UInt[np.ndarray, " nonzeros"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Entries:
    """The non-zero genes of cells, one cell after the other.

    Attributes:
        lengths: how many genes each cell has here.
        genes: their positions, increasing within a cell.
        values: a value of each for every modality that was asked for.
    """

    lengths: Int64[np.ndarray, " cells"]
    genes: UInt[np.ndarray, " nonzeros"]
    values: tuple[UInt[np.ndarray, " nonzeros"], ...]


def scatter(piece: Piece, dense: UInt8[np.ndarray, "cells genes"]) -> int | None:
    """Writes the entries of some rows into a batch of zeros.

    Returns:
        None, or the first of `piece.rows` whose genes do not increase or lie beyond
        the last one; what follows it is not written.
    """
    return _damaged(
        _scatter(
            piece.rows, piece.starts, piece.lengths, piece.genes, piece.values, dense
        )
    )


def copy(
    piece: Piece,
    offsets: Int64[np.ndarray, " offsets"],
    num_genes: int,
    genes: UInt[np.ndarray, " nonzeros"],
    values: UInt[np.ndarray, " nonzeros"],
) -> int | None:
    """Writes the entries of some rows one row after the other.

    Args:
        piece: the rows.
        offsets: where the entries of each row of the batch begin, and the end.
        num_genes: genes of the vocabulary.
        genes: written to.
        values: written to.

    Returns:
        As `scatter`.
    """
    return _damaged(
        _copy(
            *(piece.rows, piece.starts, piece.lengths, piece.genes, piece.values),
            *(offsets, num_genes, genes, values),
        )
    )


def union(one: Entries, other: Entries) -> Entries:
    """Returns the genes of either, with the values of both; 0 where one has none."""
    size = len(one.genes) + len(other.genes)
    genes = np.empty(size, one.genes.dtype)
    values = tuple(np.empty(size, e.values[0].dtype) for e in (one, other))
    lengths = np.empty(len(one.lengths), np.int64)
    size = _merge(
        *(one.lengths, one.genes, one.values[0]),
        *(other.lengths, other.genes, other.values[0]),
        *(lengths, genes, *values),
    )
    return Entries(
        lengths=lengths, genes=genes[:size], values=tuple(v[:size] for v in values)
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Padded:
    """The non-zero genes of cells, each cell filled up to one width.

    Attributes:
        genes: their positions, 0 at padding.
        values: a value of each for every modality, 0 at padding.
        mask: False at padding.
    """

    genes: Int32[np.ndarray, "cells tokens"]
    values: tuple[UInt8[np.ndarray, "cells tokens"], ...]
    mask: Bool[np.ndarray, "cells tokens"]


def pad(entries: Entries, width: int) -> Padded:
    """Fills every cell up to `width` tokens.

    Raises:
        ValueError: a cell has more.
    """
    if (longest := entries.lengths.max(initial=0)) > width:
        raise ValueError(f"{longest} tokens do not fit into {width}")

    def padded(flat: np.ndarray, dtype: type) -> Shaped[np.ndarray, "cells tokens"]:
        out = np.zeros((len(entries.lengths), width), dtype)
        _pad(entries.lengths, flat, out)
        return out

    return Padded(
        genes=padded(entries.genes, np.int32),
        values=tuple(padded(values, np.uint8) for values in entries.values),
        mask=np.arange(width) < entries.lengths[:, None],
    )


def _damaged(row: int) -> int | None:
    return None if row < 0 else row


# Indices are made unsigned: a signed one is tested for being negative at every use.
# The type checker of the tests would wrap what numba compiles: hence no_type_check.


@numba.njit(nogil=True, cache=True)
@typing.no_type_check
def _scatter(rows, starts, lengths, genes, values, dense):
    num_genes = np.uint64(dense.shape[1])
    for number in range(len(rows)):
        line = dense[rows[number]]
        start = np.uint64(starts[number])
        least = np.uint64(0)
        for at in range(start, start + np.uint64(lengths[number])):
            gene = np.uint64(genes[at])
            if gene < least or gene >= num_genes:
                return rows[number]
            line[gene] = values[at]
            least = gene + np.uint64(1)
    return -1


@numba.njit(nogil=True, cache=True)
@typing.no_type_check
def _copy(
    rows, starts, lengths, genes, values, offsets, num_genes, out_genes, out_values
):
    for number in range(len(rows)):
        start = np.uint64(starts[number])
        shift = np.uint64(offsets[rows[number]]) - start  # Wraps, and back again.
        sound = True
        before = np.int64(-1)
        for at in range(start, start + np.uint64(lengths[number])):
            gene = np.int64(genes[at])
            sound &= before < gene
            before = gene
            out_genes[at + shift] = genes[at]
            out_values[at + shift] = values[at]
        if not sound or before >= num_genes:
            return rows[number]
    return -1


@numba.njit(nogil=True, cache=True)
@typing.no_type_check
def _merge(
    lengths,
    genes,
    values,
    other_lengths,
    other_genes,
    other_values,
    out_lengths,
    out_genes,
    out_values,
    out_other_values,
):
    one = np.uint64(1)
    i, j, at = np.uint64(0), np.uint64(0), np.uint64(0)
    for cell in range(len(lengths)):
        i_end = i + np.uint64(lengths[cell])
        j_end = j + np.uint64(other_lengths[cell])
        first = at
        while i < i_end and j < j_end:  # Without branches: nobody could predict them.
            gene, other = genes[i], other_genes[j]
            from_one, from_other = gene <= other, other <= gene
            out_genes[at] = min(gene, other)
            out_values[at] = values[i] * from_one
            out_other_values[at] = other_values[j] * from_other
            i += np.uint64(from_one)
            j += np.uint64(from_other)
            at += one
        while i < i_end:
            out_genes[at], out_values[at], out_other_values[at] = genes[i], values[i], 0
            i, at = i + one, at + one
        while j < j_end:
            out_genes[at] = other_genes[j]
            out_values[at], out_other_values[at] = 0, other_values[j]
            j, at = j + one, at + one
        out_lengths[cell] = at - first
    return at


@numba.njit(nogil=True, cache=True)
@typing.no_type_check
def _pad(lengths, flat, out):
    at = np.uint64(0)
    for cell in range(len(lengths)):
        line = out[cell]
        for token in range(np.uint64(lengths[cell])):
            line[token] = flat[at + token]
        at += np.uint64(lengths[cell])

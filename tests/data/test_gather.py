"""Compiled loops over sparse rows against scipy and plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scmultimodal.data import gather
from scmultimodal.data.gather import Entries, Piece

NUM_GENES = 23


@st.composite
def matrices(draw, cells=None):
    """uint8 [cells, genes] with rows of all lengths, none and all among them."""
    seed, shape = draw(st.integers(0, 2**32 - 1)), (cells or draw(st.integers(1, 9)), 1)
    rng = np.random.default_rng(seed)
    share = rng.choice([0, 0.1, 0.5, 1], shape)
    bins = rng.integers(1, 256, (shape[0], NUM_GENES))
    bins *= rng.random(bins.shape) < share
    return sparse.csr_matrix(bins.astype(np.uint8))


def piece(matrix, chosen, rows=None, dtype=np.uint16) -> Piece:
    starts = matrix.indptr.astype(np.int64)
    return Piece(
        rows=np.arange(len(chosen)) if rows is None else rows,
        starts=starts[chosen],
        lengths=np.diff(starts)[chosen],
        genes=matrix.indices.astype(dtype),
        values=matrix.data,
    )


def entries(matrix, dtype=np.uint16) -> Entries:
    return Entries(
        lengths=np.diff(matrix.indptr).astype(np.int64),
        genes=matrix.indices.astype(dtype),
        values=(matrix.data,),
    )


@given(matrices(), st.data(), st.sampled_from([np.uint16, np.uint32]))
@settings(max_examples=60, deadline=None)
def test_scattered_and_copied_rows_are_those_of_scipy(matrix, data, dtype):
    cells = matrix.shape[0]
    chosen = np.array(data.draw(st.lists(st.integers(0, cells - 1), max_size=12)), int)
    places = data.draw(st.permutations(range(len(chosen) + 3)))
    rows = np.array(places[: len(chosen)], int)
    dense = np.zeros((len(places), NUM_GENES), np.uint8)
    assert gather.scatter(piece(matrix, chosen, rows, dtype), dense) is None
    expected = np.zeros_like(dense)
    expected[rows] = matrix[chosen].toarray()
    np.testing.assert_array_equal(dense, expected)

    whole = sparse.csr_matrix(expected)
    genes, values = np.empty(whole.nnz, dtype), np.empty(whole.nnz, np.uint8)
    offsets = whole.indptr.astype(np.int64)
    found = piece(matrix, chosen, rows, dtype)
    assert gather.copy(found, offsets, NUM_GENES, genes, values) is None
    np.testing.assert_array_equal(genes, whole.indices)
    np.testing.assert_array_equal(values, whole.data)


@given(matrices(cells=5), matrices(cells=5), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_unions_are_those_of_scipy(one, other, more):
    both = gather.union(entries(one), entries(other))
    # scipy merges in compiled code; both bins go through it in one number.
    wide = other.astype(np.uint16)
    wide.data <<= 8
    expected = one.astype(np.uint16) + wide
    np.testing.assert_array_equal(both.lengths, np.diff(expected.indptr))
    np.testing.assert_array_equal(both.genes, expected.indices)
    np.testing.assert_array_equal(both.values[0], expected.data & 255)
    np.testing.assert_array_equal(both.values[1], expected.data >> 8)
    assert [v.dtype for v in (both.genes, *both.values)] == [np.uint16, *2 * [np.uint8]]

    width = int(both.lengths.max()) + more
    padded = gather.pad(both, width)
    for row, length in enumerate(both.lengths):
        span = slice(expected.indptr[row], expected.indptr[row + 1])
        assert padded.mask[row].tolist() == [t < length for t in range(width)]
        for filled, flat in zip(
            (padded.genes, *padded.values), (both.genes, *both.values), strict=True
        ):
            assert filled[row, :length].tolist() == flat[span].tolist()
            assert not filled[row, length:].any()


def test_a_cell_that_does_not_fit_is_refused():
    matrix = sparse.csr_matrix(np.ones((2, 5), np.uint8))
    with pytest.raises(ValueError, match="5 tokens do not fit into 4"):
        gather.pad(entries(matrix), 4)


DAMAGED = {
    "beyond the last": [1, 2, NUM_GENES],
    "far beyond": [1, 2, 65_535],
    "beyond, then not": [1, 65_535, 2],
    "falling": [4, 3, 5],
    "twice": [4, 4, 5],
}


@pytest.mark.parametrize("genes", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_damaged_genes_are_told_and_nothing_else_is_written(genes, dtype):
    found = Piece(
        rows=np.array([2, 0, 1]),
        starts=np.array([0, 3, 6]),
        lengths=np.array([3, 3, 3]),
        genes=np.array([0, 1, 2, *genes, 0, 1, 2], dtype),
        values=np.full(9, 7, np.uint8),
    )
    around = np.zeros((5, NUM_GENES), np.uint8)
    assert gather.scatter(found, around[1:4]) == 0
    assert around[3, :3].all()  # The row before the damaged one.
    assert not around[[0, 2, 4]].any()

    offsets = np.array([0, 3, 6, 9])
    wide = np.zeros(9 + 4, np.uint8)
    row = gather.copy(found, offsets, NUM_GENES, np.empty(9, dtype), wide[2:11])
    assert row == 0
    assert not wide[:2].any()
    assert not wide[11:].any()

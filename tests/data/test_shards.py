"""Rows of many shards, by global cell number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scmultimodal.data import shards
from scmultimodal.data.shards import Shard, ShardedMatrix
from scmultimodal.schemas.errors import InputError
from tests import builders

NUM_CELLS, NUM_GENES = 30, 17
SIZES = (7, 0, 22, 1)


@pytest.fixture(scope="module")
def counts():
    return builders.sparse_counts(NUM_CELLS, NUM_GENES, seed=3, most=700)


def write(folder, counts, sizes=SIZES):
    bins = builders.capped_bins("rna", counts)
    ends = np.cumsum(sizes).tolist()
    for number, (end, size) in enumerate(zip(ends, sizes, strict=True)):
        path = folder / str(number) / "rna"
        part = slice(end - size, end)
        shards.write_counts(path, counts[part], count_dtype=np.dtype(np.uint16))
        shards.write_bins(path, counts[part], bins[part])


def read(folder, num_genes=NUM_GENES, sizes=SIZES):
    opened = [
        Shard.open(folder / str(number) / "rna", num_cells=size)
        for number, size in enumerate(sizes)
    ]
    return ShardedMatrix(opened, num_genes)


@pytest.fixture(scope="module")
def matrix(counts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write(folder, counts)
    return read(folder)


@given(st.lists(st.integers(-1, NUM_CELLS - 1), max_size=40))
@settings(max_examples=60, deadline=None)
def test_rows_of_all_shards(matrix, counts, chosen):
    chosen = np.array(chosen, int)
    expected = counts.toarray()[chosen] * (chosen >= 0)[:, None]
    bins = np.minimum(expected, 5)
    dense = matrix.dense(chosen)
    np.testing.assert_array_equal(dense, bins)
    assert dense.dtype == np.uint8
    for values, truth in (("bins", bins), ("counts", expected)):
        found, wanted = matrix.entries(chosen, values), sparse.csr_matrix(truth)
        np.testing.assert_array_equal(found.lengths, np.diff(wanted.indptr))
        np.testing.assert_array_equal(found.genes, wanted.indices)
        np.testing.assert_array_equal(found.values[0], wanted.data)
    cells = chosen[chosen >= 0]
    rows = matrix.rows(cells, "counts")
    np.testing.assert_array_equal(rows.toarray(), counts.toarray()[cells])
    assert rows.has_canonical_format


@pytest.mark.parametrize("cell", [-2, NUM_CELLS])
def test_there_are_no_other_cells(matrix, cell):
    for read in (matrix.dense, matrix.entries):
        with pytest.raises(IndexError, match="0 to 29"):
            read(np.array([0, cell]))


def test_rows_in_memory_leave_the_matrix_alone(counts):
    bins = builders.capped_bins("rna", counts)
    before = bins.copy()
    matrix = ShardedMatrix.in_memory("rna", bins)
    np.testing.assert_array_equal(matrix.dense(np.arange(NUM_CELLS)), before.toarray())
    bins.data[:] = 9  # Still the caller's.
    assert bins.has_sorted_indices


def test_more_genes_than_16_bits_tell_apart():
    wide = sparse.csr_matrix(
        (np.array([1, 2, 3], np.uint8), ([0, 0, 1], [0, 69_999, 65_536])),
        shape=(2, 70_000),
    )
    matrix = ShardedMatrix.in_memory("rna", wide)
    cells = np.array([1, -1, 0])
    np.testing.assert_array_equal(
        matrix.dense(cells),
        np.vstack([wide[1].toarray(), 0 * wide[:1].toarray(), wide[0].toarray()]),
    )
    assert matrix.entries(cells).genes.tolist() == [65_536, 0, 69_999]


DAMAGE = {
    "beyond": (-1, NUM_GENES, f"names gene {NUM_GENES} of {NUM_GENES}"),
    "order": (0, NUM_GENES - 1, "in an order that does not increase"),
}


@pytest.mark.parametrize(("entry", "gene", "words"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_named(tmp_path, counts, entry, gene, words):
    write(tmp_path, counts)
    file = tmp_path / "2" / "rna.indices.npy"
    indices = np.load(file)
    cell = 7 + int(np.argmax(counts.getnnz(1)[7:29]))
    # In the middle of the shard: what follows is another cell's, and must stay right.
    span = counts.indptr[cell : cell + 2] - counts.indptr[7]
    indices[span[0] : span[1]][entry] = gene
    np.save(file, indices)
    matrix = read(tmp_path)
    others = np.setdiff1d(np.arange(NUM_CELLS), [cell])
    dense = matrix.dense(others)
    np.testing.assert_array_equal(dense, np.minimum(counts.toarray()[others], 5))
    for gather in (
        matrix.dense,
        matrix.entries,
        lambda cells: matrix.rows(cells, "counts"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            gather(np.array([0, 20, cell, 1]))
        assert str(file) in str(caught.value)

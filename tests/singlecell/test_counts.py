"""What is allowed in as counts."""

import numpy as np
import pytest
import scipy.sparse as sp

from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.counts import check_counts, count_matrix
from tests.builders import annotated

GOOD = [[0, 1, 2], [3, 0, 0]]


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.uint8])
@pytest.mark.parametrize(
    "form", [sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, np.array]
)
def test_every_form_becomes_csr_int32(dtype, form):
    adata = annotated(GOOD, ["a", "b", "c"])
    matrix = np.array(GOOD, dtype)
    if form is sp.coo_matrix:
        adata.layers["x"] = sp.csr_matrix(matrix)
    else:
        adata.X = form(matrix)
    counts = count_matrix(adata, "x")
    assert counts.format == "csr"
    assert counts.dtype == np.int32
    assert counts.toarray().tolist() == GOOD


def test_stored_zeros_and_split_entries_are_merged_in_a_copy():
    parts = (np.array([1, 2, 0]), np.array([1, 1, 0]), np.array([0, 3]))
    adata = annotated(sp.csr_matrix((1, 2)), ["a", "b"])
    adata.X = sp.csr_matrix(parts, shape=(1, 2))
    counts = count_matrix(adata, "x")
    assert counts.nnz == 1
    assert counts[0, 1] == 3
    assert adata.X.nnz == 3


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 0.5, 1e12])
def test_wrong_values_are_named(bad, dense):
    matrix = np.array(GOOD, float)
    matrix[1, 2] = bad
    adata = annotated(matrix, ["a", "b", "c"])
    if dense:
        adata.X = matrix
    with pytest.raises(InputError, match=r"feature 'c' in cell 'c1' is not a count"):
        check_counts(adata, "file")


def test_a_csc_matrix_names_the_same_cell():
    adata = annotated(GOOD, ["a", "b", "c"])
    adata.X = sp.csc_matrix(np.array([[0, 1, 2], [3, 0, -7]]))
    with pytest.raises(InputError, match=r"value -7 of feature 'c' in cell 'c1'"):
        check_counts(adata, "file")


def test_a_layer_with_counts_is_suggested():
    adata = annotated(np.array(GOOD) / 2, ["a", "b", "c"])
    adata.layers["scaled"] = adata.X * 0.3
    adata.layers["counts"] = sp.csr_matrix(GOOD)
    with pytest.raises(InputError, match="layer 'counts' holds such"):
        check_counts(adata, "file")


def test_names_must_be_unique():
    with pytest.raises(InputError, match="feature name 'b' occurs 2 times"):
        check_counts(annotated(GOOD, ["a", "b", "b"]), "file")
    with pytest.raises(InputError, match="cell name 'x' occurs 2 times"):
        check_counts(annotated(GOOD, ["a", "b", "c"], ["x", "x"]), "file")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 3), "it has no cells"),
        ((2, 0), "no features"),
        ((2, 3), "no counts at all"),
    ],
)
def test_empty_modalities(shape, message):
    adata = annotated(sp.csr_matrix(shape), [f"f{i}" for i in range(shape[1])])
    with pytest.raises(InputError, match=message):
        check_counts(adata, "file")


@pytest.mark.parametrize("part", ["index too large", "indptr falls", "indptr too long"])
def test_broken_sparse_matrices(part):
    adata = annotated(np.array(GOOD), ["a", "b", "c"])
    if part == "index too large":
        adata.X.indices[0] = 1_000_000
    elif part == "indptr falls":
        adata.X.indptr[1] = 9
    else:
        adata.X.indptr[-1] = 99
    with pytest.raises(InputError, match="sparse matrix is broken"):
        check_counts(adata, "file")

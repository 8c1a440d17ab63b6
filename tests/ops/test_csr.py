"""Sparse matrices in CSR form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from scmultimodal.ops import csr


def random_matrix(rows, columns, seed):
    rng = np.random.default_rng(seed)
    dense = rng.integers(0, 3, (rows, columns)).astype(np.int32)
    return sparse.csr_matrix(dense)


@given(st.integers(1, 6), st.lists(st.integers(-1, 5), max_size=9), st.integers(0, 9))
def test_rows_are_those_asked_for_and_empty_at_minus_one(columns, rows, seed):
    matrix = random_matrix(6, columns, seed)
    with_empty = np.vstack([matrix.toarray(), np.zeros((1, columns), int)])
    taken = csr.take_rows(matrix, np.array(rows, np.int64))
    assert taken.dtype == matrix.dtype
    assert taken.toarray().tolist() == with_empty[rows].tolist()


def test_all_rows_in_order_are_not_copied():
    matrix = random_matrix(4, 3, 0)
    assert csr.take_rows(matrix, np.arange(4)) is matrix


def test_the_canonical_form_is_sorted_without_zeros_or_pairs():
    parts = (np.array([5, 0, 1, 2]), np.array([2, 1, 0, 2]), np.array([0, 3, 4]))
    matrix = sparse.csr_matrix(parts, shape=(2, 3))
    matrix.indices[1] = 2  # Two entries of one place, one of them 0.
    form = csr.canonical(matrix)
    assert form.indices.tolist() == [0, 2, 2]
    assert form.data.tolist() == [1, 5, 2]
    assert matrix.nnz == 4
    assert csr.canonical(form) is form


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int64])
def test_wrapped_arrays_are_a_matrix_that_scipy_works_with(dtype):
    whole = random_matrix(5, 7, 1)
    arrays = (whole.indices.astype(dtype), whole.indptr.astype(dtype))
    wrapped = csr.wrap(whole.data, *arrays, whole.shape)
    assert wrapped.data is whole.data
    assert wrapped.has_canonical_format
    assert (wrapped @ whole.T != whole @ whole.T).nnz == 0
    wrapped.check_format()

"""Totals, logarithms and medians."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.normalization import (
    log1p,
    nonzero_medians,
    normalize_total,
    scale_by_medians,
)
from tests.builders import annotated


def test_totals_by_hand():
    adata = annotated([[1, 3], [0, 0], [5, 0]], ["a", "b"])
    result = normalize_total(adata, target_sum=8.0)
    assert result.X.toarray().tolist() == [[2, 6], [0, 0], [8, 0]]
    assert result.X.dtype == np.float32
    assert adata.X.toarray().tolist() == [[1, 3], [0, 0], [5, 0]]


@given(st.integers(0, 2**32 - 1), st.sampled_from([150.0, 10_000.0]))
def test_totals_are_equal_and_ratios_kept(seed, target_sum):
    counts = np.random.default_rng(seed).poisson(1.0, (4, 30)) + 1
    adata = annotated(counts, [str(i) for i in range(30)])
    values = normalize_total(adata, target_sum=target_sum).X.toarray()
    np.testing.assert_allclose(values.sum(axis=1), target_sum, rtol=1e-5)
    expected = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(values / target_sum, expected, rtol=1e-5)


def test_log1p():
    adata = annotated([[0, np.e - 1]], ["a", "b"])
    assert log1p(adata).X.toarray().tolist() == [[0, 1]]
    assert adata.X.nnz == 1
    assert adata.X.data[0] == np.e - 1


def test_medians_are_of_the_nonzero_values():
    values = np.array([[0, 1.0, 0], [2.0, 5.0, 0], [4.0, 9.0, 0], [0, 9.5, 0]])
    adata = annotated(values, ["a", "b", "c"])
    medians = nonzero_medians(adata)
    assert medians.dtype == np.float32
    assert medians.tolist() == [3.0, 7.0, 1.0]
    scaled = scale_by_medians(adata, medians).X.toarray()
    np.testing.assert_allclose(scaled, values / [3, 7, 1], rtol=1e-6)


def test_stored_zeros_do_not_count():
    adata = annotated(sp.csr_matrix((3, 1)), ["a"])
    adata.X = sp.csr_matrix(([0.0, 2.0, 4.0], [0, 0, 0], [0, 1, 2, 3]), shape=(3, 1))
    assert nonzero_medians(adata).tolist() == [3.0]
    assert adata.X.nnz == 3


def test_medians_must_fit():
    adata = annotated([[1.0, 2.0]], ["a", "b"])
    with pytest.raises(InputError, match=r"3 medians.*for 2 features"):
        scale_by_medians(adata, np.ones(3, np.float32))

"""Products against those of scipy."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.singlecell import products


def whole_numbers(rows, columns, density, seed, most=5):
    rng = np.random.default_rng(seed)
    return sp.random(
        rows, columns, density, "csr", np.int32, rng, lambda n: rng.integers(1, most, n)
    )


@given(
    st.tuples(st.integers(0, 9), st.integers(1, 9), st.integers(1, 9)),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_products_are_those_of_scipy(shape, left_density, right_density, seed):
    rows, inner, columns = shape
    left = whole_numbers(rows, inner, left_density, seed)
    # Up to nine entries in a row: more than the four that are kept apart.
    right = whole_numbers(inner, columns, right_density, seed + 1)
    product = products.multiply(left, right)
    assert product.toarray().tolist() == (left @ right).toarray().tolist()
    assert product.data.all()
    assert (np.diff(product.indices)[np.diff(np.repeat(
        np.arange(rows), np.diff(product.indptr))) == 0] > 0).all()  # fmt: skip


def test_many_blocks_are_put_one_after_the_other(monkeypatch):
    left, right = whole_numbers(50, 40, 0.3, 0), whole_numbers(40, 30, 0.2, 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert (products.multiply(left, right) != left @ right).nnz == 0


@pytest.mark.parametrize("most", [255, 256, 100_000])
def test_weights_of_any_size(most):
    left = whole_numbers(6, 5, 0.5, 0)
    right = whole_numbers(5, 4, 0.9, 1)
    right.data[0] = most
    assert (products.multiply(left, right) != left @ right).nnz == 0


def test_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match="no product"):
        products.multiply(whole_numbers(2, 3, 1, 0), whole_numbers(2, 3, 1, 0))

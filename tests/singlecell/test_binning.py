"""Values to bins, against numpy's percentiles."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.binning import bin_matrix, bin_values
from tests.builders import annotated


def _by_percentiles(row, num_bins):
    """1 + the number of linear percentile edges strictly below each value."""
    edges = np.percentile(row.astype(float), 100 * np.arange(1, num_bins) / num_bins)
    return [1 + int((value > edges).sum()) for value in row]


def test_by_hand():
    row = np.log1p([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    adata = annotated([[0.0, *row]], [f"g{i}" for i in range(11)])
    bins = bin_values(adata, strategy="quantile").X
    assert bins.dtype == np.uint8
    assert bins.toarray().tolist() == [[0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]]


def test_ties_share_the_lowest_bin_and_equal_cells_are_bin_one():
    values = np.array([[2.0, 2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0, 5.0]])
    adata = annotated(values, list("abcde"))
    bins = bin_values(adata, strategy="quantile").X.toarray()
    assert bins.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 5]]


# Few distinct values, so that ties are the rule.
_matrices = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 40)),
    elements=st.sampled_from([0, 0.25, 0.5, 1, 1.5, 3, 7, 0.1, 0.3]),
)


@given(_matrices, st.sampled_from([1, 2, 4, 5]))
def test_equals_numpy_percentiles_row_by_row(values, num_bins):
    bins = bin_matrix(sp.csr_matrix(values), strategy="quantile", num_bins=num_bins)
    for row, binned in zip(values, bins.toarray(), strict=True):
        assert (binned[row == 0] == 0).all()
        if row.any():
            nonzero = row[row != 0]
            assert binned[row != 0].tolist() == _by_percentiles(nonzero, num_bins)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    values = sp.random(300, 200, 0.3, "csr", np.float32, rng=rng)
    whole = bin_matrix(values).toarray()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert (bin_matrix(values).toarray() == whole).all()


def test_empty_rows_and_an_empty_matrix():
    values = sp.csr_matrix([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    assert bin_matrix(values, strategy="quantile").toarray()[1].tolist() == [1, 5]
    assert bin_matrix(sp.csr_matrix((3, 2))).nnz == 0
    assert bin_matrix(sp.csr_matrix((0, 2))).shape == (0, 2)


def test_stored_zeros_are_no_values():
    values = sp.csr_matrix(([0.0, 0.0, 1.0, 2.0], [0, 1, 2, 3], [0, 4]), shape=(1, 4))
    bins = bin_matrix(values, strategy="quantile")
    assert bins.toarray().tolist() == [[0, 0, 1, 5]]
    assert (bins.nnz, values.nnz) == (2, 4)


def test_medians_divide_first():
    adata = annotated([[1.0, 4.0]], ["a", "b"])
    medians = np.array([0.5, 8.0], np.float32)
    divided = bin_values(adata, medians=medians)
    assert divided.X.toarray().tolist() == [[5, 1]]
    assert bin_values(adata).X.toarray().tolist() == [[1, 5]]
    assert adata.X.toarray().tolist() == [[1.0, 4.0]]
    with pytest.raises(InputError, match=r"'quantile'.*does not divide"):
        bin_values(adata, strategy="quantile", medians=medians)


def test_absolute():
    adata = annotated([[0.2, 1.0, 1.9, 4.99, 7.0]], list("abcde"))
    bins = bin_values(adata, strategy="absolute").X.toarray()
    assert bins.tolist() == [[1, 1, 1, 4, 5]]
    bins = bin_values(adata, strategy="absolute", num_bins=7).X.toarray()
    assert bins.tolist() == [[1, 1, 1, 4, 7]]


def test_counts():
    """Whole counts stay; a part of one, of a far peak, is one."""
    adata = annotated([[0.0, 1 / 6, 1.0, 1.5, 4.0, 9.0]], list("abcdef"))
    bins = bin_values(adata, strategy="counts").X.toarray()
    assert bins.tolist() == [[0, 1, 1, 2, 4, 5]]
    bins = bin_values(adata, strategy="counts", num_bins=7).X.toarray()
    assert bins.tolist() == [[0, 1, 1, 2, 4, 7]]


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        ([[1.0]], {"num_bins": 0}, "0 is out of range"),
        ([[1.0]], {"num_bins": 255}, "255 is out of range"),
        ([[np.nan]], {}, "NaN"),
        ([[-1.0]], {}, "negative"),
        ([[1.0]], {"medians": np.ones(2, np.float32)}, "2 medians.*for 1 features"),
        ([[1.0]], {"medians": np.zeros(1, np.float32)}, "1 of them not positive"),
    ],
)
def test_errors(values, settings, message):
    with pytest.raises(InputError, match=message):
        bin_values(annotated(values, ["a"]), **settings)

"""What the baselines see."""

import numpy as np
import pytest
from scipy import sparse

from scmultimodal.evaluation import depth, features
from scmultimodal.schemas.errors import InputError


def test_log1p_at_median_depth_by_hand():
    counts = sparse.csr_matrix([[1, 1, 0], [4, 0, 4], [0, 0, 0], [0, 10, 0]])
    # Depths 2, 8, 0, 10; of the training cells with counts 2 and 8: median 5.
    scaled = depth.log1p_at_median_depth(counts, np.array([0, 1, 2])).toarray()
    expected = np.log1p([[2.5, 2.5, 0], [2.5, 0, 2.5], [0, 0, 0], [0, 5, 0]])
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)
    assert counts.toarray()[1].tolist() == [4, 0, 4], "the counts themselves stay"


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_what_is_no_count_is_refused(value):
    counts = sparse.csr_matrix(np.array([[1.0, value]]))
    with pytest.raises(InputError, match="negative or not finite"):
        depth.log1p_at_median_depth(counts, np.array([0]))


def test_training_cells_without_counts_are_refused():
    with pytest.raises(InputError, match="no training cell has counts"):
        depth.log1p_at_median_depth(sparse.csr_matrix((2, 3)), np.array([0]))


def test_nothing_is_fitted_on_other_cells():
    """Changing validation and test cells leaves the training cells' values alone."""
    counts = sparse.random(40, 12, 0.4, "csr", random_state=0, dtype=np.float64)
    changed = counts.tolil()
    changed[30:] = 100 * (np.arange(12) % 3)
    train = np.arange(30)
    before, after = (
        depth.log1p_at_median_depth(sparse.csr_matrix(c), train)
        for c in (counts, changed)
    )
    assert np.array_equal(before[train].toarray(), after[train].toarray())
    spaces = [
        features.svd_components(f, train, num_components=5, seed=1)[train]
        for f in (before, after)
    ]
    assert np.array_equal(*spaces)


def test_svd_components_span_the_training_cells():
    """Against numpy's exact decomposition, up to signs; standardised."""
    matrix = np.random.default_rng(0).normal(size=(50, 8)) * 2.0 ** -np.arange(8)
    train = np.arange(40)
    ours = features.svd_components(matrix, train, num_components=3)
    right = np.linalg.svd(matrix[train], full_matrices=False)[2][:3]
    exact = matrix @ right.T
    exact = (exact - exact[train].mean(0)) / exact[train].std(0)
    signs = np.sign((ours * exact).sum(0))
    np.testing.assert_allclose(ours * signs, exact, atol=1e-4)


def test_tf_idf_by_hand():
    counts = sparse.csr_matrix([[2, 0, 2], [1, 3, 0], [0, 0, 0], [5, 0, 5]])
    found = features.tf_idf(counts, np.arange(3)).toarray()
    rarity = np.log1p(3 / np.array([2, 1, 1]))
    share = np.array([[0.5, 0, 0.5], [0.25, 0.75, 0], [0, 0, 0], [0.5, 0, 0.5]])
    np.testing.assert_allclose(found, np.log1p(10_000 * share * rarity), rtol=1e-6)


def test_tf_idf_of_a_peak_that_no_training_cell_has():
    counts = sparse.csr_matrix([[1, 0], [0, 1]])
    found = features.tf_idf(counts, np.array([0])).toarray()
    np.testing.assert_allclose(found[1], [0, np.log1p(10_000 * np.log(2))], rtol=1e-6)


def test_unit_length_by_hand():
    found = features.of_unit_length(sparse.csr_matrix([[3.0, 0, 4], [0, 0, 0]]))
    np.testing.assert_allclose(found.toarray(), [[0.6, 0, 0.8], [0, 0, 0]])

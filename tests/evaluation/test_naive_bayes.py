"""Naive Bayes: its numbers are those of scikit-learn, and unlabelled cells help."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.naive_bayes import MultinomialNB

from scmultimodal.evaluation import naive_bayes
from scmultimodal.schemas.errors import InputError


def test_log_likelihoods_are_scikit_learns():
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(0.7, (40, 9)))
    labels = rng.integers(0, 3, 40)
    found = naive_bayes.log_likelihoods(counts, labels, 4, alpha=0.5)
    theirs = MultinomialNB(alpha=0.5).fit(counts, labels).feature_log_prob_.T
    theirs = np.column_stack([theirs, np.full(9, -np.log(9))])  # no cell has class 3
    expected = theirs - theirs.mean(1, keepdims=True)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def clusters(num_cells=900, num_types=4, num_genes=60, seed=0):
    """Counts of types that differ in many genes a little."""
    rng = np.random.default_rng(seed)
    profiles = rng.gamma(2.0, 0.2, (num_types, num_genes))
    types = rng.integers(0, num_types, num_cells)
    return sp.csr_matrix(rng.poisson(profiles[types])), types


def test_without_unlabelled_cells_it_is_scikit_learns():
    counts, types = clusters()
    labels = np.where(np.arange(900) < 200, types, -1)
    model = naive_bayes.fit_em(counts, labels, 4, weight=0.0)
    theirs = MultinomialNB(alpha=0.3).fit(counts[:200], types[:200])
    expected = theirs.feature_log_prob_.T
    np.testing.assert_allclose(model.log_likelihoods, expected, atol=1e-9)
    # A cell of each class is added, so that a class without one has a chance.
    priors = (np.bincount(types[:200]) + 1) / 204
    np.testing.assert_allclose(np.exp(model.log_priors), priors)
    np.testing.assert_allclose(model.predict(counts).sum(1), 1)


def test_one_round_by_hand():
    counts = sp.csr_matrix([[3.0, 0.0], [0.0, 3.0], [2.0, 1.0]])
    labels = np.array([0, 1, -1])
    first = naive_bayes.fit_em(counts, labels, 2, alpha=1.0, weight=0.0)
    chance = first.predict(counts[2:])[0]
    np.testing.assert_allclose(chance, np.array([4**2, 4]) / 20)  # .8²·.2 to .2²·.8
    found = naive_bayes.fit_em(
        counts, labels, 2, alpha=1.0, weight=0.5, num_iterations=1
    )
    sums = np.array([[3.0, 0.0], [0.0, 3.0]]) + 0.5 * chance[:, None] * [[2.0, 1.0]]
    shares = (sums + 1) / (sums + 1).sum(1, keepdims=True)
    np.testing.assert_allclose(np.exp(found.log_likelihoods), shares.T)
    totals = 2 + 0.5 * chance
    np.testing.assert_allclose(np.exp(found.log_priors), totals / totals.sum())


def test_unlabelled_cells_help():
    counts, types = clusters()
    labels = np.full(900, -1)
    for number in range(4):
        labels[np.flatnonzero(types == number)[:3]] = number

    def accuracy(**fields):
        model = naive_bayes.fit_em(counts, labels, 4, **fields)
        return (model.predict(counts).argmax(1) == types).mean()

    assert accuracy() > accuracy(weight=0.0) + 0.05


def test_something_must_be_labelled():
    counts, _ = clusters(num_cells=5)
    with pytest.raises(InputError, match="no cell has one"):
        naive_bayes.fit_em(counts, np.full(5, -1), 4)

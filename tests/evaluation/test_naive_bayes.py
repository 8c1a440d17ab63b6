"""Naive Bayes: its numbers are those of scikit-learn."""

import numpy as np
import scipy.sparse as sp
from sklearn.naive_bayes import MultinomialNB

from scmultimodal.evaluation import naive_bayes


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

"""FOSCTTM and transfer by neighbours, by hand and beside scikit-learn."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from scmultimodal.evaluation import alignment
from scmultimodal.schemas.errors import InputError


def test_foscttm_by_hand():
    first = np.array([[0.0], [1.0], [5.0]])
    second = np.array([[0.1], [4.0], [1.2]])
    distances = np.abs(first - second.T)
    expected = []
    for cell in range(3):
        row = np.delete(distances[cell], cell) < distances[cell, cell]
        column = np.delete(distances[:, cell], cell) < distances[cell, cell]
        expected.append((row.mean() + column.mean()) / 2)
    np.testing.assert_allclose(alignment.foscttm(first, second), expected)
    assert expected[0] == 0


def test_foscttm_of_the_same_of_chance_and_of_the_opposite(monkeypatch):
    monkeypatch.setattr(alignment, "_AT_ONCE", 64)  # In parts, the last not full.
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert (alignment.foscttm(vectors, vectors) == 0).all()
    strangers = alignment.foscttm(vectors, rng.normal(size=(300, 8)))
    np.testing.assert_allclose(strangers.mean(), 0.5, atol=0.04)
    assert (alignment.foscttm(vectors, -vectors) == 1).all()
    # Where all lie in one place nothing is known.
    assert (alignment.foscttm(vectors, np.zeros((300, 8)) + 1)).mean() == 0.5


def test_foscttm_needs_two_cells():
    with pytest.raises(InputError, match="there are 1"):
        alignment.foscttm(np.zeros((1, 2)), np.zeros((1, 2)))


def test_transfer_is_scikit_learns_vote():
    rng = np.random.default_rng(0)
    reference, query = rng.normal(size=(200, 4)), rng.normal(size=(50, 4))
    labels = rng.integers(0, 3, 200)
    found = alignment.transfer_labels(
        reference, labels, query, num_classes=4, num_neighbours=9
    )
    theirs = KNeighborsClassifier(9).fit(reference, labels).predict_proba(query)
    np.testing.assert_allclose(found, np.column_stack([theirs, np.zeros(50)]))
    few = alignment.transfer_labels(reference[:5], labels[:5], query, num_classes=3)
    np.testing.assert_allclose(few, np.tile(np.eye(3)[labels[:5]].mean(0), (50, 1)))


def test_variates_of_a_shared_cause_lie_together():
    rng = np.random.default_rng(0)
    cause = rng.normal(size=(300, 2))
    first, second = (
        cause @ rng.normal(size=(2, width)) + 0.02 * rng.normal(size=(300, width))
        for width in (5, 4)
    )
    found = alignment.canonical_variates(first, second, np.arange(200), number=2)
    rest = [variates[200:] for variates in found]
    assert alignment.foscttm(*rest).mean() < 0.1
    assert alignment.foscttm(first[200:, :4], second[200:]).mean() > 0.3


def test_regression_goes_over():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 2], 30)
    reference = labels[:, None] + 0.1 * rng.normal(size=(60, 3))
    query = np.array([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]])
    found = alignment.transfer_by_regression(
        reference, labels, query, num_classes=4, penalty=1.0
    )
    assert found.argmax(1).tolist() == [0, 2]
    np.testing.assert_allclose(found.sum(1), 1)
    assert not found[:, [1, 3]].any()

"""Responses of genes against links that are known: by hand, and beside scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from scmultimodal.evaluation import perturbation
from scmultimodal.schemas.errors import InputError


def test_by_hand():
    """One gene ranks its links first and third, the other has a tie on top."""
    effects = np.array([[4.0, 3.0, 2.0, 1.0], [5.0, 5.0, 0.0, -1.0]])
    planted = np.array([[1, 0, 1, 0], [0, 1, 0, 0]], bool)
    found = perturbation.link_recovery(effects, planted)
    assert found.judged == 2
    # Of the first, 3 of 4 pairs are right; of the second 2.5 of 3.
    assert found.auroc == pytest.approx((3 / 4 + 2.5 / 3) / 2)
    assert found.average_precision == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    assert found.chance == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert found.top == pytest.approx((1 + 1 / 2) / 2)


def test_scores_are_scikit_learns():
    rng = np.random.default_rng(0)
    effects = rng.integers(0, 9, (6, 50)).astype(float)
    planted = rng.random((6, 50)) < 0.2
    found = perturbation.link_recovery(effects, planted)
    rows = list(zip(planted, effects, strict=True))
    assert found.auroc == pytest.approx(np.mean([roc_auc_score(*r) for r in rows]))
    precision = np.mean([average_precision_score(*r) for r in rows])
    assert found.average_precision == pytest.approx(precision)


def test_only_what_can_be_judged_is():
    effects = np.array(
        [[9.0, 2.0, 1.0], [np.nan] * 3, [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    )
    planted = np.array([[0, 1, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]], bool)
    where = np.array([[False, True, True]] * 4)
    found = perturbation.link_recovery(effects, planted, where=where)
    assert (found.judged, found.auroc, found.top) == (1, 1.0, 1.0)
    assert found.chance == 0.5
    nothing = perturbation.link_recovery(effects[1:], planted[1:])
    assert nothing.judged == 0
    assert math.isnan(nothing.auroc)
    with pytest.raises(InputError, match=r"\(4, 3\)"):
        perturbation.link_recovery(effects, planted[:, :2])


def test_scores_of_one_kind_of_gene():
    values = np.array([1.0, 2.0])
    assert math.isnan(perturbation.auroc(values, np.array([True, True])))
    assert math.isnan(perturbation.average_precision(values, np.zeros(2, bool)))


def test_genes_of_a_programme_are_linked_to_each_other_alone():
    markers = np.array([[1, 1, 0, 0], [0, 1, 1, 0]], bool)
    assert perturbation.same_programme(markers).tolist() == [
        [False, True, False, False],
        [True, False, True, False],
        [False, True, False, False],
        [False, False, False, False],
    ]

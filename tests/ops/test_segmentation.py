"""Focal loss and counts: by hand, and against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from scmultimodal.evaluation import segmentation as evaluation
from scmultimodal.ops import segmentation

WINDOWS, BASES, ELEMENTS = 3, 400, 2


@pytest.fixture(scope="module")
def asked():
    rng = np.random.default_rng(0)
    shape = (WINDOWS, BASES, ELEMENTS)
    labels = rng.random(shape) < [0.3, 0.02]
    return {
        "margins": (rng.normal(size=shape) * 2 + labels * 2 - 1).astype(np.float32),
        "labels": labels,
        "where": rng.random(shape) < 0.9,
    }


def test_focal_loss_by_hand():
    """p of the right answer is 3/4 and 1/4; the third question is not asked."""
    margins = jnp.log(jnp.array([3.0, 3.0, 9.0]))
    labels, where = jnp.array([True, False, True]), jnp.array([True, True, False])
    total, weight = segmentation.focal_loss(
        margins=margins, labels=labels, where=where, gamma=2.0
    )
    expected = -(np.log(0.75) / 16 + np.log(0.25) * 9 / 16)
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    assert weight == 2


def test_gamma_of_zero_is_cross_entropy(asked):
    total, weight = segmentation.focal_loss(**asked, gamma=0.0)
    probability = jax.nn.sigmoid(asked["margins"]).astype(np.float64)
    right = np.where(asked["labels"], probability, 1 - probability)
    np.testing.assert_allclose(total, -np.log(right)[asked["where"]].sum(), rtol=1e-5)
    assert weight == asked["where"].sum()


def test_more_gamma_is_less_loss(asked):
    losses = [segmentation.focal_loss(**asked, gamma=g)[0] for g in (0.0, 1.0, 2.0)]
    assert losses[0] > losses[1] > losses[2] > 0


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_an_extreme_margin_has_a_finite_gradient(gamma):
    def loss(margins):
        labels = jnp.array([True, False, True])
        return segmentation.focal_loss(
            margins=margins, labels=labels, where=labels | True, gamma=gamma
        )[0]

    gradient = jax.grad(loss)(jnp.array([-200.0, 200.0, 200.0]))
    assert np.isfinite(gradient).all()


def test_the_margin_is_the_softmax_of_no_and_yes():
    logits = np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)
    np.testing.assert_allclose(
        jax.nn.sigmoid(segmentation.margins(logits)),
        jax.nn.softmax(logits)[:, 1],
        rtol=1e-6,
    )


def test_results_are_those_of_scikit_learn(asked):
    confusion = segmentation.confusion(**asked)
    scores = segmentation.score_counts(**asked)
    assert confusion.sum() == asked["where"].sum() == scores.sum()
    results = evaluation.judge(np.asarray(confusion), np.asarray(scores), ("a", "b"))
    for element, result in enumerate(results):
        where = asked["where"][..., element]
        truth = asked["labels"][..., element][where]
        margin = asked["margins"][..., element][where]
        assert result.share == truth.mean()
        for value, expected in (
            (result.mcc, sklearn_metrics.matthews_corrcoef(truth, margin > 0)),
            (result.f1, sklearn_metrics.f1_score(truth, margin > 0)),
        ):
            np.testing.assert_allclose(value, expected, rtol=1e-9)
        # Scores are told apart in 1,024 steps.
        step = np.round((margin + 12) * (1_023 / 24))
        for score, tolerance in ((step, 1e-9), (margin, 2e-3)):
            expected = sklearn_metrics.average_precision_score(truth, score)
            np.testing.assert_allclose(result.auprc, expected, atol=tolerance)


def test_counts_add_up(asked):
    parts = [{k: v[i : i + 1] for k, v in asked.items()} for i in range(WINDOWS)]
    for count in (segmentation.confusion, segmentation.score_counts):
        together = sum(count(**part) for part in parts)
        np.testing.assert_array_equal(together, count(**asked))

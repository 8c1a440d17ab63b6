"""Calibration and refusal: by hand, by property, beside scikit-learn."""

import numpy as np
import pytest
from scipy import special
from sklearn.metrics import roc_auc_score

from scmultimodal.evaluation import calibration
from scmultimodal.schemas.errors import InputError


def two_classes(*confidences):
    """Cells that are called class 0 with these probabilities."""
    return np.array([[c, 1 - c] for c in confidences])


def test_reliability_by_hand():
    found = calibration.reliability(
        two_classes(0.62, 0.68, 0.95, 0.91), np.array([0, 1, 0, 0]), num_bins=10
    )
    assert found.cells.tolist() == [0] * 6 + [2, 0, 0, 2]
    np.testing.assert_allclose(found.confidence[[6, 9]], [0.65, 0.93])
    np.testing.assert_allclose(found.accuracy[[6, 9]], [0.5, 1.0])
    assert np.isnan(found.accuracy[:6]).all()
    np.testing.assert_allclose(found.error, (2 * 0.15 + 2 * 0.07) / 4)


def drawn(temperature, num_cells=4_000):
    """Logits, and labels that follow them at a temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3.0, size=(num_cells, 5))
    chances = special.softmax(logits / temperature, axis=1)
    labels = (chances.cumsum(1) < rng.random((num_cells, 1))).sum(1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_is_found_and_mends_the_calibration(temperature):
    logits, labels = drawn(temperature)
    found = calibration.fit_temperature(logits[::2], labels[::2])
    np.testing.assert_allclose(found, temperature, rtol=0.1)
    mended = calibration.reliability(
        special.softmax(logits[1::2] / found, axis=1), labels[1::2]
    )
    assert mended.error < 0.04
    if temperature != 1:
        raw = special.softmax(logits[1::2], axis=1)
        assert mended.error < calibration.reliability(raw, labels[1::2]).error / 2


def test_refusal_by_hand():
    probabilities = two_classes(0.9, 0.6, 0.8, 0.6)
    curve = calibration.refusal_curve(probabilities, np.array([0, 1, 0, 0]))
    points = [(p.threshold, p.assigned, p.accuracy) for p in curve]
    # The two of .6 go together.
    assert points == [(0.6, 1.0, 0.75), (0.8, 0.5, 1.0), (0.9, 0.25, 1.0)]


def test_the_threshold_assigns_as_many_as_it_may():
    probabilities, labels = two_classes(0.9, 0.6, 0.8, 0.7), np.array([0, 1, 0, 1])
    chosen = calibration.choose_threshold(probabilities, labels, accuracy=0.9)
    assert (chosen.threshold, chosen.assigned, chosen.accuracy) == (0.8, 0.5, 1.0)
    assert calibration.refuse(probabilities, labels, 0.8) == chosen
    every = calibration.choose_threshold(probabilities, labels, accuracy=0.5)
    assert every.assigned == 1
    none = calibration.choose_threshold(probabilities, 1 - labels, accuracy=0.9)
    assert none.accuracy == 0.5
    assert np.isnan(calibration.refuse(probabilities, labels, 0.99).accuracy)


def test_novelty_is_scikit_learns_auroc():
    rng = np.random.default_rng(1)
    probabilities = special.softmax(rng.normal(size=(60, 4)).round(1), axis=1)
    probabilities[::7] = probabilities[0]  # Ties.
    is_new = rng.random(60) < 0.4
    expected = roc_auc_score(is_new, -probabilities.max(1))
    np.testing.assert_allclose(
        calibration.novelty_auroc(probabilities, is_new), expected
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibration.reliability(np.ones((2, 2)), np.array([0, 1])), "2 of 2"),
        (lambda: calibration.reliability(np.ones((0, 2)), np.array([], int)), "no cel"),
        (
            lambda: calibration.fit_temperature(np.ones((0, 2)), np.array([], int)),
            "no cell to calibrate",
        ),
        (
            lambda: calibration.novelty_auroc(two_classes(0.5), np.array([True])),
            "all cells are of one kind",
        ),
    ],
)
def test_what_cannot_be_judged(call, message):
    with pytest.raises(InputError, match=message):
        call()

"""Scores of integration: types apart and batches mixed; and Harmony, which mixes."""

import numpy as np
import pytest

from scmultimodal.evaluation import integration
from scmultimodal.schemas.errors import InputError


def cells(number=240, batch_shift=4.0):
    """(vectors, labels, batches): batches moved apart, which is to be undone."""
    rng = np.random.default_rng(0)
    labels, batches = rng.integers(0, 3, number), rng.integers(0, 2, number)
    vectors = rng.normal(size=(number, 6)) + 5 * np.eye(3, 6)[labels]
    vectors += batch_shift * np.eye(2, 6, 4)[batches]
    return vectors.astype(np.float32), labels, batches


def apart(vectors, batches):
    first, second = (vectors[batches == b].mean(0) for b in (0, 1))
    return np.linalg.norm(first - second)


def test_harmony_brings_batches_together_and_leaves_types_apart():
    vectors, labels, batches = cells()
    found = integration.harmony(vectors, batches)
    assert found.shape == vectors.shape
    assert apart(found, batches) < 0.3 * apart(vectors, batches)
    assert apart(found[labels < 2], labels[labels < 2]) > 5
    np.testing.assert_array_equal(found, integration.harmony(vectors, batches))


@pytest.mark.long
def test_scores_know_good_from_bad():
    vectors, labels, batches = cells()
    corrected = vectors - 4 * np.eye(2, 6, 4, dtype=np.float32)[batches]
    noise = np.random.default_rng(1).normal(size=vectors.shape).astype(np.float32)
    found = integration.score(
        {"raw": vectors, "corrected": corrected, "noise": noise},
        labels,
        batches,
        before=vectors,
    )
    assert found["corrected"].batches > found["raw"].batches + 0.2
    assert found["corrected"].biology > found["noise"].biology + 0.3
    for scores in found.values():
        total = 0.6 * scores.biology + 0.4 * scores.batches
        assert scores.total == pytest.approx(total, abs=1e-6)
        assert all(0 <= value <= 1 for value in scores.metrics.values())


@pytest.mark.parametrize("change", [{"number": 40}, {"labels": 0}, {"batches": 0}])
def test_too_few(change):
    vectors, labels, batches = cells(change.get("number", 240))
    labels, batches = (
        labels * change.get("labels", 1),
        batches * change.get("batches", 1),
    )
    with pytest.raises(InputError, match="Give 100 or more, of two or more"):
        integration.score({"x": vectors}, labels, batches, before=vectors)

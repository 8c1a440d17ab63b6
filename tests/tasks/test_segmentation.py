"""Segmentation: what is asked of a base, and what weighs nothing."""

import jax
import numpy as np
import pytest

from scmultimodal.modules.heads.segmentation import SegmentationHeadConfig
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import UNJUDGED
from scmultimodal.tasks.segmentation import Segmentation, SegmentationConfig
from tests import builders
from tests.tasks.whole import compiled

pytestmark = pytest.mark.usefixtures("lightly_compiled")

RNG = jax.random.PRNGKey(5)
ELEMENTS = 3


def make(**fields):
    config = SegmentationConfig(
        encoder=builders.dna_encoder_config(),
        head=SegmentationHeadConfig(num_elements=ELEMENTS),
        k=2,
        **fields,
    )
    return compiled(Segmentation(config))


@pytest.fixture(scope="module")
def trained():
    """(task, params, state) with random weights."""
    task = make()
    return task, *task.init(jax.random.PRNGKey(0), builders.segmentation_batch())


def judge(trained, batch, *, is_training=False):
    task, params, state = trained
    return jax.device_get(task.loss(params, state, RNG, batch, is_training=is_training))


def test_loss_and_counts_by_hand(trained):
    batch = builders.segmentation_batch()
    labels = batch.labels.copy()
    labels[0, 3:6] = UNJUDGED
    known = np.array([0b101, 0b111, 0b111], np.uint16)
    batch = batch.replace(
        labels=labels, known=known, sequence_mask=np.array([True, True, False])
    )
    (total, weight), (_, metrics) = judge(trained, batch)
    margins = np.asarray(trained[0].predict(*trained[1:], batch), np.float64)
    expected, asked = 0.0, 0
    confusion = np.zeros((ELEMENTS, 4))
    for window in (0, 1):
        for base in range(16):
            for element in range(ELEMENTS):
                label = labels[window, base]
                if label == UNJUDGED or not known[window] >> element & 1:
                    continue
                truth = label >> element & 1
                margin = margins[window, base, element]
                p = 1 / (1 + np.exp(-margin if truth else margin))
                expected -= (1 - p) ** 2 * np.log(p)
                asked += 1
                kind = 2 * (margin <= 0) + (not truth)
                kind = {0: 0, 1: 1, 2: 2, 3: 3}[int(kind)]
                confusion[element, kind] += 1
    assert weight == asked
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    counts, windows = metrics["confusion"]
    assert windows == 2
    np.testing.assert_array_equal(counts, confusion)
    assert metrics["score_counts"][0].sum() == asked
    (same, _), (_, nothing) = judge(trained, batch, is_training=True)
    np.testing.assert_allclose(same, total, rtol=1e-6)
    assert nothing == {}


def test_gamma_is_of_the_loss_alone(trained):
    batch = builders.segmentation_batch()
    (cross_entropy, _), (_, metrics) = judge((make(gamma=0.0), *trained[1:]), batch)
    (focal, _), (_, same) = judge(trained, batch)
    assert focal < cross_entropy
    np.testing.assert_array_equal(metrics["confusion"][0], same["confusion"][0])


def test_longer_windows_need_no_other_parameters(trained):
    batch = builders.segmentation_batch(num_bases=48)
    assert trained[0].predict(*trained[1:], batch).shape == (3, 48, ELEMENTS)


def test_the_encoder_is_learned_too(trained):
    task, params, state = trained
    batch = builders.segmentation_batch()

    def loss(params):
        return task.loss(params, state, RNG, batch, is_training=True)[0][0]

    gradient = jax.jit(jax.grad(loss))(params)
    table = gradient["nucleotide_transformer"]["token_embedding"]
    assert np.abs(table).max() > 0


def test_a_config_is_json_and_back():
    config = make(gamma=1.0).config
    again = configs.from_json(SegmentationConfig, configs.to_json(config), source="x")
    assert again == config
    with pytest.raises(ValueError, match="gamma must be at least 0"):
        make(gamma=-1.0)

"""Windows over long sequences: no base missing, none twice, wherever they lie."""

import numpy as np
import pytest

from scmultimodal.genome.letters import as_letters
from scmultimodal.modules.heads.segmentation import SegmentationHeadConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights.genome_model import (
    GenomeModelConfig,
    SegmenterConfig,
    StoredGenomeModel,
)
from scmultimodal.workflows import genome_inference, segmentation_inference
from scmultimodal.workflows.segmentation_inference import StitchingConfig, layout
from tests import builders

UNIT = 8
WINDOW = 240
REACH = 96
"""Bases that a U-Net of two levels sees on either side, and some more."""


@pytest.fixture(scope="module")
def model() -> StoredGenomeModel:
    """Its encoder attends to nothing but the token itself: what it sees is local."""
    return builders.segmenter_model(attends=False)


def letters(length, seed=0):
    return as_letters(builders.dna(length, seed=seed))


@pytest.mark.parametrize("length", [1, 7, 8, 9, 239, 240, 241, 555, 1_000])
@pytest.mark.parametrize(("window", "margin"), [(240, 0), (240, 64), (16, 0), (48, 16)])
def test_every_base_is_taken_once(length, window, margin):
    plan = layout(length, window, margin, UNIT)
    assert (plan.starts % UNIT == 0).all()
    assert plan.window_bp % UNIT == 0
    begins = np.concatenate([[0], plan.ends[:-1]])
    assert plan.ends[-1] == length
    assert (begins < plan.ends).all()
    # What is taken lies in its window, away from the ends that are not the sequence's.
    inner = np.arange(len(plan.starts))
    assert (begins >= plan.starts + margin * (inner > 0)).all()
    last = len(plan.starts) - 1
    bound = plan.starts + plan.window_bp - margin * (inner < last)
    assert (plan.ends <= bound).all()


@pytest.mark.parametrize(
    ("window", "margin", "message"),
    [
        (20, 0, "window_bp: is 20 bp, which is no multiple of 8; the next .* has 24"),
        (0, 0, "window_bp: is 0 bp"),
        (24, 4, "margin_bp: is 4 bp"),
        (24, 16, "margin_bp: is 16 on both sides of windows of 24 bp"),
    ],
)
def test_windows_that_cannot_be(window, margin, message):
    with pytest.raises(InputError, match=message):
        layout(100, window, margin, UNIT)


def test_probabilities_do_not_depend_on_where_windows_lie(model):
    """Within what the network sees, which is less than the margin here."""
    sequence = letters(1_500)
    whole = segmentation_inference.segment(
        model, sequence, StitchingConfig(window_bp=1_504, margin_bp=0)
    )
    assert whole.shape == (1_500, 3)
    assert whole.std() > 0.01
    for window, margin in ((240, REACH), (480, REACH), (400, 112)):
        parts = segmentation_inference.segment(
            model, sequence, StitchingConfig(window_bp=window, margin_bp=margin)
        )
        np.testing.assert_allclose(parts, whole, atol=2e-6)
    without = segmentation_inference.segment(
        model, sequence, StitchingConfig(window_bp=240, margin_bp=0)
    )
    assert np.abs(without - whole).max() > 1e-3


def test_the_sequence_may_begin_elsewhere(model):
    """A window later by a multiple of the unit sees the same."""
    sequence = letters(1_200)
    whole = segmentation_inference.segment(
        model, sequence, StitchingConfig(window_bp=WINDOW, margin_bp=REACH)
    )
    later = segmentation_inference.segment(
        model, sequence[256:], StitchingConfig(window_bp=WINDOW, margin_bp=REACH)
    )
    np.testing.assert_allclose(later[REACH:], whole[256 + REACH :], atol=2e-6)


def test_n_has_no_value_and_moves_nothing(model):
    sequence = letters(480)
    sequence[100:103] = ord("N")
    found = segmentation_inference.segment(model, sequence, StitchingConfig())
    clean = segmentation_inference.segment(model, letters(480), StitchingConfig())
    assert np.flatnonzero(np.isnan(found[:, 0])).tolist() == [100, 101, 102]
    far = np.r_[0 : 100 - REACH, 103 + REACH : 480]
    np.testing.assert_allclose(found[far], clean[far], atol=2e-6)
    nothing = np.full(600, ord("N"), np.uint8)
    assert np.isnan(segmentation_inference.segment(model, nothing)).all()
    assert segmentation_inference.segment(model, nothing[:0]).shape == (0, 3)


def test_both_strands_are_one_answer(model):
    sequence = letters(480)
    config = StitchingConfig(window_bp=WINDOW, margin_bp=REACH, both_strands=True)
    found = segmentation_inference.segment(model, sequence, config)
    complement = {65: 84, 84: 65, 67: 71, 71: 67}
    turned = np.array([complement[b] for b in sequence[::-1]], np.uint8)
    other = segmentation_inference.segment(model, turned, config)[::-1]
    np.testing.assert_allclose(found, other, atol=2e-6)
    one = segmentation_inference.segment(
        model, sequence, StitchingConfig(window_bp=WINDOW, margin_bp=REACH)
    )
    assert np.abs(found - one).max() > 1e-3


def test_batches_change_nothing(model):
    sequence = letters(1_100)
    one, three = (
        segmentation_inference.segment(
            model, sequence, StitchingConfig(batch_size=size)
        )
        for size in (1, 3)
    )
    np.testing.assert_allclose(one, three, atol=2e-6)


def test_longer_windows_rescale_positions():
    model = builders.segmenter_model(attends=True)
    task = genome_inference.segmentation_task(model, num_tokens=1_000)
    assert task.config.encoder.rescaling == 1_000 / 64
    sequence = letters(960)
    found = segmentation_inference.segment(
        model, sequence, StitchingConfig(window_bp=960)
    )
    assert found.shape == (960, 3)


def test_a_model_without_the_head():
    config = GenomeModelConfig(encoder=builders.dna_encoder_config(), k=2)
    model = StoredGenomeModel(config=config, params={}, reference={})
    with pytest.raises(InputError, match="it has no head that tells elements"):
        segmentation_inference.segment(model, letters(8))


def test_names_and_numbers_of_elements_go_together():
    with pytest.raises(ValueError, match="1 names for 2 elements"):
        SegmenterConfig(head=SegmentationHeadConfig(num_elements=2), elements=("exon",))

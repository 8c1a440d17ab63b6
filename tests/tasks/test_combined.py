"""Objectives side by side: one trunk, a weighted sum."""

import jax
import numpy as np
import pytest

from scmultimodal.tasks.combined import Combined
from scmultimodal.tasks.count_splitting import CountSplitting, CountSplittingConfig
from scmultimodal.tasks.masked_reconstruction import (
    MaskedReconstruction,
    MaskedReconstructionConfig,
)
from tests import builders
from tests.tasks.whole import compiled, drawn

pytestmark = pytest.mark.usefixtures("lightly_compiled")

RNG = jax.random.PRNGKey(3)


@pytest.fixture(scope="module")
def parts():
    encoder = builders.encoder_config()
    masked = MaskedReconstruction(MaskedReconstructionConfig(encoder=encoder))
    split = CountSplitting(CountSplittingConfig(encoder=encoder))
    return masked, split


def test_loss_is_the_weighted_sum_over_cells(parts):
    masked, split = parts
    task = compiled(Combined({"masked": (masked, 2.0), "counts": (split, 0.5)}))
    batch = builders.cell_batch()
    batch = batch.replace(cell_mask=np.arange(6) != 2)
    params, state = drawn(task, batch)
    (total, weight), (_, metrics) = task.loss(
        params, state, RNG, batch, is_training=False
    )
    assert weight == 5
    expected, keys = 0.0, jax.random.split(RNG)
    for key, one, share in zip(keys, parts, (2.0, 0.5), strict=True):
        loss = jax.jit(one.loss, static_argnames="is_training")(
            params, state, key, batch, is_training=False
        )[0]
        expected += share * loss[0]
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert {"masked_loss", "counts_loss", "rna_accuracy"} <= set(metrics)


def test_the_trunk_is_one_and_every_head_is_there(parts):
    masked, split = parts
    task = Combined({"masked": (masked, 1.0), "counts": (split, 1.0)})
    batch = builders.cell_batch()
    shapes = [jax.eval_shape(one.init, RNG, batch)[0] for one in (task, masked, split)]
    both, one, other = (set(shape) for shape in shapes)
    assert both == one | other
    trunk = {name for name in both if name.startswith("cell_encoder")}
    assert trunk <= one & other

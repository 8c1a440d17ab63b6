"""One step of training by ranking at the study's size."""

import haiku as hk
import jax
import numpy as np
import pytest

from scmultimodal.training import loop
from scmultimodal.workflows import genome_presets, ranking
from tests import builders


@pytest.mark.long
def test_the_50m_shape_takes_a_step_that_moves_encoder_and_head(tmp_path):
    config = genome_presets.STUDY.ranking
    task = ranking.make_task(config, None)
    batch = builders.region_batch(num_spans=2, num_tokens=501)
    before = jax.jit(task.init)(jax.random.PRNGKey(0), batch)
    assert hk.data_structures.tree_size(before[0]) == 52_484_608 + 2_033_041
    result = loop.fit(
        task,
        train_batches=lambda step, share: batch,
        config=loop.LoopConfig(num_steps=1),
        folder=tmp_path,
        optimizer=ranking.optimizer_of(config, config.shape.num_layers),
        initial=before,
    )
    (record,) = result.history
    assert np.isfinite([record["loss"], record["grad_norm"]]).all()
    for module, old in before[0].items():
        for name, value in old.items():
            moved = result.state.params[module][name] - np.asarray(value)
            assert np.isfinite(moved).all(), f"{module}/{name}"
            # A key's bias adds the same to every logit of a query: no gradient.
            if name != "key_bias":
                assert np.any(moved), f"{module}/{name} rests"

"""The adversary: what it learns helps it, and the encoder is driven the other way."""

import functools

import jax
import numpy as np
import pytest
from scipy import special

from scmultimodal.tasks.batch_adversary import (
    BatchAdversary,
    BatchAdversaryConfig,
    reverse_gradient,
)
from tests import builders
from tests.tasks.whole import compiled, drawn

pytestmark = pytest.mark.usefixtures("lightly_compiled")

RNG = jax.random.PRNGKey(3)


@functools.cache
def make(strength=1.0):
    return BatchAdversary(
        BatchAdversaryConfig(
            encoder=builders.encoder_config(),
            num_batches=3,
            strength=strength,
            hidden=5,
        )
    )


def test_reversal_by_hand():
    found = jax.grad(lambda x: (reverse_gradient(x, 0.5) ** 2).sum())(np.ones(3))
    np.testing.assert_array_equal(found, [-1, -1, -1])


def test_loss_by_hand_and_the_direction_of_both():
    batch = builders.cell_batch(num_classes=3)
    batch = batch.replace(
        label=np.array([0, 1, 2, -1, 1, 0], np.int32), cell_mask=np.arange(6) != 5
    )
    params, state = drawn(make(), batch)

    def loss(params, strength):
        return make(strength).loss(params, state, RNG, batch, is_training=False)[0][0]

    task = compiled(BatchAdversary(make().config))
    (total, weight), (_, metrics) = task.loss(
        params, state, RNG, batch, is_training=False
    )
    logits = np.asarray(make()._forward.apply(params, state, None, batch)[0])
    counted = [0, 1, 2, 4]
    logs = special.log_softmax(logits, 1)
    assert weight == 4
    np.testing.assert_allclose(
        total, -sum(logs[i, batch.label[i]] for i in counted), rtol=1e-5
    )
    told = sum(logits[i].argmax() == batch.label[i] for i in counted)
    assert metrics["batch_accuracy"] == (told, 4)
    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    once, twice = gradient(params, 1.0), gradient(params, 2.0)
    for module, leaves in once.items():
        factor = 2 if module.startswith("cell_encoder/") else 1
        for name, leaf in leaves.items():
            np.testing.assert_allclose(
                twice[module][name], factor * leaf, rtol=1e-4, atol=1e-6
            )
    down = {
        module: {
            name: leaf - 1e-2 * np.asarray(once[module][name])
            for name, leaf in leaves.items()
        }
        for module, leaves in params.items()
    }
    encoder = {m: v for m, v in down.items() if m.startswith("cell_encoder/")}
    head = {m: v for m, v in down.items() if m not in encoder}
    assert loss({**params, **encoder}, 1.0) > total
    assert loss({**params, **head}, 1.0) < total


def test_of_peaks_alone_no_gene_is_seen():
    """Batches with RNA train it too, and a cell without an open peak counts nothing."""
    config = BatchAdversaryConfig(
        encoder=builders.peak_encoder_config(), num_batches=3, peaks_alone=True
    )
    task = compiled(BatchAdversary(config))
    batch = builders.peak_batch(num_classes=3)
    batch = batch.replace(label=np.array([0, 1, 2, 0, 1, 0], np.int32))
    batch.peaks.mask[5] = False
    params, state = drawn(task, batch)
    assert not any("rna" in module for module in params)
    told = task.loss(params, state, RNG, batch, is_training=False)[0]
    assert told[1] == 5
    blind = batch.replace(rna=None, rna_present=np.zeros(6, bool))
    again = task.loss(params, state, RNG, blind, is_training=False)[0]
    np.testing.assert_array_equal(told, again)


@pytest.mark.parametrize("fields", [{"num_batches": 1}, {"strength": 0.0}])
def test_settings_out_of_range(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        BatchAdversaryConfig(
            **{"encoder": builders.encoder_config(), "num_batches": 2} | fields
        )

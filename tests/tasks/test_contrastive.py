"""Contrastive alignment: the loss by hand, and who takes part."""

import jax
import numpy as np
import pytest
from scipy import special

from scmultimodal.modules import cell_encoder
from scmultimodal.tasks.contrastive import Contrastive, ContrastiveConfig, alone
from tests import builders
from tests.tasks.whole import compiled, drawn

pytestmark = pytest.mark.usefixtures("lightly_compiled")

RNG = jax.random.PRNGKey(3)
ENCODER = builders.encoder_config()


@pytest.fixture(scope="module")
def task():
    return compiled(Contrastive(ContrastiveConfig(encoder=ENCODER, temperature=0.2)))


@pytest.mark.parametrize("num_tokens", [None, 9])
def test_loss_and_matches_by_hand(task, num_tokens):
    """Cells that fill up, or lack a modality, are nobody's partner."""
    batch = builders.cell_batch(num_tokens=num_tokens)
    mask, present = np.arange(6) != 1, np.arange(6) != 4
    batch = batch.replace(cell_mask=mask, atac_present=present)
    params, state = drawn(task, batch)
    (total, weight), (_, metrics) = task.loss(
        params, state, RNG, batch, is_training=False
    )
    encode = jax.jit(cell_encoder.build_encoder(ENCODER).apply)
    rna, atac = (
        np.asarray(encode(params, state, None, alone(batch, m))[0].cells)[
            mask & present
        ]
        for m in ("rna", "atac")
    )
    rna, atac = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (rna, atac))
    cosines = rna @ atac.T / 0.2
    nats = [-np.diag(special.log_softmax(c, 1)).sum() for c in (cosines, cosines.T)]
    assert weight == 4
    np.testing.assert_allclose(total, sum(nats) / 2, rtol=1e-4)
    hits = [(c.argmax(1) == np.arange(4)).sum() for c in (cosines, cosines.T)]
    assert metrics["matched"] == (sum(hits) / 2, 4)


@pytest.mark.parametrize("modalities", [("rna",), ("atac",)])
def test_cells_of_one_modality_have_no_loss(task, modalities):
    batch = builders.cell_batch(modalities=modalities)
    params, state = drawn(task, batch)
    loss, _ = task.loss(params, state, RNG, batch, is_training=True)
    assert loss == (0, 0)


def test_training_hides_tokens_and_a_lone_cell_has_no_loss(task):
    batch = builders.cell_batch()
    params, state = drawn(task, batch)
    whole, seen = (
        task.loss(params, state, RNG, batch, is_training=t)[0][0] for t in (False, True)
    )
    assert abs(whole - seen) > 1e-3
    lone = batch.replace(cell_mask=np.arange(6) == 2)
    assert task.loss(params, state, RNG, lone, is_training=False)[0] == (0, 0)


@pytest.mark.parametrize("fields", [{"temperature": 0.0}, {"kept_share": 0.0}])
def test_settings_out_of_range(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        ContrastiveConfig(encoder=ENCODER, **fields)

"""Dials on values: at one nothing changes, at zero a value is zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.modules import value_dials
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.tasks.cell_type import CellTypeClassification, CellTypeConfig
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

GENES = 8
HEADS = {
    "plain": {},
    "by_value": {"by_value": True, "skip": True},
    "shown": {"silent_genes": False},
    "vector": {"reads": "vector", "skip": True},
}


def network(num_tokens=None, **head):
    """logits(batch, dials) of random parameters, and a batch."""
    batch = builders.cell_batch(num_genes=GENES, num_tokens=num_tokens, num_classes=3)
    config = CellTypeHeadConfig(num_classes=3, hidden=(5,), **head)
    task = CellTypeClassification(
        CellTypeConfig(
            encoder=builders.encoder_config(GENES, num_layers=0), head=config
        )
    )
    params, state = jax.jit(task.init)(jax.random.PRNGKey(0), batch)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda a: rng.normal(0, 0.5, np.shape(a)).astype(np.float32), params
    )

    @jax.jit
    def logits(batch, dials):
        if dials is None:
            return task.predict(params, state, batch)
        with value_dials.dialled(dials, tokens_fade=num_tokens is not None):
            return task.predict(params, state, batch)

    return logits, jax.tree.map(jnp.asarray, batch)


def ones(batch, **changed):
    return {m: jnp.ones(getattr(batch, m).shape) for m in ("rna", "atac")} | changed


@pytest.mark.parametrize("head", HEADS)
def test_a_dial_at_zero_is_a_value_of_zero(head):
    """Of one modality, at one gene; the other modality may show the gene."""
    logits, batch = network(**HEADS[head])
    dials = ones(batch, rna=jnp.ones(batch.rna.shape).at[:, 2].set(0))
    silenced = batch.replace(rna=batch.rna.at[:, 2].set(0))
    expected = logits(silenced, None)
    np.testing.assert_allclose(logits(batch, dials), expected, atol=1e-5)
    unchanged = logits(batch, None)
    assert np.abs(expected - unchanged).max() > 1e-2
    np.testing.assert_allclose(logits(batch, ones(batch)), unchanged, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_where_tokens_are_non_zero_genes_a_token_at_zero_is_none(head):
    """Without attention: there a token is a key, too, and stays one."""
    logits, batch = network(num_tokens=6, **HEADS[head])
    faded = jnp.ones(batch.rna.shape).at[:, 0].set(0)
    gone = batch.replace(
        rna=batch.rna.at[:, 0].set(0),
        atac=batch.atac.at[:, 0].set(0),
        token_mask=batch.token_mask.at[:, 0].set(False),
    )
    # A mask of other tokens leaves the head's layout of genes as it is.
    expected = logits(gone, None)
    found = logits(batch, {"rna": faded, "atac": faded})
    shown = np.asarray((batch.rna > 0) | (batch.atac > 0))[:, 0]
    assert shown.any()
    np.testing.assert_allclose(found[shown], expected[shown], atol=1e-5)
    unchanged = logits(batch, None)
    assert np.abs(expected - unchanged).max() > 1e-2
    np.testing.assert_allclose(logits(batch, ones(batch)), unchanged, atol=1e-5)


def test_the_gradient_is_that_of_the_value_embedding():
    """Of a cell in which one gene has bin 3, the table's row 3 is that token's."""
    batch = builders.cell_batch(num_cells=1, num_genes=GENES, modalities=("rna",))
    batch = batch.replace(rna=np.zeros((1, GENES), np.uint8))
    batch.rna[0, 4] = 3
    task = CellTypeClassification(
        CellTypeConfig(
            encoder=builders.encoder_config(GENES, num_layers=0),
            head=CellTypeHeadConfig(num_classes=3, hidden=(5,)),
        )
    )
    params, state = jax.jit(task.init)(jax.random.PRNGKey(0), batch)

    def logit(params, dials):
        with value_dials.dialled(dials, tokens_fade=False):
            return task.predict(params, state, batch)[0, 1]

    dials = {"rna": jnp.ones((1, GENES))}
    of_params, of_dials = jax.jit(jax.grad(logit, argnums=(0, 1)))(params, dials)
    name = "cell_encoder/rna_embedding/value"
    table, gradient = (tree[name]["embeddings"] for tree in (params, of_params))
    expected = gradient[3] @ (table[3] - table[0])
    np.testing.assert_allclose(of_dials["rna"][0, 4], expected, rtol=1e-4)
    assert np.abs(expected) > 1e-6
    np.testing.assert_array_equal(np.delete(of_dials["rna"][0], 4), 0)

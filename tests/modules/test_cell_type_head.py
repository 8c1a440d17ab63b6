"""The cell-type head reads the trunk's output, gene by gene."""

import haiku as hk
import jax
import numpy as np
import pytest

from scmultimodal.modules.heads.cell_type import CellTypeHead, CellTypeHeadConfig
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

GENES, DIM = 12, 5


def head(**fields):
    """(a compiled `init`, a compiled `apply`) of tokens, batch and is_training."""
    config = CellTypeHeadConfig(num_classes=3, hidden=(7, 4), **fields)

    def forward(tokens, batch, is_training):
        return CellTypeHead(config, GENES)(tokens, batch, is_training=is_training)

    network = hk.transform(forward)
    return (
        jax.jit(network.init, static_argnums=3),
        jax.jit(network.apply, static_argnums=4),
    )


def normal_tokens(number):
    return np.random.default_rng(0).normal(size=(6, number, DIM)).astype(np.float32)


def test_a_token_speaks_at_its_gene_and_the_other_genes_are_zero():
    batch = builders.cell_batch(num_genes=GENES, num_tokens=6)
    tokens = normal_tokens(6)
    init, apply = head()
    params = jax.device_get(init(jax.random.PRNGKey(1), tokens, batch, False))
    own = params["cell_type_head"]
    own["convolution_bias"] = np.float32(0.3)
    hidden = np.zeros((6, GENES))
    for cell, token in zip(*np.nonzero(batch.token_mask), strict=True):
        value = tokens[cell, token] @ own["convolution"] + 0.3
        hidden[cell, batch.gene_ids[cell, token]] = value
    for name in ("hidden_0", "hidden_1"):
        layer = params[f"cell_type_head/{name}"]
        hidden = np.maximum(hidden @ np.asarray(layer["w"]) + layer["b"], 0)
    layer = params["cell_type_head/logits"]
    np.testing.assert_allclose(
        apply(params, None, tokens, batch, False),
        hidden @ np.asarray(layer["w"]) + layer["b"],
        atol=1e-5,
    )


def test_which_genes_are_there_shows_whatever_the_trunk_says():
    """A fresh head tells cells with other genes apart, even by tokens of zero."""
    batch = builders.cell_batch(num_genes=GENES, num_tokens=6)
    nothing = np.zeros((6, 6, DIM), np.float32)
    init, apply = head()
    params = init(jax.random.PRNGKey(1), nothing, batch, False)
    logits = np.asarray(apply(params, None, nothing, batch, False))
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


@pytest.mark.parametrize("read", [True, False])
def test_silent_genes_are_read_where_asked(read: bool):
    batch = builders.cell_batch(num_genes=GENES)
    shown = (np.asarray(batch.rna) > 0) | (np.asarray(batch.atac) > 0)
    assert 0 < shown.mean() < 1
    tokens = normal_tokens(GENES)
    other = np.where(shown[..., None], tokens, np.float32(3))
    init, apply = head(silent_genes=read)
    params = init(jax.random.PRNGKey(1), tokens, batch, False)
    logits, others = (
        np.asarray(apply(params, None, x, batch, False)) for x in (tokens, other)
    )
    change = np.abs(logits - others).max()
    assert change > 1e-3 if read else change == 0


def test_by_value_a_token_weighs_as_its_larger_bin():
    """Twice the bins are twice what the MLP's first layer gets, but for its bias."""
    batch = builders.cell_batch(num_genes=GENES)
    tokens = normal_tokens(GENES)
    init, apply = head(by_value=True)
    params = jax.device_get(init(jax.random.PRNGKey(1), tokens, batch, False))
    values = np.maximum(batch.rna, batch.atac)
    own = params["cell_type_head"]
    hidden = (tokens @ own["convolution"] + own["convolution_bias"]) * values
    for name in ("hidden_0", "hidden_1"):
        layer = params[f"cell_type_head/{name}"]
        hidden = np.maximum(hidden @ layer["w"] + layer["b"], 0)
    layer = params["cell_type_head/logits"]
    np.testing.assert_allclose(
        apply(params, None, tokens, batch, False),
        hidden @ layer["w"] + layer["b"],
        atol=1e-4,
    )


@pytest.mark.parametrize("num_tokens", [None, 6])
def test_the_skip_is_a_linear_map_of_the_bins_at_their_genes(num_tokens):
    batch = builders.cell_batch(num_genes=GENES, num_tokens=num_tokens)
    tokens = normal_tokens(num_tokens or GENES)
    init, apply = head(skip=True)
    params = jax.device_get(init(jax.random.PRNGKey(1), tokens, batch, False))
    own = params["cell_type_head"]
    without = apply(params, None, tokens, batch, False)
    expected = np.array(without)
    for number, modality in enumerate(("rna", "atac")):
        weights = np.random.default_rng(number).normal(size=(GENES, 3))
        assert not own[f"{modality}_skip"].any()  # starts as if it were not there
        own[f"{modality}_skip"] = weights.astype(np.float32)
        values = np.asarray(getattr(batch, modality), np.float64)
        for cell, token in zip(*np.nonzero(values), strict=True):
            if batch.token_mask is None or batch.token_mask[cell, token]:
                gene = token if num_tokens is None else batch.gene_ids[cell, token]
                expected[cell] += values[cell, token] * weights[gene]
    found = apply(params, None, tokens, batch, False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_dropout_is_keyed_by_row_and_off_in_evaluation():
    batch = builders.cell_batch(num_genes=GENES)
    tokens, rng = normal_tokens(GENES), jax.random.PRNGKey(4)
    init, apply = head(dropout=0.5)
    params = init(jax.random.PRNGKey(1), tokens, batch, False)
    whole = np.asarray(apply(params, rng, tokens, batch, True))
    half = jax.tree.map(lambda leaf: leaf[3:], batch)
    np.testing.assert_allclose(
        apply(params, rng, tokens[3:], half, True), whole[3:], atol=1e-5
    )
    plain = apply(params, None, tokens, batch, False)
    assert np.abs(whole - plain).max() > 1e-3


@pytest.mark.parametrize("fields", [{"num_classes": 1}, {"dropout": 1.0}])
def test_heads_that_cannot_be_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        CellTypeHeadConfig(**({"num_classes": 3} | fields))

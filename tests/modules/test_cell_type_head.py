"""The cell-type head reads the trunk's output, gene by gene."""

import haiku as hk
import jax
import numpy as np
import pytest

from scmultimodal.modules import cell_encoder
from scmultimodal.modules.heads.cell_type import CellTypeHead, CellTypeHeadConfig
from tests import builders

GENES, DIM = 12, 5


def head(**fields):
    config = CellTypeHeadConfig(num_classes=3, hidden=(7, 4), **fields)

    def forward(tokens, batch, is_training):
        return CellTypeHead(config, GENES)(tokens, batch, is_training=is_training)

    return hk.transform(forward)


def test_scattered_channel_equals_scattered_embedding():
    """[cells, genes, dim] with zeros, then convolved, gives the same logits."""
    batch = builders.cell_batch(num_genes=GENES, num_tokens=6)
    tokens = jax.random.normal(jax.random.PRNGKey(0), (6, 6, DIM))
    network = head()
    params = network.init(jax.random.PRNGKey(1), tokens, batch, False)
    params["cell_type_head"]["convolution_bias"] = np.float32(0.3)
    dense = cell_encoder.scatter_to_genes(
        tokens, batch.gene_ids, batch.token_mask, GENES
    )
    everything = builders.cell_batch(num_genes=GENES)
    np.testing.assert_allclose(
        network.apply(params, None, tokens, batch, False),
        network.apply(params, None, dense, everything, False),
        atol=1e-5,
    )


def test_dropout_is_keyed_by_row_and_off_in_evaluation():
    batch = builders.cell_batch(num_genes=GENES)
    tokens = jax.random.normal(jax.random.PRNGKey(0), (6, GENES, DIM))
    network, rng = head(dropout=0.5), jax.random.PRNGKey(4)
    params = network.init(jax.random.PRNGKey(1), tokens, batch, False)
    whole = network.apply(params, rng, tokens, batch, True)
    half = jax.tree.map(lambda leaf: leaf[3:], batch)
    np.testing.assert_allclose(
        network.apply(params, rng, tokens[3:], half, True), whole[3:], atol=1e-5
    )
    plain = network.apply(params, None, tokens, batch, False)
    assert np.abs(np.asarray(whole) - plain).max() > 1e-3


@pytest.mark.parametrize("fields", [{"num_classes": 1}, {"dropout": 1.0}])
def test_heads_that_cannot_be_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        CellTypeHeadConfig(**({"num_classes": 3} | fields))

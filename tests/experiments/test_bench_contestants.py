"""What is compared computes the same, and its arithmetic is counted."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bench import shape
from experiments.bench.contestants import literal, ours, product
from experiments.bench.shape import Shape
from scmultimodal.ops import favor
from tests.parity.torch_layers import layer_parameters

SMALL = Shape(tokens=37, cells=2, dim=12, layers=2, heads=3, key_size=8)


# Arithmetic.


def test_flop_of_a_step_by_hand():
    # int(3 ln 3) = 3 features. Of a key: k and v 2·2·6, W·k 2·3·3, sums 2·3·4. Of a
    # query: q and output 2·2·6, W·q 2·3·3, sums 2·3·4, feed-forward 2·4·2².
    step = Shape(tokens=5, cells=3, dim=2, layers=2, heads=2, key_size=3)
    key, query = 24 + 18 + 24, 24 + 18 + 24 + 32
    whole = 5 * (key + query)
    assert shape.step_flop(step) == 3 * 2 * 3 * (whole + whole)
    assert shape.step_flop(step, last_layer_rows=1) == (
        3 * 2 * 3 * (whole + 5 * key + query)
    )


def test_flop_of_the_study():
    # 2,290 kFLOP per token and layer forward, and 442 GFLOP per cell and step.
    study = Shape()
    per_token = shape.step_flop(study) / 3 / study.tokens / study.layers
    assert per_token == pytest.approx(2.29e6, rel=1e-3)
    assert shape.step_flop(study) == pytest.approx(442e9, rel=1e-3)


# What is computed.


def test_hidden_values_are_those_to_predict():
    bins = shape.random_bins(Shape(tokens=3_000, cells=2))
    assert (bins > 0).mean() == pytest.approx(shape.DENSITY, abs=0.02)
    assert bins.max() == shape.NUM_BINS
    visible, labels = shape.hide(bins)
    hidden = labels != shape.NOT_HIDDEN
    np.testing.assert_array_equal(visible[hidden], shape.NUM_BINS + 1)
    np.testing.assert_array_equal(visible[~hidden], bins[~hidden])
    np.testing.assert_array_equal(
        labels[:, 1:][hidden[:, 1:]], bins[:, 1:][hidden[:, 1:]] - 1
    )
    assert hidden.sum() / (bins > 0).sum() == pytest.approx(0.15, abs=0.05)


@pytest.mark.long
def test_the_literal_layer_is_ours():
    weights, projections = literal.random_weights(SMALL)
    x = jax.random.normal(jax.random.key(1), (SMALL.cells, SMALL.tokens, SMALL.dim))
    streamed = functools.partial(favor.layer, chunk=16, approximate_gelu=False)
    theirs, mine = (
        jax.jit(layer)(weights.layers[0], projections[0], x)
        for layer in (literal.layer, streamed)
    )
    assert float(jnp.abs(theirs - x).mean()) > 0.1
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("module", [ours, literal])
def test_steps_move_the_parameters(module):
    # Of 600 values some 60 are not zero, and some nine of them are hidden.
    contestant = module.build(shape=dataclasses.replace(SMALL, tokens=300))
    losses = [contestant.step() for _ in range(3)]
    assert all(0 < loss < 10 for loss in losses)
    assert len(set(losses)) == 3
    assert contestant.facts["temporary_mb"] > 0
    assert contestant.facts["compile_seconds"] > 0


def test_the_product_says_how_much_it_computes():
    contestant = product.build(width=4, products=3)
    assert math.isfinite(contestant.step())
    assert contestant.facts["flop"] == 3 * 2 * 4**3
    assert contestant.facts["platform"] in ("cpu", "gpu")


@pytest.mark.parity
def test_the_torch_model_is_the_literal_one():
    torch = pytest.importorskip("torch")
    torch_performer = pytest.importorskip(
        "experiments.bench.contestants.torch_performer"
    )
    visible, labels = shape.hide(shape.random_bins(SMALL))
    torch.manual_seed(0)
    model = torch_performer.Model(SMALL, exact=False)
    weights = literal_weights(model)
    projections = [
        jnp.asarray(buffer.numpy())
        for name, buffer in model.named_buffers()
        if name.endswith("projection_matrix")
    ]
    logits = model(torch.as_tensor(visible)).flatten(0, 1)
    theirs = torch.nn.functional.cross_entropy(
        logits, torch.as_tensor(labels, dtype=torch.long).flatten(), ignore_index=-1
    )
    mine = literal.loss(weights, projections, jnp.asarray(visible), jnp.asarray(labels))
    np.testing.assert_allclose(mine, theirs.item(), rtol=1e-5)


def literal_weights(model) -> literal.Weights:
    """Torch's weights in the layout of the literal port."""
    arrays = {
        name: jnp.asarray(p.detach().numpy()) for name, p in model.named_parameters()
    }
    return literal.Weights(
        genes=arrays["genes.weight"],
        values=arrays["values.weight"],
        layers=[
            layer_parameters(arrays, "performer.net", index, SMALL.heads)
            for index in range(SMALL.layers)
        ],
        norm_scale=arrays["norm.weight"],
        norm_offset=arrays["norm.bias"],
        head=arrays["head.weight"].T,
        head_bias=arrays["head.bias"],
    )

"""Our streamed layer computes what performer-pytorch computes, gradients included."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.ops import favor
from tests.parity import make_performer_golden
from tests.parity.make_performer_golden import DEPTH, GOLDEN, HEADS
from tests.parity.torch_layers import layer_parameters

Arrays = Mapping[str, np.ndarray]

STALE = (
    "{} differs from performer-pytorch. If `make test-all` says that the golden itself "
    "is stale, see make_performer_golden.py; otherwise our layer is wrong."
)


@pytest.fixture(scope="module")
def golden() -> Arrays:
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("chunk", [16, 64])
def test_layers_match_the_golden(golden: Arrays, chunk: int):
    assert_parity(golden, chunk=chunk)


def test_masked_tokens_leave_the_golden_unchanged(golden: Arrays):
    # performer-pytorch zeroes masked values but keeps their keys in the denominator;
    # ours are gone, so padding must give the result without padding.
    tokens = golden["x"].shape[1]
    x = np.concatenate([golden["x"], -golden["x"]], axis=1)
    mask = jnp.arange(x.shape[1]) < jnp.full((x.shape[0], 1), tokens)
    with jax.enable_x64(True):
        y = forward(*our_parameters(golden), jnp.float64(x), mask, chunk=16)
    np.testing.assert_allclose(y[:, :tokens], golden["y"], rtol=1e-9, atol=1e-9)


@pytest.mark.parity
def test_golden_is_what_torch_computes_today(golden: Arrays):
    pytest.importorskip("performer_pytorch")
    fresh = make_performer_golden.reference(seed=0)
    assert fresh.keys() == golden.keys()
    for name, array in fresh.items():
        np.testing.assert_allclose(
            array, golden[name], rtol=1e-5, atol=1e-6, err_msg=f"stale golden: {name}"
        )


@pytest.mark.parity
@pytest.mark.parametrize("seed", [1, 2])
def test_layers_match_torch_on_new_weights(seed: int):
    pytest.importorskip("performer_pytorch")
    assert_parity(make_performer_golden.reference(seed), chunk=16)


def assert_parity(reference: Arrays, *, chunk: int) -> None:
    """Compares outputs in float64, and gradients up to their float32 rounding."""
    with jax.enable_x64(True):
        parameters, projections = our_parameters(reference)
        x, cotangent = (jnp.float64(reference[name]) for name in ("x", "cotangent"))

        def loss(parameters, x):
            y = forward(parameters, projections, x, None, chunk=chunk)
            return (y * cotangent).sum(), y

        gradient = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
        (parameter_gradients, x_gradient), y = gradient(parameters, x)
    np.testing.assert_allclose(
        y, reference["y"], rtol=1e-9, atol=1e-9, err_msg=STALE.format("y")
    )
    compare_gradient("x", x_gradient, reference["gradient/x"])
    for index, ours in enumerate(parameter_gradients):
        theirs = layer_parameters(reference, "gradient/net", index, HEADS)
        for name, expected in theirs._asdict().items():
            compare_gradient(f"layer {index} {name}", getattr(ours, name), expected)


def compare_gradient(name: str, ours: jax.Array, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(
        ours, theirs, rtol=1e-6, atol=1e-7, err_msg=STALE.format(f"gradient of {name}")
    )


def forward(parameters, projections, x, token_mask, *, chunk: int) -> jax.Array:
    for layer_weights, projection in zip(parameters, projections, strict=True):
        x = favor.layer(
            layer_weights,
            projection,
            x,
            token_mask,
            chunk=chunk,
            approximate_gelu=False,
        )
    return x


def our_parameters(reference: Arrays):
    """([parameters of each layer], [projection of each layer]) in float64."""
    parameters = [
        layer_parameters(reference, "weight/net", i, HEADS) for i in range(DEPTH)
    ]
    projections = [
        reference[f"weight/net.layers.{i}.0.fn.fast_attention.projection_matrix"]
        for i in range(DEPTH)
    ]
    return jax.tree.map(jnp.float64, (parameters, projections))

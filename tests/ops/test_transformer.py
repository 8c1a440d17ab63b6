"""Rotary positions by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.ops import precision, transformer


def test_angles_by_hand():
    turns = transformer.rotation(3, 4)
    np.testing.assert_allclose(turns.cosine[0], [1, 1])
    np.testing.assert_allclose(turns.cosine[2], [np.cos(2), np.cos(2 / 100)])
    np.testing.assert_allclose(turns.sine[1], [np.sin(1), np.sin(1 / 100)])


def test_rescaling_changes_the_base():
    # base 10,000 · 4^(4/2) = 160,000, whose root is 400.
    turns = transformer.rotation(2, 4, rescaling=4.0)
    np.testing.assert_allclose(turns.sine[1], [np.sin(1), np.sin(1 / 400)])


def test_halves_turn_together():
    x = jnp.arange(1.0, 5).reshape(1, 1, 1, 4)
    quarter = transformer.Rotation(np.zeros((1, 2)), np.ones((1, 2)))
    np.testing.assert_array_equal(
        transformer.rotate(x, quarter).ravel(), [-3, -4, 1, 2]
    )


def test_products_depend_on_distance_alone():
    rng = np.random.default_rng(0)
    turns = transformer.rotation(32, 6)
    query, key = (
        transformer.rotate(
            jnp.tile(jnp.float32(rng.normal(size=6)), (1, 32, 1, 1)), turns
        )
        for _ in range(2)
    )
    products = np.asarray(jnp.einsum("tk,Tk->tT", query[0, :, 0], key[0, :, 0]))
    np.testing.assert_allclose(products[1:, 1:], products[:-1, :-1], atol=1e-4)
    assert np.ptp(products[0]) > 0.1


@pytest.mark.parametrize("name", transformer.ACTIVATIONS)
def test_activations_at_one(name):
    sigmoid = 1 / (1 + np.exp(-1))
    expected = {
        "gelu": 0.841192,
        "gelu-no-approx": 0.841345,
        "relu": 1.0,
        "silu": sigmoid,
        "swish": sigmoid,
        "sin": np.sin(1),
    }
    np.testing.assert_allclose(
        transformer.ACTIVATIONS[name](jnp.float32(1)), expected[name], atol=1e-6
    )


def test_bfloat16_rounds_both_sides():
    x = jnp.float32([[1 + 2**-9]])
    assert precision.product("ab,bc->ac", x, x, "bfloat16") == 1
    assert precision.product("ab,bc->ac", x, x, "float32") > 1
    gradient = jax.grad(
        lambda x: precision.product("ab,bc->ac", x, x, "bfloat16").sum()
    )
    assert gradient(x).dtype == jnp.float32

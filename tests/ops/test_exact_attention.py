"""Softmax attention against numpy float64, and FAVOR+ measured by it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.ops import exact_attention
from tests.ops.test_favor import (
    CELLS,
    DIM,
    KEY,
    TOKENS,
    draw_projection,
    inputs,
    layer_written_out,
    parameters,
    random_mask,
)

pytestmark = pytest.mark.usefixtures("lightly_compiled")


def written_out(p, x, mask):
    """The definition of softmax attention."""
    return layer_written_out(
        p, x, mask, lambda cell, head, q, k: np.exp(q @ k.T / np.sqrt(KEY))
    )


@pytest.mark.parametrize("chunk", [1, 3, 128])
def test_equals_the_definition_whatever_the_chunk(chunk):
    x, _ = inputs()
    mask = random_mask()
    layer = functools.partial(
        exact_attention.layer, chunk=chunk, approximate_gelu=False
    )
    found = jax.jit(layer)(parameters(), x, mask)
    expected = written_out(parameters(), x, mask)
    np.testing.assert_allclose(np.asarray(found)[mask], expected[mask], atol=2e-5)


def test_rows_that_are_asked_for_and_gradients_are_those_of_the_whole():
    x, _ = inputs()
    mask, at = random_mask(), np.int32([[9, 0], [1, 5], [7, 7]])

    def chosen(x):
        return (exact_attention.layer(parameters(), x, mask, at=at, chunk=1) ** 2).sum()

    def whole(x):
        y = exact_attention.layer(parameters(), x, mask)
        return (jnp.take_along_axis(y, at[..., None], 1) ** 2).sum()

    found, expected = (jax.jit(jax.value_and_grad(f))(x) for f in (chosen, whole))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-4)


def test_a_cell_without_tokens_attends_to_nothing():
    x, _ = inputs()
    mask = np.zeros((CELLS, TOKENS), bool)
    mask[1] = True
    other = np.float32(x + np.where(mask[..., None], 0, 5 * np.arange(DIM)))
    zeros = np.zeros(DIM, np.float32)
    p = parameters()._replace(attention_norm_offset=zeros)

    @jax.jit
    def attended(x, mask):
        still = p._replace(
            feed_forward_out=np.zeros_like(p.feed_forward_out),
            feed_forward_out_bias=zeros,
            output_bias=zeros,
        )
        return exact_attention.layer(still, x, mask) - x

    found = np.asarray(attended(other, mask))
    np.testing.assert_allclose(found[0], np.zeros((TOKENS, DIM)), atol=1e-5)
    assert np.abs(found[1]).max() > 0.1


@pytest.mark.parametrize(("size", "low", "high"), [(0.3, 0.1, 0.2), (1.0, 0.6, 1.0)])
def test_the_approximation_is_as_good_as_queries_and_keys_are_small(size, low, high):
    """Two heads of 64 with 266 features, as in the study, over 512 tokens."""
    tokens, dim, heads, key_size = 512, 128, 2, 64
    rng = np.random.default_rng(0)

    def normal(*shape):
        return np.float32(rng.normal(size=shape) / np.sqrt(dim))

    zeros, ones = np.zeros(dim, np.float32), np.ones(dim, np.float32)
    p = parameters()._replace(
        attention_norm_scale=ones,
        attention_norm_offset=zeros,
        query=np.float32(size) * normal(dim, heads, key_size),
        key=np.float32(size) * normal(dim, heads, key_size),
        value=normal(dim, heads, key_size),
        output=normal(heads, key_size, dim),
        output_bias=zeros,
        feed_forward_norm_scale=ones,
        feed_forward_norm_offset=zeros,
        feed_forward_in=normal(dim, dim),
        feed_forward_in_bias=zeros,
        feed_forward_out=normal(dim, dim),
        feed_forward_out_bias=zeros,
    )
    projection = draw_projection(jax.random.PRNGKey(0), 266, key_size)
    x = np.float32(rng.normal(size=(2, tokens, dim)))
    error = jax.jit(exact_attention.approximation_error)(p, projection, x)
    assert low < error < high

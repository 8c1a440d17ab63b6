"""The streamed layer against FAVOR+ written out in numpy float64."""

import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.ops import favor

pytestmark = pytest.mark.usefixtures("lightly_compiled")

layer = jax.jit(favor.layer, static_argnames=("chunk", "approximate_gelu", "precision"))
draw_projection = jax.jit(favor.orthogonal_projection, static_argnums=(1, 2))

CELLS, TOKENS, DIM, HEADS, KEY, FEATURES = 3, 10, 6, 2, 4, 5


def parameters(seed: int = 0) -> favor.LayerParameters:
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return np.float32(rng.normal(size=shape) * 0.5)

    return favor.LayerParameters(
        attention_norm_scale=1 + draw(DIM),
        attention_norm_offset=draw(DIM),
        query=draw(DIM, HEADS, KEY),
        key=draw(DIM, HEADS, KEY),
        value=draw(DIM, HEADS, KEY),
        output=draw(HEADS, KEY, DIM),
        output_bias=draw(DIM),
        feed_forward_norm_scale=1 + draw(DIM),
        feed_forward_norm_offset=draw(DIM),
        feed_forward_in=draw(DIM, 2 * DIM),
        feed_forward_in_bias=draw(2 * DIM),
        feed_forward_out=draw(2 * DIM, DIM),
        feed_forward_out_bias=draw(DIM),
    )


def inputs(seed: int = 1):
    rng = np.random.default_rng(seed)
    x = np.float32(rng.normal(size=(CELLS, TOKENS, DIM)))
    projection = np.float32(rng.normal(size=(FEATURES, KEY)))
    return x, projection


def norm(x, scale, offset):
    centred = x - x.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return centred / spread * scale + offset


def layer_written_out(p: favor.LayerParameters, x, mask, attention_weights):
    """The definition, one cell and one head at a time, without streaming.

    `attention_weights(cell, head, q, k)`, not yet normalised, are [tokens, keys].
    """
    p = favor.LayerParameters(*(np.asarray(leaf, np.float64) for leaf in p))
    x = np.asarray(x, np.float64)
    out = np.empty_like(x)
    for cell in range(len(x)):
        h = norm(x[cell], p.attention_norm_scale, p.attention_norm_offset)
        y = x[cell] + p.output_bias
        for head in range(HEADS):
            q, k, v = (h @ m[:, head] for m in (p.query, p.key, p.value))
            weights = attention_weights(cell, head, q, k[mask[cell]])
            weights /= weights.sum(1, keepdims=True)
            y = y + weights @ v[mask[cell]] @ p.output[head]
        g = norm(y, p.feed_forward_norm_scale, p.feed_forward_norm_offset)
        g = g @ p.feed_forward_in + p.feed_forward_in_bias
        g = g * (1 + np.vectorize(math.erf)(g / np.sqrt(2))) / 2
        out[cell] = y + g @ p.feed_forward_out + p.feed_forward_out_bias
    return out


def written_out(p, projection, x, mask, heard=None) -> np.ndarray:
    """Of FAVOR+. The keys of `heard` [cells, some, dim] move the stabiliser alone."""
    w = np.asarray(projection, np.float64)

    def attention_weights(cell, head, q, k):
        q, k = q * KEY**-0.25, k * KEY**-0.25
        eq, ek = q @ w.T, k @ w.T
        highest = ek.max()
        if heard is not None:
            h = norm(
                np.asarray(heard[cell], np.float64),
                np.asarray(p.attention_norm_scale),
                np.asarray(p.attention_norm_offset),
            )
            silent = h @ np.asarray(p.key)[:, head] * KEY**-0.25
            highest = max(highest, (silent @ w.T).max())
        fq = np.exp(eq - (q**2).sum(1, keepdims=True) / 2 - eq.max(1, keepdims=True))
        fk = np.exp(ek - (k**2).sum(1, keepdims=True) / 2 - highest)
        return (fq + favor.EPSILON) @ (fk + favor.EPSILON).T

    return layer_written_out(p, x, mask, attention_weights)


def random_mask() -> np.ndarray:
    mask = np.random.default_rng(2).random((CELLS, TOKENS)) < 0.7
    mask[:, 0] = True
    return mask


@pytest.mark.parametrize("chunk", [1, 3, 4, 10, 128])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_definition_whatever_the_chunk(chunk, masked):
    x, projection = inputs()
    mask = random_mask() if masked else np.ones((CELLS, TOKENS), bool)
    streamed = layer(
        parameters(),
        projection,
        x,
        mask if masked else None,
        chunk=chunk,
        approximate_gelu=False,
    )
    expected = written_out(parameters(), projection, x, mask)
    np.testing.assert_allclose(np.asarray(streamed)[mask], expected[mask], atol=2e-5)


def test_gradients_do_not_depend_on_the_chunk():
    x, projection = inputs()
    mask = random_mask()

    def total(p, x, chunk):
        y = favor.layer(p, projection, x, mask, chunk=chunk)
        return (jnp.where(mask[..., None], y, 0) ** 2).sum()

    gradient = jax.jit(jax.grad(total, argnums=(0, 1)), static_argnums=2)
    whole = gradient(parameters(), x, TOKENS)
    pieces = gradient(parameters(), x, 3)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(pieces), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("chunk", [1, 3, 128])
def test_rows_that_are_asked_for_are_those_of_the_whole(chunk):
    x, projection = inputs()
    mask = random_mask()
    at = np.int32([[9, 0, 4, 4], [1, 2, 3, 5], [7, 7, 7, 7]])
    weights = np.float32(np.arange(4))[None, :, None]

    def chosen(p, x):
        chunks, masks = favor.split(x, chunk), favor.split(mask, chunk)
        rows = favor.split(favor.rows_at(chunks, at), 3)
        y = favor.chunked_layer(p, projection, chunks, masks, rows=rows)
        y = favor.merge(y, 4)
        return (weights * y**2).sum(), y

    def whole(p, x):
        y = favor.layer(p, projection, x, mask)
        y = jnp.take_along_axis(y, at[..., None], 1)
        return (weights * y**2).sum(), y

    found, expected = (
        jax.jit(jax.value_and_grad(f, argnums=(0, 1), has_aux=True))(parameters(), x)
        for f in (chosen, whole)
    )
    assert found[0][1].shape == (CELLS, 4, DIM)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_products_in_bfloat16_are_close_and_sums_stay_in_float32():
    x, projection = inputs()
    whole = np.asarray(layer(parameters(), projection, x))
    rounded = layer(parameters(), projection, x, precision="bfloat16")
    assert rounded.dtype == jnp.float32
    error = np.linalg.norm(rounded - whole) / np.linalg.norm(whole)
    assert 1e-4 < error < 2e-2

    @jax.jit
    @jax.grad
    def gradient_of(x):
        return favor.layer(parameters(), projection, x, precision="bfloat16").sum()

    gradient = gradient_of(x)
    assert gradient.dtype == jnp.float32
    # A thousand chunks of ones: an accumulator in bfloat16 would stop at 256.
    ones = np.ones((1000, 1, 1, DIM), np.float32)

    @jax.jit
    def sums_of(chunks):
        return favor.summarise_keys(
            parameters(),
            projection,
            chunks,
            jnp.ones(chunks.shape[:3], bool),
            precision="bfloat16",
        )

    many, few = sums_of(ones), sums_of(ones[:10])
    np.testing.assert_allclose(many.tokens, 1000)
    np.testing.assert_allclose(many.weighted, 100 * few.weighted, rtol=1e-3)


def test_a_cell_does_not_see_its_neighbours_nor_padding():
    x, projection = inputs()
    mask = random_mask()
    alone = layer(parameters(), projection, x[:1], mask[:1], chunk=4)
    # Another neighbour, and huge values where the mask is False.
    others = np.concatenate([x[:1], 50 * x[1:]])
    others = np.where(mask[..., None], others, np.float32(1e3))
    together = layer(parameters(), projection, others, mask, chunk=4)
    where = mask[0]
    np.testing.assert_allclose(
        np.asarray(together)[0][where], np.asarray(alone)[0][where], atol=1e-5
    )


def test_a_cell_without_tokens_is_finite_with_finite_gradients():
    x, projection = inputs()
    mask = np.zeros((CELLS, TOKENS), bool)
    mask[1] = True

    def total(x, mask):
        return favor.layer(parameters(), projection, x, mask, chunk=4).sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(x, mask)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_large_activations_stay_finite():
    x, projection = inputs()
    p = parameters()
    p = p._replace(key=300 * p.key, query=300 * p.query)

    def total(p, x):
        return favor.layer(p, projection, x, chunk=4).sum()

    y, gradient = jax.jit(jax.value_and_grad(total, argnums=1))(p, x)
    assert np.isfinite(y)
    assert np.isfinite(gradient).all()


def test_projection_blocks_are_orthogonal_with_gaussian_lengths():
    rows = np.asarray(draw_projection(jax.random.PRNGKey(0), 24, 8))
    lengths = np.linalg.norm(rows, axis=1)
    unit = rows / lengths[:, None]
    for block in unit.reshape(3, 8, 8):
        np.testing.assert_allclose(block @ block.T, np.eye(8), atol=1e-5)
    # |Gaussian vector|² in 8 dimensions has mean 8 and standard deviation 4.
    many = draw_projection(jax.random.PRNGKey(1), 4_000, 8)
    assert abs((np.linalg.norm(many, axis=1) ** 2).mean() - 8) < 0.3


DRAW_MANY_AT_ONCE = """
import jax
from scmultimodal.ops import favor
draw = jax.jit(lambda rng: [
    favor.orthogonal_projection(key, 266, 64) for key in jax.random.split(rng, 12)
])
for seed in range(40):
    jax.block_until_ready(draw(jax.random.PRNGKey(seed)))
"""


def test_projections_drawn_side_by_side_do_not_wait_for_each_other():
    """On two cores batches of QR did: parameters were never made."""
    command = [sys.executable, "-c", DRAW_MANY_AT_ONCE]
    subprocess.run(command, check=True, timeout=300)


def test_features_estimate_the_softmax_kernel():
    """The mean of φ(q)·φ(k) without ε and stabilisers is exp(q·k)."""
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 4)) * 0.5
    w = np.asarray(draw_projection(jax.random.PRNGKey(2), 40_000, 4))
    estimate = np.exp(w @ q - q @ q / 2) * np.exp(w @ k - k @ k / 2)
    assert abs(estimate.mean() / np.exp(q @ k) - 1) < 0.05


@pytest.mark.parametrize(
    ("numbers", "chunk"),
    [(10 * 266, 256), (10 * 133, 512), (10 * 29, 1024), (1, 1024), (10**6, 128)],
)
def test_narrow_heads_are_worked_on_in_larger_chunks(numbers, chunk):
    assert favor.default_chunk(numbers) == chunk


def test_study_has_266_features():
    assert favor.default_num_features(64) == 266

"""performer-pytorch, line by line in JAX: what a port gives that only translates.

All features [cells, heads, tokens, features] at once, no chunks, nothing recomputed,
the whole last layer, the head at all tokens. The optimiser is ours.
"""

import functools
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from experiments.bench import shape as shapes
from experiments.bench.contestants import Contestant
from experiments.bench.shape import Shape
from scmultimodal.ops import favor
from scmultimodal.schemas.batches import Array
from scmultimodal.training.optimizers import OptimizerConfig, build_optimizer

EPSILON = 1e-4


class Weights(NamedTuple):
    """All that is trained."""

    genes: Float[Array, "tokens dim"]
    values: Float[Array, "values dim"]
    layers: list[favor.LayerParameters]
    norm_scale: Float[Array, " dim"]
    norm_offset: Float[Array, " dim"]
    head: Float[Array, "dim bins"]
    head_bias: Float[Array, " bins"]


def build(*, shape: Shape) -> Contestant:
    """The same step, as a translation would write it."""
    weights, projections = random_weights(shape)
    optimizer = build_optimizer(OptimizerConfig(), weights, num_steps=1000)
    visible, labels = map(jnp.asarray, shapes.hide(shapes.random_bins(shape)))

    def update(weights, moments):
        value, gradient = jax.value_and_grad(loss)(
            weights, projections, visible, labels
        )
        updates, moments = optimizer.update(gradient, moments, weights)
        return optax.apply_updates(weights, updates), moments, value

    state = (weights, jax.jit(optimizer.init)(weights))
    begun = time.perf_counter()
    compiled = jax.jit(update, donate_argnums=(0, 1)).lower(*state).compile()
    seconds = time.perf_counter() - begun

    def run() -> float:
        nonlocal state
        *state, value = jax.block_until_ready(compiled(*state))
        return float(value)

    memory = compiled.memory_analysis().temp_size_in_bytes / 1e6
    return Contestant(
        step=run, facts={"compile_seconds": seconds, "temporary_mb": memory}
    )


def loss(
    weights: Weights,
    projections: list[Float[Array, "features key_size"]],
    visible: Int[Array, "cells tokens"],
    labels: Int[Array, "cells tokens"],
) -> Float[Array, ""]:
    """Mean cross-entropy of the hidden bins; logits are computed at all tokens."""
    x = weights.values[visible] + weights.genes
    for parameters, projection in zip(weights.layers, projections, strict=True):
        x = layer(parameters, projection, x)
    x = favor.layer_norm(x, weights.norm_scale, weights.norm_offset)
    log_probabilities = jax.nn.log_softmax(x @ weights.head + weights.head_bias)
    hidden = labels != shapes.NOT_HIDDEN
    chosen = jnp.take_along_axis(
        log_probabilities, labels[..., None] * hidden[..., None], 2
    )
    return -(chosen[..., 0] * hidden).sum() / hidden.sum()


def layer(
    parameters: favor.LayerParameters,
    projection: Float[Array, "features key_size"],
    x: Float[Array, "cells tokens dim"],
) -> Float[Array, "cells tokens dim"]:
    """One layer, with attention and feed-forward over all tokens at once."""
    normed = favor.layer_norm(
        x, parameters.attention_norm_scale, parameters.attention_norm_offset
    )
    queries = jnp.einsum("bnD,Dhd->bhnd", normed, parameters.query)
    keys = jnp.einsum("bnD,Dhd->bhnd", normed, parameters.key)
    values = jnp.einsum("bnD,Dhd->bhnd", normed, parameters.value)
    attended = linear_attention(
        softmax_kernel(queries, projection, is_query=True),
        softmax_kernel(keys, projection, is_query=False),
        values,
    )
    x = x + jnp.einsum("bhnd,hdD->bnD", attended, parameters.output)
    x = x + parameters.output_bias
    hidden = favor.layer_norm(
        x, parameters.feed_forward_norm_scale, parameters.feed_forward_norm_offset
    )
    hidden = hidden @ parameters.feed_forward_in + parameters.feed_forward_in_bias
    hidden = jax.nn.gelu(hidden, approximate=False)
    hidden = hidden @ parameters.feed_forward_out + parameters.feed_forward_out_bias
    return x + hidden


def softmax_kernel(
    data: Float[Array, "cells heads tokens key_size"],
    projection: Float[Array, "features key_size"],
    *,
    is_query: bool,
) -> Float[Array, "cells heads tokens features"]:
    """Random features of queries, or of keys."""
    normalizer = data.shape[-1] ** -0.25
    ratio = projection.shape[0] ** -0.5
    dash = jnp.einsum("bhnd,md->bhnm", normalizer * data, projection)
    diagonal = jnp.square(data).sum(-1, keepdims=True) / 2 * normalizer**2
    highest = dash.max(-1 if is_query else (-1, -2), keepdims=True)
    return ratio * (jnp.exp(dash - diagonal - jax.lax.stop_gradient(highest)) + EPSILON)


def linear_attention(
    queries: Float[Array, "cells heads tokens features"],
    keys: Float[Array, "cells heads tokens features"],
    values: Float[Array, "cells heads tokens key_size"],
) -> Float[Array, "cells heads tokens key_size"]:
    """Attention of features, all tokens with all."""
    inverse = 1 / jnp.einsum("bhnm,bhm->bhn", queries, keys.sum(-2))
    context = jnp.einsum("bhnm,bhnd->bhmd", keys, values)
    return jnp.einsum("bhmd,bhnm,bhn->bhnd", context, queries, inverse)


@functools.partial(jax.jit, static_argnums=0)
def random_weights(
    shape: Shape,
) -> tuple[Weights, list[Float[Array, "features key_size"]]]:
    """(trained weights, projections)."""
    dim, hidden = shape.dim, shapes.FEED_FORWARD * shape.dim
    inner, by_head = shape.heads * shape.key_size, (dim, shape.heads, shape.key_size)
    keys = iter(jax.random.split(jax.random.key(0), 3 + 7 * shape.layers))

    def matrix(*size: int, fan_in: int = dim) -> Array:
        return fan_in**-0.5 * jax.random.normal(next(keys), size)

    def one_layer() -> favor.LayerParameters:
        return favor.LayerParameters(
            attention_norm_scale=jnp.ones(dim),
            attention_norm_offset=jnp.zeros(dim),
            query=matrix(*by_head),
            key=matrix(*by_head),
            value=matrix(*by_head),
            output=matrix(shape.heads, shape.key_size, dim, fan_in=inner),
            output_bias=jnp.zeros(dim),
            feed_forward_norm_scale=jnp.ones(dim),
            feed_forward_norm_offset=jnp.zeros(dim),
            feed_forward_in=matrix(dim, hidden),
            feed_forward_in_bias=jnp.zeros(hidden),
            feed_forward_out=matrix(hidden, dim, fan_in=hidden),
            feed_forward_out_bias=jnp.zeros(dim),
        )

    weights = Weights(
        genes=matrix(shape.tokens, dim),
        values=matrix(shapes.NUM_BINS + 2, dim),
        layers=[one_layer() for _ in range(shape.layers)],
        norm_scale=jnp.ones(dim),
        norm_offset=jnp.zeros(dim),
        head=matrix(dim, shapes.NUM_BINS),
        head_bias=jnp.zeros(shapes.NUM_BINS),
    )
    projections = [
        favor.orthogonal_projection(next(keys), shape.features, shape.key_size)
        for _ in range(shape.layers)
    ]
    return weights, projections

"""A pre-norm transformer layer with full attention, as Nucleotide Transformer has it.

Attention between two tokens is allowed where *both* are known: a PAD query, allowed
nothing, attends uniformly to every position, PAD included (SPEC 3.5). Its row is a
number like any other, and heads that flatten all rows see it.

Products run in `dtype`; the residual stream, the normalisations and the softmax keep
the type of the parameters.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Bool, Float

from scmultimodal.ops import favor
from scmultimodal.ops.precision import Precision, product
from scmultimodal.schemas.batches import Array

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "gelu": jax.nn.gelu,
    "gelu-no-approx": lambda x: jax.nn.gelu(x, approximate=False),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "sin": jnp.sin,
}
"""By the names in published hyperparameters."""


class LayerParameters(NamedTuple):
    """Parameters of one layer; stacked over layers they gain a leading axis."""

    attention_norm_scale: Float[Array, "... dim"]
    attention_norm_offset: Float[Array, "... dim"]
    query: Float[Array, "... dim heads key_size"]
    query_bias: Float[Array, "... heads key_size"]
    key: Float[Array, "... dim heads key_size"]
    key_bias: Float[Array, "... heads key_size"]
    value: Float[Array, "... dim heads key_size"]
    value_bias: Float[Array, "... heads key_size"]
    output: Float[Array, "... heads key_size dim"]
    output_bias: Float[Array, "... dim"]
    feed_forward_norm_scale: Float[Array, "... dim"]
    feed_forward_norm_offset: Float[Array, "... dim"]
    feed_forward_in: Float[Array, "... dim inner"]
    """Gated: the half that is activated, then the half that it multiplies."""
    feed_forward_in_bias: Float[Array, "... inner"] | None
    feed_forward_out: Float[Array, "... hidden dim"]
    feed_forward_out_bias: Float[Array, "... dim"] | None


class Rotation(NamedTuple):
    """Cosine and sine of every angle that rotary positions turn by."""

    cosine: Float[np.ndarray, "tokens half_key_size"]
    sine: Float[np.ndarray, "tokens half_key_size"]


def rotation(
    num_tokens: int, key_size: int, *, rescaling: float | None = None
) -> Rotation:
    """Angles of rotary positions: position / base^(2i / key_size), from position 0.

    Args:
        num_tokens: positions.
        key_size: width of a head.
        rescaling: s makes the base 10,000 · s^(d / (d − 2)) for sequences s times as
            long as those trained on (SPEC 3.4).
    """
    base = 10_000.0
    if rescaling is not None:
        base *= rescaling ** (key_size / (key_size - 2))
    angles = np.outer(
        np.arange(num_tokens), base ** -(np.arange(0, key_size, 2) / key_size)
    )
    return Rotation(np.cos(angles), np.sin(angles))


def rotate(
    x: Float[Array, "sequences tokens heads key_size"], by: Rotation
) -> Float[Array, "sequences tokens heads key_size"]:
    """Turns the pairs (i, i + key_size / 2) of each head by the token's angles."""
    cosine, sine = (jnp.asarray(a, x.dtype)[None, :, None] for a in by)
    first, second = jnp.split(x, 2, -1)
    return jnp.concatenate(
        [first * cosine - second * sine, second * cosine + first * sine], -1
    )


def queries_at_once() -> int:
    """How many queries attend together: few fit into the caches of a processor.

    On two cores of an AMD EPYC 128 of 501 took half the time of all with heads of 16,
    forward, and as long with heads of 32.
    """
    return 128 if jax.default_backend() == "cpu" else 1_024


def layer(
    parameters: LayerParameters,
    x: Float[Array, "sequences tokens dim"],
    token_mask: Bool[Array, "sequences tokens"],
    by: Rotation | None,
    *,
    activation: str = "swish",
    gated: bool = True,
    dtype: Precision = "float32",
    chunk: int | None = None,
) -> tuple[
    Float[Array, "sequences tokens dim"],
    Float[Array, "sequences heads tokens tokens"] | None,
]:
    """Applies one layer: x + attention, then + feed-forward.

    Args:
        parameters: of this layer.
        x: residual stream.
        token_mask: False at PAD.
        by: rotary positions; None where positions were added to the embeddings.
        activation: a name in `ACTIVATIONS`.
        gated: the feed-forward block multiplies one half of its inner width with the
            activated other.
        dtype: "bfloat16" rounds both sides of every product; "float32" takes them as
            they are.
        chunk: of more tokens than this, so many queries attend at a time, and nothing
            of them is kept for the backward pass: memory grows with the tokens, not
            with their square. None has all of them attend at once.

    Returns:
        The new residual stream, and the attention [from query, to key]; None where it
        was computed in chunks.
    """
    attended, weights = _attention(parameters, x, token_mask, by, dtype, chunk)
    x = x + attended
    hidden = favor.layer_norm(
        x, parameters.feed_forward_norm_scale, parameters.feed_forward_norm_offset
    )
    hidden = product("btD,Df->btf", hidden, parameters.feed_forward_in, dtype)
    hidden = _add(hidden, parameters.feed_forward_in_bias)
    if gated:
        hidden, factor = jnp.split(hidden, 2, -1)
        hidden = ACTIVATIONS[activation](hidden) * factor
    else:
        hidden = ACTIVATIONS[activation](hidden)
    out = product("btf,fD->btD", hidden, parameters.feed_forward_out, dtype)
    return x + _add(out, parameters.feed_forward_out_bias), weights


def _attention(
    parameters: LayerParameters,
    x: Array,
    token_mask: Array,
    by: Rotation | None,
    dtype: Precision,
    chunk: int | None,
) -> tuple[Array, Array | None]:
    """What attention adds to the residual stream, and its weights."""
    normed = favor.layer_norm(
        x, parameters.attention_norm_scale, parameters.attention_norm_offset
    )

    def project(weight: Array, bias: Array) -> Array:
        return product("btD,Dhk->bthk", normed, weight, dtype) + bias

    query = project(parameters.query, parameters.query_bias)
    key = project(parameters.key, parameters.key_bias)
    value = project(parameters.value, parameters.value_bias)
    if by is not None:
        query, key = rotate(query, by), rotate(key, by)

    def attend(query: Array, query_mask: Array) -> tuple[Array, Array]:
        logits = product("bthk,bThk->bhtT", query, key, dtype) * key.shape[-1] ** -0.5
        allowed = query_mask[:, None, :, None] & token_mask[:, None, None, :]
        # Not −∞: a row without a single key has a uniform softmax then, not NaN.
        weights = jax.nn.softmax(jnp.where(allowed, logits, favor.NEVER))
        attended = product("bhtT,bThk->bhtk", weights, value, dtype)
        return product("bhtk,hkD->btD", attended, parameters.output, dtype), weights

    tokens = x.shape[1]
    if chunk is None or tokens <= chunk:
        out, weights = attend(query, token_mask)
        return out + parameters.output_bias, weights
    parts = favor.split(query, chunk), favor.split(token_mask, chunk)
    out = lax.map(jax.checkpoint(lambda part: attend(*part)[0]), parts)
    return favor.merge(out, tokens) + parameters.output_bias, None


def _add(x: Array, bias: Array | None) -> Array:
    return x if bias is None else x + bias

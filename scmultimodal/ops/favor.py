"""FAVOR+ attention, streamed over chunks of tokens.

One pre-norm transformer layer whose attention is the positive orthogonal random feature
approximation of Performer (Choromanski et al. 2021, arXiv:2009.14794), with the
numerical conventions of performer-pytorch, which scBERT runs: the features are

    φ(k) = exp(W k − |k|²/2 − s) + ε     with s the largest W k of the cell and head,
    φ(q) = exp(W q − |q|²/2 − s) + ε     with s the largest W q of the token,

q and k scaled by key_size^(−1/4). Only the residual stream lives between layers, as
[chunks, cells, chunk, dim]. A layer is two passes over the chunks, both checkpointed:
`summarise_keys` accumulates Σ φ(k)·v and Σ φ(k) under a running stabiliser, `attend`
queries the sums and applies the feed-forward block. The features of a chunk never leave
the cache, so recomputing them in the backward pass is cheaper than storing them; the
stabilisers, which are few, are kept. The two sums stay apart: one product for both
would be of odd width, which is slower on a CPU.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Bool, Float, Int, PRNGKeyArray, UInt32

from scmultimodal.ops.precision import Precision, product
from scmultimodal.schemas.batches import Array

EPSILON = 1e-4
"""Added to every random feature (performer-pytorch)."""
NEVER = -1e30
"""Stands in for −∞ where −∞ − (−∞) would give NaN."""
STABILISER = "stabiliser"


class LayerParameters(NamedTuple):
    """Parameters of one layer; stacked over layers they gain a leading axis."""

    attention_norm_scale: Float[Array, "... dim"]
    attention_norm_offset: Float[Array, "... dim"]
    query: Float[Array, "... dim heads key_size"]
    key: Float[Array, "... dim heads key_size"]
    value: Float[Array, "... dim heads key_size"]
    output: Float[Array, "... heads key_size dim"]
    output_bias: Float[Array, "... dim"]
    feed_forward_norm_scale: Float[Array, "... dim"]
    feed_forward_norm_offset: Float[Array, "... dim"]
    feed_forward_in: Float[Array, "... dim hidden"]
    feed_forward_in_bias: Float[Array, "... hidden"]
    feed_forward_out: Float[Array, "... hidden dim"]
    feed_forward_out_bias: Float[Array, "... dim"]


class KeySums(NamedTuple):
    """What the queries need to know of all keys and values."""

    weighted: Float[Array, "cells heads features key_size"]
    """Σ over tokens of exp(W k − |k|²/2 − stabiliser) · v."""
    weights: Float[Array, "cells heads features"]
    """The same without v."""
    plain: Float[Array, "cells heads key_size"]
    """Σ over tokens of v: what ε multiplies."""
    tokens: Float[Array, " cells"]
    """How many they are."""
    stabiliser: Float[Array, "cells heads 1 1"]


def default_num_features(key_size: int) -> int:
    """Number of random features: int(d·ln d), 266 at d = 64 (SPEC 5)."""
    return int(key_size * math.log(key_size))


def default_chunk(numbers: int) -> int:
    """Tokens to work on at a time, each of so many numbers (heads × features).

    On a CPU 256 of the study's 10 × 266, as measured: 512 are as fast and take 4 MB
    more, 128 a fifth longer. More where heads are narrow, up to 1,024, or what is not a
    product takes longer than the products. 512 elsewhere, which is not measured.
    """
    if jax.default_backend() != "cpu":
        return 512
    as_many = 256 * 2_660 // numbers
    return min(max(2 ** as_many.bit_length() // 2, 128), 1_024)


def orthogonal_projection(
    rng: PRNGKeyArray | UInt32[Array, "2"], num_features: int, key_size: int
) -> Float[Array, "features key_size"]:
    """Draws W: blocks of orthogonal rows whose lengths are those of Gaussian rows."""
    num_blocks = -(-num_features // key_size)
    keys = jax.random.split(rng, num_blocks + 1)
    square = jax.vmap(lambda k: jax.random.normal(k, (key_size, key_size)))(keys[:-1])
    # One by one: batches of QR that run side by side may wait for each other for ever,
    # each for threads of the pool that the others hold (jaxlib on few cores).
    q, r = lax.map(jnp.linalg.qr, square)
    # LAPACK fixes signs of Q; without this, directions are not uniform, and the mean
    # of φ(q)·φ(k) is not exp(q·k).
    q = q * jnp.sign(jnp.diagonal(r, axis1=1, axis2=2))[:, None]
    rows = q.swapaxes(1, 2).reshape(-1, key_size)[:num_features]
    lengths = jnp.linalg.norm(
        jax.random.normal(keys[-1], (num_features, key_size)), axis=1, keepdims=True
    )
    return rows * lengths


def layer_norm(
    x: Float[Array, "... dim"],
    scale: Float[Array, " dim"],
    offset: Float[Array, " dim"],
) -> Float[Array, "... dim"]:
    """Layer normalisation over the last axis, ε = 1e-5."""
    centred = x - x.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    return centred * lax.rsqrt(variance + 1e-5) * scale + offset


def layer(
    parameters: LayerParameters,
    projection: Float[Array, "features key_size"],
    x: Float[Array, "cells tokens dim"],
    token_mask: Bool[Array, "cells tokens"] | None = None,
    *,
    chunk: int = 128,
    **how: Any,
) -> Float[Array, "cells tokens dim"]:
    """One layer of whole arrays: see `chunked_layer`, which stacks are made of.

    `chunk` changes time and memory, not the result.
    """
    chunk = min(chunk, x.shape[1])
    if token_mask is None:
        token_mask = jnp.ones(x.shape[:2], bool)
    y = chunked_layer(
        parameters, projection, split(x, chunk), split(token_mask, chunk), **how
    )
    return merge(y, x.shape[1])


def chunked_layer(
    parameters: LayerParameters,
    projection: Float[Array, "features key_size"],
    x: Float[Array, "chunks cells chunk dim"],
    token_mask: Bool[Array, "chunks cells chunk"] | Float[Array, "chunks cells chunk"],
    *,
    rows: Float[Array, "row_chunks cells row_chunk dim"] | None = None,
    onto: KeySums | None = None,
    approximate_gelu: bool = True,
    precision: Precision = "float32",
) -> Float[Array, "_row_chunks cells _row_chunk dim"]:
    """Applies one transformer layer: x + attention, then + feed-forward.

    Args:
        parameters: of this layer.
        projection: the random directions W of this layer.
        x: residual stream.
        token_mask: True at real tokens. A masked token is neither a key nor a value
            and does not move the stabiliser; its own row is computed and meaningless.
            Numbers say how much each token counts as a key, 0 for not at all.
        rows: those of x that are wanted; all are keys all the same. None wants all.
        onto: sums of keys that are there beside those of the tokens.
        approximate_gelu: tanh approximation of GELU instead of erf.
        precision: what products are computed in.

    Returns:
        The new residual stream, at the rows that are wanted.
    """
    sums = summarise_keys(
        parameters, projection, x, token_mask, onto=onto, precision=precision
    )
    return attend(
        parameters,
        projection,
        sums,
        x if rows is None else rows,
        approximate_gelu=approximate_gelu,
        precision=precision,
    )


def split(x: Array, chunk: int) -> Array:
    """[cells, tokens, …] -> [chunks, cells, chunk, …]; zeros fill the last chunk."""
    missing = -x.shape[1] % chunk
    x = jnp.pad(x, [(0, 0), (0, missing)] + [(0, 0)] * (x.ndim - 2))
    return x.reshape(x.shape[0], -1, chunk, *x.shape[2:]).swapaxes(0, 1)


def merge(x: Array, num_tokens: Any) -> Array:
    """The inverse of `split`; a program that is exported may leave the number open."""
    x = x.swapaxes(0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :num_tokens]


def rows_at(
    x: Float[Array, "chunks cells chunk dim"], at: Int[Array, "cells chosen"]
) -> Float[Array, "cells chosen dim"]:
    """The rows of chosen tokens of each cell."""
    number, place = jnp.divmod(at, x.shape[2])
    return x[number, jnp.arange(x.shape[1])[:, None], place]


def summarise_keys(
    parameters: LayerParameters,
    projection: Float[Array, "features key_size"],
    x: Float[Array, "chunks cells chunk dim"],
    token_mask: Bool[Array, "chunks cells chunk"] | Float[Array, "chunks cells chunk"],
    *,
    onto: KeySums | None = None,
    sign: Literal[1, -1] = 1,
    precision: Precision = "float32",
) -> KeySums:
    """First pass: the sums over all tokens that linear attention reads.

    Args:
        parameters: of this layer.
        projection: of this layer.
        x: residual stream.
        token_mask: True at real tokens, or how much each counts.
        onto: sums to go on from; None begins with nothing.
        sign: −1 takes the tokens out of the sums.
        precision: what products are computed in.
    """
    cells, heads = x.shape[1], parameters.key.shape[-2]
    features, key_size = projection.shape
    if onto is None:
        onto = KeySums(
            weighted=jnp.zeros((cells, heads, features, key_size), x.dtype),
            weights=jnp.zeros((cells, heads, features), x.dtype),
            plain=jnp.zeros((cells, heads, key_size), x.dtype),
            tokens=jnp.zeros(cells, x.dtype),
            stabiliser=jnp.full((cells, heads, 1, 1), NEVER, x.dtype),
        )

    def add_chunk(sums: KeySums, inputs: tuple[Array, Array]) -> tuple[KeySums, None]:
        x_chunk, mask_chunk = inputs
        normed = attention_norm(parameters, x_chunk)
        keys = product("bcD,Dhd->bhcd", normed, parameters.key, precision)
        values = product("bcD,Dhd->bhcd", normed, parameters.value, precision)
        weight = sign * mask_chunk.astype(x.dtype)
        return _add_keys(sums, projection, keys, values, weight, precision), None

    return lax.scan(_checkpoint(add_chunk), onto, (x, token_mask))[0]


def attend(
    parameters: LayerParameters,
    projection: Float[Array, "features key_size"],
    sums: KeySums,
    rows: Float[Array, "chunks cells chunk dim"],
    *,
    approximate_gelu: bool = True,
    precision: Precision = "float32",
) -> Float[Array, "chunks cells chunk dim"]:
    """Second pass: attention output and feed-forward of some tokens."""
    weighted = sums.weighted + EPSILON * sums.plain[:, :, None]
    weights = sums.weights + EPSILON * sums.tokens[:, None, None]

    def attend_chunk(x: Float[Array, "cells chunk dim"]):
        normed = attention_norm(parameters, x)
        queries = product("bcD,Dhd->bhcd", normed, parameters.query, precision)
        exponents, half_norms = _exponents(projection, queries, precision)
        highest = _kept(exponents.max(-1, keepdims=True))
        query_features = jnp.exp(exponents - half_norms - highest) + EPSILON
        attended = product("bhcm,bhmd->bhcd", query_features, weighted, precision)
        normaliser = product("bhcm,bhm->bhc", query_features, weights, precision)
        # A cell without a single token has no keys: its rows are zero, not 0 / 0.
        normaliser = jnp.where(normaliser > 0, normaliser, 1)[..., None]
        return after_attention(
            parameters,
            x,
            attended / normaliser,
            approximate_gelu=approximate_gelu,
            precision=precision,
        )

    return map_chunks(_checkpoint(attend_chunk), rows)


def after_attention(
    parameters: LayerParameters,
    x: Float[Array, "cells rows dim"],
    attended: Float[Array, "cells heads rows key_size"],
    *,
    approximate_gelu: bool = True,
    precision: Precision = "float32",
) -> Float[Array, "cells rows dim"]:
    """The rest of a layer, whatever the attention: output projection, feed-forward."""
    x = x + product("bhcd,hdD->bcD", attended, parameters.output, precision)
    x = x + parameters.output_bias
    hidden = layer_norm(
        x, parameters.feed_forward_norm_scale, parameters.feed_forward_norm_offset
    )
    hidden = product("bcD,Df->bcf", hidden, parameters.feed_forward_in, precision)
    hidden = hidden + parameters.feed_forward_in_bias
    hidden = jax.nn.gelu(hidden, approximate=approximate_gelu)
    hidden = product("bcf,fD->bcD", hidden, parameters.feed_forward_out, precision)
    return x + hidden + parameters.feed_forward_out_bias


def _kept(stabiliser: Array) -> Array:
    """Is not recomputed, where all else of a chunk is; has no gradient."""
    return checkpoint_name(lax.stop_gradient(stabiliser), STABILISER)


_checkpoint = functools.partial(
    jax.checkpoint,
    policy=jax.checkpoint_policies.save_only_these_names(STABILISER),
)


def _add_keys(
    sums: KeySums,
    projection: Array,
    keys: Array,
    values: Array,
    weight: Array,
    precision: Precision,
) -> KeySums:
    weight_of_row = weight[:, None, :, None]
    where = weight_of_row != 0
    values = jnp.where(where, weight_of_row * values, 0)
    exponents, half_norms = _exponents(projection, keys, precision)
    exponents = jnp.where(where, exponents, NEVER)
    stabiliser = _kept(
        jnp.maximum(sums.stabiliser, exponents.max((2, 3), keepdims=True))
    )
    key_features = jnp.exp(exponents - half_norms - stabiliser)
    rescale = jnp.exp(sums.stabiliser - stabiliser)
    return KeySums(
        weighted=sums.weighted * rescale
        + product("bhcm,bhcd->bhmd", key_features, values, precision),
        weights=sums.weights * rescale[..., 0]
        + product("bhcm,bc->bhm", key_features, weight, precision),
        plain=sums.plain + values.sum(2),
        tokens=sums.tokens + weight.sum(1),
        stabiliser=stabiliser,
    )


def _exponents(
    projection: Array, vectors: Array, precision: Precision
) -> tuple[Array, Array]:
    """W·v and |v|²/2 of vectors scaled by key_size^(−1/4)."""
    scale = projection.shape[-1] ** -0.25
    exponents = product("bhcd,md->bhcm", vectors, projection * scale, precision)
    return exponents, jnp.square(vectors).sum(-1, keepdims=True) * (scale**2 / 2)


def attention_norm(
    parameters: LayerParameters, x: Float[Array, "cells rows dim"]
) -> Float[Array, "cells rows dim"]:
    """What queries, keys and values are made of."""
    return layer_norm(
        x, parameters.attention_norm_scale, parameters.attention_norm_offset
    )


def map_chunks(
    function: Callable[[Array], Array], chunks: Float[Array, "chunks cells chunk dim"]
) -> Float[Array, "chunks cells chunk dim"]:
    """Applies a function to chunks of tokens, one after the other."""
    if chunks.shape[0] == 1:  # Of a program that is exported, nobody knows yet.
        return function(chunks[0])[None]
    return lax.map(function, chunks)

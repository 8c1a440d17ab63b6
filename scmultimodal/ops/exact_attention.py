"""The Performer's layer with softmax attention in place of its approximation.

The same parameters, without the random projection: a model of its own, and what the
approximation is measured by. Time grows with the square of the number of tokens; memory
does not, since queries are worked on in chunks and nothing of a chunk is kept.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from scmultimodal.ops import favor
from scmultimodal.ops.precision import Precision, product
from scmultimodal.schemas.batches import Array


def layer(
    parameters: favor.LayerParameters,
    x: Float[Array, "cells tokens dim"],
    token_mask: Bool[Array, "cells keys"] | Float[Array, "cells keys"] | None = None,
    *,
    at: Int[Array, "cells chosen"] | None = None,
    context: Float[Array, "cells keys dim"] | None = None,
    chunk: int = 128,
    approximate_gelu: bool = True,
    precision: Precision = "float32",
) -> Float[Array, "cells rows dim"]:
    """Applies one transformer layer; see `favor.chunked_layer` for what is not here.

    Args:
        parameters: of this layer.
        x: residual stream.
        token_mask: True at real tokens of what is attended to; or how much each counts
            there, 0 for not at all.
        at: the tokens whose rows are wanted; None wants every row.
        context: what is attended to; None attends to `x` itself.
        chunk: queries worked on at a time.
        approximate_gelu: tanh approximation of GELU instead of erf.
        precision: what products are computed in.
    """
    seen = x if context is None else context
    if token_mask is None:
        token_mask = jnp.ones(seen.shape[:2], bool)
    normed = favor.attention_norm(parameters, seen)
    keys = product("btD,Dhd->bhtd", normed, parameters.key, precision)
    values = product("btD,Dhd->bhtd", normed, parameters.value, precision)
    allowed = (token_mask > 0)[:, None, None]
    shares = None
    if token_mask.dtype != bool:
        shares = jnp.log(jnp.where(allowed, token_mask[:, None, None], 1))

    def attend(
        rows: Float[Array, "cells chunk dim"],
    ) -> Float[Array, "cells chunk dim"]:
        queries = product(
            "bcD,Dhd->bhcd",
            favor.attention_norm(parameters, rows),
            parameters.query * keys.shape[-1] ** -0.5,
            precision,
        )
        logits = product("bhcd,bhtd->bhct", queries, keys, precision)
        if shares is not None:
            logits += shares
        weights = jax.nn.softmax(jnp.where(allowed, logits, favor.NEVER))
        # A cell without a single token attends to nothing.
        weights = jnp.where(allowed, weights, 0)
        return favor.after_attention(
            parameters,
            rows,
            product("bhct,bhtd->bhcd", weights, values, precision),
            approximate_gelu=approximate_gelu,
            precision=precision,
        )

    rows = x if at is None else jnp.take_along_axis(x, at[..., None], 1)
    num_rows = rows.shape[1]
    chunks = favor.split(rows, min(chunk, num_rows))
    return favor.merge(favor.map_chunks(jax.checkpoint(attend), chunks), num_rows)


def approximation_error(
    parameters: favor.LayerParameters,
    projection: Float[Array, "features key_size"],
    x: Float[Array, "cells tokens dim"],
    token_mask: Bool[Array, "cells tokens"] | None = None,
) -> Float[Array, ""]:
    """How far what FAVOR+ adds to tokens is from what softmax attention adds, relative.

    |difference| / |by softmax|, over all tokens. It depends on how large queries and
    keys are: with 266 features and random values 0.15 where their standard deviation is
    0.3, and beyond 0.6 where it is 1.
    """
    # Without the feed-forward block a layer adds what attention gives, and no more.
    alone = parameters._replace(
        output_bias=jnp.zeros_like(parameters.output_bias),
        feed_forward_out=jnp.zeros_like(parameters.feed_forward_out),
        feed_forward_out_bias=jnp.zeros_like(parameters.feed_forward_out_bias),
    )
    exact = layer(alone, x, token_mask) - x
    approximate = favor.layer(alone, projection, x, token_mask) - x
    if token_mask is not None:
        exact, approximate = (
            jnp.where(token_mask[..., None], added, 0) for added in (exact, approximate)
        )
    return jnp.linalg.norm(exact - approximate) / jnp.linalg.norm(exact)

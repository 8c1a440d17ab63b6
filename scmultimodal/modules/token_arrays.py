"""Arrays of tokens: means over some, and back to the genes that they are."""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Real

from scmultimodal.schemas.batches import Array


def average_present(
    outputs: list[Float[Array, "cells tokens dim"]],
    present: list[Bool[Array, " cells"]],
) -> Float[Array, "cells tokens dim"]:
    """Token-wise mean over the modalities a cell has; zero where it has none."""
    weights = jnp.stack(present).astype(outputs[0].dtype)
    weights /= jnp.maximum(weights.sum(0), 1)
    return sum(o * w[:, None, None] for o, w in zip(outputs, weights, strict=True))


def mean_over_tokens(
    tokens: Float[Array, "cells tokens dim"],
    where: Bool[Array, "cells tokens"] | Float[Array, "cells tokens"],
) -> Float[Array, "cells dim"]:
    """Mean over the chosen tokens, or by how much each is chosen; of none zero."""
    total = where.sum(-1, keepdims=True)
    weights = where / jnp.where(total > 0, total, 1)
    return jnp.einsum("btd,bt->bd", tokens, weights.astype(tokens.dtype))


def scatter_to_genes(
    values: Real[Array, "cells tokens *channels"],
    gene_ids: Int[Array, "cells tokens"],
    token_mask: Bool[Array, "cells tokens"] | None,
    num_genes: int,
) -> Real[Array, "cells genes *channels"]:
    """Puts each token's value at its gene; genes without a token are zero."""
    if token_mask is not None:
        mask = token_mask.reshape(token_mask.shape + (1,) * (values.ndim - 2))
        values = jnp.where(mask, values, 0)
    cells = jnp.arange(values.shape[0])[:, None]
    empty = jnp.zeros((values.shape[0], num_genes, *values.shape[2:]), values.dtype)
    return empty.at[cells, gene_ids].add(values)

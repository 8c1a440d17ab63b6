"""Losses: pure, keyword-only, each returning (weighted sum, weight).

The training step adds the sums and the weights over all devices before it divides,
so that unequal masks on the devices change nothing and an empty mask survives.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Integer

from scmultimodal.schemas.batches import Array, WeightedSum


def token_cross_entropy(
    *,
    logits: Float[Array, "... bins"],
    labels: Integer[Array, "..."],
) -> Float[Array, "..."]:
    """−log softmax(logits)[label]; a label outside 0…bins − 1 gives a finite value."""
    log_probabilities = jax.nn.log_softmax(logits)
    labels = jnp.clip(labels.astype(jnp.int32), 0, logits.shape[-1] - 1)
    return -jnp.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0]


def cell_mean(
    *, values: Float[Array, "cells tokens"], where: Bool[Array, "cells tokens"]
) -> tuple[Float[Array, " cells"], Bool[Array, " cells"]]:
    """Mean over a cell's chosen tokens, and which cells have any."""
    count = where.sum(-1)
    total = jnp.where(where, values, 0).sum(-1)
    return total / jnp.maximum(count, 1), count > 0


def masked_cross_entropy(
    *,
    logits: Float[Array, "cells classes"],
    labels: Integer[Array, " cells"],
    where: Bool[Array, " cells"],
) -> WeightedSum:
    """Cross-entropy of one label per cell, over the cells in `where`."""
    losses = token_cross_entropy(logits=logits, labels=labels)
    return jnp.where(where, losses, 0).sum(), where.sum().astype(losses.dtype)

"""Metrics as sums over cells, so that they add up over batches and devices."""

import jax.numpy as jnp
from jaxtyping import Bool

from scmultimodal.schemas.batches import Array, WeightedSum


def share_true(*, values: Bool[Array, "..."], where: Bool[Array, "..."]) -> WeightedSum:
    """How many of the chosen values are True, of how many."""
    return (values & where).sum().astype(jnp.float32), where.sum().astype(jnp.float32)

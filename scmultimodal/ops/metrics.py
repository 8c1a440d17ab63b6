"""Metrics as sums over cells, so that they add up over batches and devices."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from scmultimodal.schemas.batches import WeightedSum


def share_true(
    *, values: Bool[Array, "..."], where: Bool[Array, "..."]
) -> WeightedSum:
    """How many of the chosen values are True, of how many."""
    return (values & where).sum().astype(jnp.float32), where.sum().astype(jnp.float32)


def confusion_counts(
    *,
    labels: Integer[Array, " cells"],
    predictions: Integer[Array, " cells"],
    where: Bool[Array, " cells"],
    num_classes: int,
) -> Float[Array, "classes classes"]:
    """Number of cells of each (label, prediction) pair."""
    rows = jax.nn.one_hot(labels, num_classes) * where[:, None]
    return rows.T @ jax.nn.one_hot(predictions, num_classes)

"""Losses and exact counts of yes-or-no questions that are asked of every base."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from scmultimodal.schemas.batches import Array, WeightedSum

SCORE_BINS = 1_024
"""Steps of score that `score_counts` tells apart."""
_SCORE_RANGE = 12.0
"""Log-odds beyond ± this are counted with the last step."""


def margins(
    logits: Float[Array, "*questions 2"],
) -> Float[Array, "*questions"]:
    """Log-odds of yes: the softmax of (no, yes) depends on their difference alone."""
    return logits[..., 1] - logits[..., 0]


def focal_loss(
    *,
    margins: Float[Array, "*questions"],
    labels: Bool[Array, "*questions"],
    where: Bool[Array, "*questions"],
    gamma: float = 2.0,
) -> WeightedSum:
    """−(1 − p)^γ log p of the right answer, over the questions in `where`.

    γ = 0 is cross-entropy. Source: Lin et al. 2017, arXiv:1708.02002; SPEC 3.4.
    """
    right = jnp.where(labels, margins, -margins)
    loss = -jax.nn.log_sigmoid(right)
    if gamma:
        # (1 − p)^γ, without cancellation and with a gradient where it is 0.
        loss = loss * jnp.exp(gamma * jax.nn.log_sigmoid(-right))
    return jnp.where(where, loss, 0).sum(), jnp.sum(where, dtype=loss.dtype)


def confusion(
    *,
    margins: Float[Array, "windows bases elements"],
    labels: Bool[Array, "windows bases elements"],
    where: Bool[Array, "windows bases elements"],
) -> Float[Array, "elements 4"]:
    """Right and wrong answers by element: true and false yes, false and true no.

    Yes is a probability above one half.
    """
    said = margins > 0
    kinds = (said & labels, said & ~labels, ~said & labels, ~said & ~labels)
    return jnp.stack(
        [(kind & where).sum((0, 1), dtype=jnp.int32) for kind in kinds], -1
    ).astype(jnp.float32)


def score_counts(
    *,
    margins: Float[Array, "windows bases elements"],
    labels: Bool[Array, "windows bases elements"],
    where: Bool[Array, "windows bases elements"],
) -> Float[Array, "elements 2 steps"]:
    """How many bases of each element have which score: those that are not, and are.

    The steps divide the log-odds evenly. Counts add up over batches and devices, and
    areas under curves follow from them, exact but for the width of a step.
    """
    scale = (SCORE_BINS - 1) / (2 * _SCORE_RANGE)
    step = jnp.clip(jnp.round((margins + _SCORE_RANGE) * scale), 0, SCORE_BINS - 1)
    elements = margins.shape[-1]
    place = (jnp.arange(elements) * 2 + labels) * SCORE_BINS + step.astype(jnp.int32)
    counts = jnp.zeros(elements * 2 * SCORE_BINS, jnp.int32)
    counts = counts.at[place.ravel()].add(where.ravel().astype(jnp.int32))
    return counts.reshape(elements, 2, SCORE_BINS).astype(jnp.float32)

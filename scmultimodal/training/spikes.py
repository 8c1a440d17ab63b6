"""Losses that stand out: a robust rule for steps that are better skipped."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from scmultimodal.schemas.batches import Array

WINDOW = 64
"""Losses of the last steps that a loss is compared with."""
_SD_OF_MAD = 1.4826
"""Standard deviations of a Gaussian to one median absolute deviation."""


def nothing_yet() -> Float[Array, " steps"]:
    """The losses before the first step."""
    return jnp.full(WINDOW, jnp.nan)


def is_spike(
    loss: Float[Array, ""], recent: Float[Array, " steps"], deviations: float
) -> Bool[Array, ""]:
    """Whether a loss is this many robust standard deviations above the median.

    The standard deviation is taken from the median absolute deviation, which half of
    the losses cannot move. Nothing is a spike until the window is full.
    """
    median = jnp.median(recent)
    spread = _SD_OF_MAD * jnp.median(jnp.abs(recent - median))
    return loss > median + deviations * spread


def remember(
    loss: Float[Array, ""], recent: Float[Array, " steps"]
) -> Float[Array, " steps"]:
    """The window with the newest loss in it, and the oldest gone.

    A skipped loss is remembered too: where the loss has risen for good, it is the rule
    after half a window, and training goes on.
    """
    moved = jnp.concatenate([recent[1:], loss[None]])
    return jnp.where(jnp.isfinite(loss), moved, recent)

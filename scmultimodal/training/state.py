"""What training carries from one step to the next."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float32, Int32, UInt32

from scmultimodal.training import spikes

Array = jax.Array | np.ndarray


@chex.dataclass(frozen=True, kw_only=True, mappable_dataclass=False)
class TrainState:
    """All that a step reads and writes: a checkpoint holds exactly this.

    Attributes:
        params: {module: {name: array}}.
        network_state: the same, for what is kept but not learned.
        opt_state: of the optimiser.
        step: updates that were applied or skipped so far = the batch to take next.
        rng: key data. The key of a step is `fold_in(rng, step)`, so nothing else
            needs to be remembered.
        recent_losses: of the last steps, where spikes are skipped.
        averaged: running mean of `params`, where there is one.
    """

    params: Any
    network_state: Any
    opt_state: Any
    step: Int32[Array, "..."]
    rng: UInt32[Array, "... 2"]
    recent_losses: Float32[Array, "... window"] | None = None
    averaged: Any = None

    @property
    def judged(self) -> Any:
        """The parameters that are judged and kept."""
        return self.params if self.averaged is None else self.averaged


def begin(
    params: Any,
    network_state: Any,
    optimizer: optax.GradientTransformation,
    rng: Array,
    *,
    skip_spikes: float | None = None,
    average: float | None = None,
) -> TrainState:
    """The state before the first step; see `OptimizerConfig` for the options."""
    return TrainState(
        params=params,
        network_state=network_state,
        opt_state=optimizer.init(params),
        step=jnp.zeros((), jnp.int32),
        rng=rng,
        recent_losses=None if skip_spikes is None else spikes.nothing_yet(),
        averaged=None if average is None else params,
    )

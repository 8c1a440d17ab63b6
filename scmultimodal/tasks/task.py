"""What training needs to know of an objective: how to start and how to err."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from scmultimodal.schemas.batches import Array, WeightedSum

Params = Mapping[str, Mapping[str, Array]]
"""Parameters (or state) of a network: {module: {name: array}}."""

LossOutput = tuple[WeightedSum, tuple[Params, dict[str, WeightedSum]]]
"""Loss as (Σ, weight), then (network state, metrics as (Σ, weight) each)."""


def nothing_asked(network_state: Params) -> LossOutput:
    """What a task that is one of several says of a batch that shows it nothing."""
    zero = jnp.zeros(())
    return (zero, zero), (network_state, {})


@runtime_checkable
class Task(Protocol):
    """An objective: pure functions of parameters, state, randomness and a batch.

    A task never divides by a weight and never asks on how many devices it runs:
    sums and weights are added over devices first. Its random draws are keyed by
    `batch.row`, the row in the *global* batch, so that the split over devices changes
    nothing.

    Whatever has these two functions trains by `training.loop.fit`: a new objective and
    a new head, of ten lines each, are in `experiments/examples/` of the repository.
    """

    def init(self, rng: jax.Array, batch: Any) -> tuple[Params, Params]:
        """Returns fresh (params, network_state) for batches like `batch`."""
        ...

    def loss(
        self,
        params: Params,
        network_state: Params,
        rng: jax.Array,
        batch: Any,
        *,
        is_training: bool,
    ) -> LossOutput:
        """Returns `((Σ loss, weight), (network_state, metrics))`.

        A metric is (Σ, weight) too; its sum may be an array, such as the counts of a
        confusion matrix. `is_training` switches dropout on.
        """
        ...

"""Several objectives on the same batches, with one trunk."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from scmultimodal.schemas.batches import CellBatch
from scmultimodal.tasks import task


class Combined:
    """Mean over the cells of the weighted sum of what tasks make of a cell.

    Each runs the network once, on what it lets it see. Parameters of the same name are
    shared. A cell of which a task has nothing to ask has no loss there.
    """

    def __init__(self, tasks: Mapping[str, tuple[task.Task, float]]):
        """Takes by name a task and its weight."""
        self._tasks = dict(tasks)

    def init(self, rng: jax.Array, batch: CellBatch) -> tuple[task.Params, task.Params]:
        """Fresh parameters of all; shared ones are drawn by the first."""
        params, state = {}, {}
        for objective, _ in reversed(self._tasks.values()):
            own = objective.init(rng, batch)
            params |= own[0]
            state |= own[1]
        return params, state

    def loss(
        self,
        params: task.Params,
        network_state: task.Params,
        rng: jax.Array,
        batch: CellBatch,
        *,
        is_training: bool,
    ) -> task.LossOutput:
        """See `Task.loss`. Metrics: those of all, and the loss of each."""
        total, measured = jnp.zeros(()), {}
        state = dict(network_state)
        keys = jax.random.split(rng, len(self._tasks))
        for key, (name, (objective, share)) in zip(
            keys, self._tasks.items(), strict=True
        ):
            loss, (new, metrics) = objective.loss(
                params, state, key, batch, is_training=is_training
            )
            state |= new
            total += share * loss[0]
            measured |= {**metrics, f"{name}_loss": loss}
        cells = batch.cell_mask.sum().astype(total.dtype)
        return (total, cells), (state, measured)

"""Weighted means of loss and metrics over fixed batches."""

from collections.abc import Callable, Iterable
from typing import Any

import jax

from scmultimodal.tasks.task import Task
from scmultimodal.training import parallel
from scmultimodal.training.metrics import Averages


def evaluate(
    task: Task,
    params: Any,
    network_state: Any,
    batches: Iterable[Any],
    *,
    devices: parallel.Devices = None,
) -> dict[str, Any]:
    """Means of the loss and of a task's metrics over all batches.

    Returns {name: Σ / weight}: a float, or an array where the sum is one. Batches may
    be partly filled, for rows of weight 0 count nothing.
    """
    step = parallel.make_eval_step(task, devices=devices)
    params, network_state = parallel.replicate((params, network_state), devices)
    return average(step, params, network_state, batches, devices)


def average(
    step: Callable,
    params: Any,
    network_state: Any,
    batches: Iterable[Any],
    devices: parallel.Devices,
) -> dict[str, Any]:
    """`evaluate` for a compiled step and replicated parameters."""
    averages, waiting = Averages(), None
    for index, batch in enumerate(batches):
        # Keyed by the batch alone: every evaluation hides the same values.
        rng = jax.random.fold_in(jax.random.PRNGKey(0), index)
        metrics = step(params, network_state, rng, parallel.place(batch, devices))
        if waiting is not None:
            averages.add(parallel.unreplicate(waiting))
        waiting = metrics
    if waiting is not None:
        averages.add(parallel.unreplicate(waiting))
    return averages.means()

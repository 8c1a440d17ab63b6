"""Weighted means of loss and metrics over fixed batches."""

from collections.abc import Iterable
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
    over: parallel.Parallelism | None = None,
) -> dict[str, Any]:
    """Means of the loss and of a task's metrics over all batches.

    Returns {name: Σ / weight}: a float, or an array where the sum is one. Batches may
    be partly filled, for rows of weight 0 count nothing. On several hosts they are the
    shares of this one.
    """
    over = over or parallel.build()
    params, network_state = over.replicate((params, network_state))
    return average(over.eval_step(task), params, network_state, batches, over)


def average(
    step: parallel.EvalStep,
    params: Any,
    network_state: Any,
    batches: Iterable[Any],
    over: parallel.Parallelism,
) -> dict[str, Any]:
    """`evaluate` for a compiled step and parameters on the devices."""
    averages, waiting = Averages(), None
    for index, batch in enumerate(batches):
        # Keyed by the batch alone: every evaluation hides the same values.
        rng = jax.random.fold_in(jax.random.PRNGKey(0), index)
        metrics = step(params, network_state, rng, over.place(batch))
        if waiting is not None:
            averages.add(over.unreplicate(waiting))
        waiting = metrics
    if waiting is not None:
        averages.add(over.unreplicate(waiting))
    return averages.means()

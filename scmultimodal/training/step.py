"""The update of one device: plain code that knows a single collective.

`training.parallel` maps it over devices. Sums and weights are added over all devices
*before* they are divided, so that the update is that of the global weighted mean,
however the batch is split.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from scmultimodal.schemas.axes import DEVICES
from scmultimodal.schemas.batches import WeightedSum
from scmultimodal.tasks.task import Task
from scmultimodal.training.state import TrainState

Metrics = dict[str, WeightedSum]


def make_update(
    task: Task, optimizer: optax.GradientTransformation, trainable: Any = None
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """Returns `update(state, batch) -> (state, metrics)` for one device.

    A batch without weight, and a loss or gradient that is not finite, leave
    parameters, optimiser and network state untouched; the step counts all the same.

    Args:
        task: the objective.
        optimizer: for all of the parameters.
        trainable: bool per parameter; no gradient is computed for the others.
            None means all.
    """

    def update(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        moving, frozen = split(state.params, trainable)
        rng = jax.random.fold_in(state.rng, state.step)

        def objective(moving):
            (total, weight), auxiliary = task.loss(
                merge(moving, frozen), state.network_state, rng, batch, is_training=True
            )
            return total, (weight, auxiliary)

        (total, (weight, (network_state, metrics))), gradient = jax.value_and_grad(
            objective, has_aux=True
        )(moving)
        change = _floating_change(network_state, state.network_state)
        gradient, total, weight, metrics, change = jax.lax.psum(
            (gradient, total, weight, metrics, change), DEVICES
        )
        divisor = jnp.where(weight > 0, weight, 1)
        gradient = jax.tree.map(lambda g: g / divisor, gradient)
        norm = optax.tree.norm(gradient)
        gradient = merge(gradient, jax.tree.map(jnp.zeros_like, frozen))
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        new = state.replace(
            params=optax.apply_updates(state.params, updates),
            network_state=_apply_change(state.network_state, network_state, change),
            opt_state=opt_state,
        )
        good = (weight > 0) & jnp.isfinite(total) & jnp.isfinite(norm)
        kept = jax.tree.map(lambda new, old: jnp.where(good, new, old), new, state)
        metrics = {
            "loss": (total, weight),
            "grad_norm": (norm, jnp.sign(weight)),
            **metrics,
        }
        return kept.replace(step=state.step + 1), metrics

    return update


def make_judgement(task: Task) -> Callable[[Any, Any, Any, Any], Metrics]:
    """Returns `judge(params, network_state, rng, batch) -> metrics` for one device."""

    def judge(params: Any, network_state: Any, rng: Any, batch: Any) -> Metrics:
        loss, (_, metrics) = task.loss(
            params, network_state, rng, batch, is_training=False
        )
        return jax.lax.psum({"loss": loss, **metrics}, DEVICES)

    return judge


def split(params: Any, trainable: Any) -> tuple[Any, Any]:
    """(what moves, what does not): None stands where the other has the array."""
    if trainable is None:
        return params, jax.tree.map(lambda _: None, params)
    moving = jax.tree.map(lambda p, t: p if t else None, params, trainable)
    frozen = jax.tree.map(lambda p, t: None if t else p, params, trainable)
    return moving, frozen


def merge(moving: Any, frozen: Any) -> Any:
    """The inverse of `split`."""
    return jax.tree.map(
        lambda a, b: b if a is None else a, moving, frozen, is_leaf=lambda x: x is None
    )


def _floating_change(new: Any, old: Any) -> Any:
    """new − old where a state is floating; counters are alike on all devices."""
    return jax.tree.map(
        lambda n, o: n - o if jnp.issubdtype(n.dtype, jnp.floating) else None, new, old
    )


def _apply_change(old: Any, new: Any, change: Any) -> Any:
    """Adds the mean change over devices: a state that rests stays bit for bit."""
    devices = jax.lax.axis_size(DEVICES)
    return jax.tree.map(
        lambda o, n, c: n if c is None else o + c / devices, old, new, change
    )

"""The update of one device: plain code that knows a single collective.

`training.parallel` maps it over devices. Sums and weights are added over all devices
*before* they are divided, so that the update is that of the global weighted mean,
however the batch is split.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float

from scmultimodal.schemas.axes import DEVICES
from scmultimodal.schemas.batches import Array, WeightedSum
from scmultimodal.schemas.errors import InputError
from scmultimodal.tasks.task import Task
from scmultimodal.training import fingerprint, spikes
from scmultimodal.training.state import TrainState

Metrics = dict[str, WeightedSum]
FINGERPRINT = "batch_fingerprint"
"""Tells what the devices were given, not how they did."""
VOTES = "votes"
"""Not an average like the other metrics: how many devices voted for each choice."""


class _Sums(NamedTuple):
    """What parts of a batch, and devices, add up to."""

    gradient: Any
    loss: WeightedSum
    metrics: Metrics
    change: Any
    """Of the floating network state."""


def make_update(
    task: Task,
    optimizer: optax.GradientTransformation,
    trainable: Any = None,
    *,
    microbatches: int = 1,
    skip_spikes: float | None = None,
    average: float | None = None,
    shares: int | None = None,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """Returns `update(state, batch, votes=None) -> (state, metrics)`.

    Votes of all devices are added and come back as a metric, so that hosts agree on
    what one of them was asked, without another collective.

    A batch without weight, a loss or gradient that is not finite, and a spike leave
    parameters, optimiser and network state untouched; the step counts all the same.

    Args:
        task: the objective.
        optimizer: for all of the parameters.
        trainable: bool per parameter; no gradient is computed for the others.
            None means all.
        microbatches: parts of the batch whose gradients are added one after the other.
            They are that of the whole, since draws are keyed by row.
        skip_spikes, average: see `OptimizerConfig`.
        shares: None for code that `jax.pmap` maps: it sees the rows of one device and
            adds up over all. A number for code that sees the rows of so many devices at
            once: nothing is left to add.
    """

    def update(
        state: TrainState, batch: Any, votes: Float[Array, "... choices"] | None = None
    ) -> tuple[TrainState, Metrics]:
        moving, frozen = split(state.params, trainable)
        rng = jax.random.fold_in(state.rng, state.step)

        def sums_of(part: Any) -> tuple[_Sums, Any]:
            def objective(moving):
                loss, (network_state, metrics) = task.loss(
                    merge(moving, frozen),
                    state.network_state,
                    rng,
                    part,
                    is_training=True,
                )
                return loss[0], (loss, network_state, metrics)

            gradient, (loss, network_state, metrics) = jax.grad(
                objective, has_aux=True
            )(moving)
            change = _floating_change(network_state, state.network_state)
            return _Sums(gradient, loss, metrics, change), network_state

        sums, network_state = _over_parts(sums_of, batch, microbatches, shares or 1)
        parts, seen = fingerprint.of_rows(batch), microbatches
        if shares is None:
            sums, votes, parts = jax.lax.psum((sums, votes, parts), DEVICES)
            seen *= jax.lax.axis_size(DEVICES)
        elif votes is not None:
            votes = votes.sum(0)
        gradient, (total, weight), metrics, change = sums
        divisor = jnp.where(weight > 0, weight, 1)
        gradient = jax.tree.map(lambda g: g / divisor, gradient)
        norm = optax.tree.norm(gradient)
        gradient = merge(gradient, jax.tree.map(jnp.zeros_like, frozen))
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        new = state.replace(
            params=params,
            averaged=_averaged(state, params, average),
            network_state=_apply_change(
                state.network_state, network_state, change, seen
            ),
            opt_state=opt_state,
        )
        metrics = {
            "loss": (total, weight),
            "grad_norm": (norm, jnp.sign(weight)),
            FINGERPRINT: (fingerprint.combine(parts), jnp.ones(())),
            **metrics,
        }
        good = (weight > 0) & jnp.isfinite(total) & jnp.isfinite(norm)
        recent = state.recent_losses
        if skip_spikes is not None:
            loss = jnp.where(weight > 0, total / divisor, jnp.nan)
            spike = spikes.is_spike(loss, recent, skip_spikes)
            metrics["skipped"] = (spike.astype(norm.dtype), jnp.sign(weight))
            good, recent = good & ~spike, spikes.remember(loss, recent)
        kept = jax.tree.map(lambda new, old: jnp.where(good, new, old), new, state)
        if votes is not None:
            metrics[VOTES] = votes
        return kept.replace(step=state.step + 1, recent_losses=recent), metrics

    return update


def _averaged(state: TrainState, params: Any, decay: float | None) -> Any:
    if decay is None:
        return None
    kept = jnp.minimum(decay, (1 + state.step) / (10 + state.step))
    return jax.tree.map(
        lambda old, new: (kept * old + (1 - kept) * new).astype(old.dtype),
        state.averaged,
        params,
    )


def make_judgement(
    task: Task, *, mapped: bool = True
) -> Callable[[Any, Any, Any, Any], Metrics]:
    """Returns `judge(params, network_state, rng, batch) -> metrics`.

    `mapped` code sees the rows of one device and adds up over all.
    """

    def judge(params: Any, network_state: Any, rng: Any, batch: Any) -> Metrics:
        loss, (_, metrics) = task.loss(
            params, network_state, rng, batch, is_training=False
        )
        metrics = {"loss": loss, **metrics}
        return jax.lax.psum(metrics, DEVICES) if mapped else metrics

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


def _apply_change(old: Any, new: Any, change: Any, seen: int) -> Any:
    """Adds the mean of so many changes: a state that rests stays bit for bit."""
    return jax.tree.map(
        lambda o, n, c: n if c is None else o + c / seen, old, new, change
    )


def _over_parts(
    sums_of: Callable[[Any], tuple[_Sums, Any]], batch: Any, parts: int, shares: int
) -> tuple[_Sums, Any]:
    """Sums over equal parts of a batch, and the network state after the last.

    Of each device's share, one of `shares`, a part takes as many rows: none moves.
    """
    if parts == 1:
        return sums_of(batch)
    rows = jax.tree.leaves(batch)[0].shape[0] // shares
    if rows % parts:
        raise InputError(
            "microbatches",
            f"are {parts}, and a device has {rows} rows of a batch",
            "make the batch a multiple of devices times microbatches",
        )

    def deal(leaf: Array) -> Array:
        dealt = leaf.reshape(shares, parts, rows // parts, *leaf.shape[1:])
        return dealt.swapaxes(0, 1).reshape(parts, -1, *leaf.shape[1:])

    split_rows = jax.tree.map(deal, batch)
    first = jax.tree.map(lambda leaf: leaf[0], split_rows)
    nothing = jax.tree.map(
        lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(sums_of, first)
    )

    def add(carry: tuple[_Sums, Any], part: Any) -> tuple[tuple[_Sums, Any], None]:
        sums, network_state = sums_of(part)
        return (jax.tree.map(jnp.add, carry[0], sums), network_state), None

    return jax.lax.scan(add, nothing, split_rows)[0]

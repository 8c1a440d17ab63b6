"""The owner of devices: data parallelism by `jax.pmap` over the devices of all hosts.

A tree is *replicated* (leading axis `devices`, one copy each) or *sharded* (leading
axis `devices`, the cells dealt out in order, the first host's first). A host holds the
share of its own devices; a step adds up over those of all.
"""

import signal
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import Float

from scmultimodal.schemas.axes import DEVICES
from scmultimodal.schemas.batches import Array
from scmultimodal.schemas.errors import InputError
from scmultimodal.tasks.task import Task
from scmultimodal.training.interrupts import ASKING
from scmultimodal.training.state import TrainState
from scmultimodal.training.step import Metrics, make_judgement, make_update

Devices = Sequence[jax.Device] | None
"""Some of this host's; None takes those of all hosts."""


def make_train_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    *,
    trainable: Any = None,
    microbatches: int = 1,
    skip_spikes: float | None = None,
    devices: Devices = None,
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """Returns `step(replicated state, sharded batch) -> (state, metrics)`.

    The state that goes in is given up to the device. The metrics are replicated.
    """
    update = make_update(
        task,
        optimizer,
        trainable,
        microbatches=microbatches,
        skip_spikes=skip_spikes,
    )
    return jax.pmap(update, axis_name=DEVICES, devices=devices, donate_argnums=(0,))


def make_eval_step(
    task: Task, *, devices: Devices = None
) -> Callable[[Any, Any, Any, Any], Metrics]:
    """Returns `step(params, network_state, rng, batch) -> metrics`.

    Parameters and state are replicated, the batch is sharded; `rng` is one key.
    """
    return jax.pmap(
        make_judgement(task),
        axis_name=DEVICES,
        devices=devices,
        in_axes=(0, 0, None, 0),
    )


def replicate(tree: Any, devices: Devices = None) -> Any:
    """Copies every array to each device of this host: `[…]` to `[devices, …]`."""
    chosen = _of_this_host(devices)
    sharding = _over(chosen)

    def copy(leaf):
        leaf = np.asarray(leaf)
        return jax.device_put(
            np.broadcast_to(leaf, (len(chosen), *leaf.shape)), sharding
        )

    return jax.tree.map(copy, tree)


def unreplicate(tree: Any) -> Any:
    """A copy on the host of the first device's share: `[devices, …]` becomes `[…]`."""
    # Indexing a mapped array would start a computation on all devices, and a view
    # (asarray) would hold a buffer that the next step is to reuse.
    return jax.tree.map(
        lambda leaf: np.array(leaf.addressable_shards[0].data)[0, ...], tree
    )


def shard(batch: Any, num_devices: int) -> Any:
    """Deals rows out in order: `[cells, …]` becomes `[devices, cells / devices, …]`.

    Raises:
        InputError: arrays that differ in their number of rows, or rows that the
            devices cannot share equally.
    """
    sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(batch)}
    if len(sizes) != 1 or () in sizes:
        raise InputError(
            type(batch).__name__,
            f"has arrays with leading axes {sorted(sizes)}",
            "give every array of a batch one row per example",
        )
    ((rows,),) = sizes
    if rows % num_devices:
        raise InputError(
            type(batch).__name__,
            f"has {rows} rows for {num_devices} devices",
            f"take a batch size that is a multiple of {num_devices}, or fill the batch "
            "up with rows of weight 0",
        )
    return jax.tree.map(
        lambda leaf: leaf.reshape(num_devices, rows // num_devices, *leaf.shape[1:]),
        batch,
    )


def place(batch: Any, devices: Devices = None) -> Any:
    """Shards a batch of all hosts; the share of this one starts for its devices."""
    mine = _of_this_host(devices)
    count = len(devices) if devices is not None else jax.device_count()
    # Every host has as many devices as the others; pmap takes them host by host.
    first = 0 if devices is not None else jax.process_index() * len(mine)
    share = jax.tree.map(
        lambda leaf: leaf[first : first + len(mine)], shard(batch, count)
    )
    return jax.device_put(share, _over(mine))


def vote(
    asked: signal.Signals | None, devices: Devices = None
) -> Float[Array, "devices choices"]:
    """What this host was asked, as votes of its devices that a step adds up."""
    mine = _of_this_host(devices)
    votes = np.zeros((len(mine), len(ASKING)), np.float32)
    if asked is not None:
        votes[:, ASKING.index(asked)] = 1
    return jax.device_put(votes, _over(mine))


def result_of_vote(votes: Float[np.ndarray, " choices"]) -> signal.Signals | None:
    """What some host was asked: to end (SIGTERM) rather than to stop (SIGINT)."""
    asked = [number for number, count in zip(ASKING, votes, strict=True) if count]
    return asked[-1] if asked else None


def _of_this_host(devices: Devices) -> list[jax.Device]:
    return list(devices) if devices is not None else jax.local_devices()


def _over(devices: list[jax.Device]) -> jax.sharding.NamedSharding:
    """The sharding that `jax.pmap` gives its results, so that nothing is copied."""
    mesh = jax.sharding.Mesh(np.array(devices), (DEVICES,))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(DEVICES))

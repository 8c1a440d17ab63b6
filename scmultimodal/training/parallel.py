"""The owner of devices: data parallelism over those of all hosts.

`Mapped` is `jax.pmap`: a tree on devices has a leading axis `devices`, one copy or one
share each. `Sharded` is jit with NamedSharding: the same update over global arrays,
whose parameters may be spread over the devices too. A host holds the shares of its own
devices; a step adds up over those of all. Rows are dealt out in order, the first
host's first, so both give each device the same rows.
"""

import signal
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from scmultimodal.data.sampling import WHOLE, Share
from scmultimodal.schemas.axes import DEVICES
from scmultimodal.schemas.batches import Array
from scmultimodal.schemas.errors import InputError
from scmultimodal.tasks.task import Task
from scmultimodal.training.config import ParallelName
from scmultimodal.training.interrupts import ASKING
from scmultimodal.training.state import TrainState
from scmultimodal.training.step import Metrics, make_judgement, make_update

Devices = Sequence[jax.Device] | None
"""Some of this host's; None takes those of all hosts."""
SPREAD_FROM = 2**14
"""Numbers that an array must have to be worth spreading over devices."""

TrainStep = Callable[..., tuple[TrainState, Metrics]]
"""(state, batch, votes or nothing) -> (state, metrics), all on devices."""
EvalStep = Callable[[Any, Any, Any, Any], Metrics]
"""(params, network state, one key, batch) -> metrics."""


@runtime_checkable
class Parallelism(Protocol):
    """How a step runs on several devices."""

    share: Share
    """The part of each global batch that this host builds and places."""

    def train_step(
        self,
        task: Task,
        optimizer: optax.GradientTransformation,
        *,
        trainable: Any = None,
        microbatches: int = 1,
        skip_spikes: float | None = None,
        average: float | None = None,
    ) -> TrainStep:
        """The compiled `make_update`; the state that goes in is given up."""
        ...

    def eval_step(self, task: Task) -> EvalStep:
        """The compiled judgement."""
        ...

    def replicate(self, tree: Any) -> Any:
        """A tree of host arrays, on the devices."""
        ...

    def unreplicate(self, tree: Any) -> Any:
        """A copy on the host of a tree that is the same on all devices."""
        ...

    def place(self, batch: Any) -> Any:
        """Starts this host's share of a batch on its way to its devices."""
        ...

    def vote(self, asked: signal.Signals | None) -> Array:
        """What this host was asked, as votes of its devices that a step adds up."""
        ...

    def shapes(self, state: Any, batch: Any) -> tuple[Any, Any]:
        """A state and this host's share, as a step takes them: shapes alone."""
        ...


def build(name: ParallelName = "pmap", devices: Devices = None) -> Parallelism:
    """The parallelism of this name; see `RunningConfig`."""
    if name == "pmap":
        return Mapped(devices)
    return Sharded(devices, spread=name == "fsdp")


def result_of_vote(votes: Float[np.ndarray, " choices"]) -> signal.Signals | None:
    """What some host was asked: to end (SIGTERM) rather than to stop (SIGINT)."""
    asked = [number for number, count in zip(ASKING, votes, strict=True) if count]
    return asked[-1] if asked else None


class Mapped:
    """`jax.pmap` over the devices of all hosts."""

    def __init__(self, devices: Devices = None):
        """Takes `devices`."""
        self._given = devices
        self._mine = list(devices) if devices is not None else jax.local_devices()
        self.share = share_of_host() if devices is None else WHOLE
        # The sharding that `jax.pmap` gives its results, so that nothing is copied.
        mesh = Mesh(np.array(self._mine), (DEVICES,))
        self._sharding = NamedSharding(mesh, PartitionSpec(DEVICES))

    def train_step(
        self, task: Task, optimizer: optax.GradientTransformation, **how: Any
    ) -> TrainStep:
        """See `Parallelism`."""
        return jax.pmap(
            make_update(task, optimizer, **how),
            axis_name=DEVICES,
            devices=self._given,
            donate_argnums=(0,),
        )

    def eval_step(self, task: Task) -> EvalStep:
        """See `Parallelism`."""
        return jax.pmap(
            make_judgement(task),
            axis_name=DEVICES,
            devices=self._given,
            in_axes=(0, 0, None, 0),
        )

    def replicate(self, tree: Any) -> Any:
        """Copies every array to each device of this host: `[…]` to `[devices, …]`."""

        def copy(leaf):
            leaf = np.asarray(leaf)
            copies = np.broadcast_to(leaf, (len(self._mine), *leaf.shape))
            return jax.device_put(copies, self._sharding)

        return jax.tree.map(copy, tree)

    def unreplicate(self, tree: Any) -> Any:
        """The first device's share: `[devices, …]` becomes `[…]`."""
        # Indexing a mapped array would start a computation on all devices, and a view
        # (asarray) would hold a buffer that the next step is to reuse.
        return jax.tree.map(
            lambda leaf: np.array(leaf.addressable_shards[0].data)[0, ...], tree
        )

    def place(self, batch: Any) -> Any:
        """See `Parallelism`."""
        return jax.device_put(shard(batch, len(self._mine)), self._sharding)

    def vote(self, asked: signal.Signals | None) -> Array:
        """See `Parallelism`."""
        return jax.device_put(_votes(asked, len(self._mine)), self._sharding)

    def shapes(self, state: Any, batch: Any) -> tuple[Any, Any]:
        """See `Parallelism`."""
        mine = len(self._mine)

        def copies(leaf: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((mine, *leaf.shape), leaf.dtype)

        def share(leaf: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((mine, *leaf.shape[1:]), leaf.dtype)

        dealt = shard(batch, mine)
        return jax.tree.map(copies, state), jax.tree.map(share, dealt)


class Sharded:
    """jit over global arrays; parameters and moments copied, or spread over devices."""

    def __init__(self, devices: Devices = None, *, spread: bool = False):
        """Takes `devices`; `spread` shares out large arrays of the state."""
        chosen = list(devices) if devices is not None else jax.devices()
        self.share = share_of_host() if devices is None else WHOLE
        self._num_devices, self._spread = len(chosen), spread
        self._mesh = Mesh(np.array(chosen), (DEVICES,))
        self._rows = NamedSharding(self._mesh, PartitionSpec(DEVICES))
        self._whole = NamedSharding(self._mesh, PartitionSpec())
        self._gather = jax.jit(lambda tree: tree, out_shardings=self._whole)

    def train_step(
        self, task: Task, optimizer: optax.GradientTransformation, **how: Any
    ) -> TrainStep:
        """See `Parallelism`."""
        update = make_update(task, optimizer, shares=self._num_devices, **how)

        def step(
            state: TrainState, batch: Any, votes: Array | None = None
        ) -> tuple[TrainState, Metrics]:
            state, metrics = update(state, batch, votes)
            state = jax.tree.map(
                lambda leaf: jax.lax.with_sharding_constraint(leaf, self._of(leaf)),
                state,
            )
            metrics = jax.lax.with_sharding_constraint(metrics, self._whole)
            return state, metrics

        return jax.jit(step, donate_argnums=(0,))

    def eval_step(self, task: Task) -> EvalStep:
        """See `Parallelism`."""
        return jax.jit(make_judgement(task, mapped=False), out_shardings=self._whole)

    def replicate(self, tree: Any) -> Any:
        """See `Parallelism`."""

        def put(leaf):
            leaf = np.asarray(leaf)
            return jax.make_array_from_callback(
                leaf.shape, self._of(leaf), lambda index: leaf[index]
            )

        return jax.tree.map(put, tree)

    def unreplicate(self, tree: Any) -> Any:
        """See `Parallelism`; what is spread is gathered first."""
        if not all(leaf.is_fully_replicated for leaf in jax.tree.leaves(tree)):
            tree = self._gather(tree)
        return jax.tree.map(
            lambda leaf: np.array(leaf.addressable_shards[0].data), tree
        )

    def place(self, batch: Any) -> Any:
        """See `Parallelism`."""
        shard(batch, self._num_mine)  # Refuses rows that cannot be shared.

        def put(leaf):
            shape = (leaf.shape[0] * self.share.count, *leaf.shape[1:])
            return jax.make_array_from_process_local_data(self._rows, leaf, shape)

        return jax.tree.map(put, batch)

    def vote(self, asked: signal.Signals | None) -> Array:
        """See `Parallelism`."""
        return jax.make_array_from_process_local_data(
            self._rows, _votes(asked, self._num_mine), (self._num_devices, len(ASKING))
        )

    def shapes(self, state: Any, batch: Any) -> tuple[Any, Any]:
        """See `Parallelism`."""

        def of_state(leaf: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=self._of(leaf))

        def of_batch(leaf: Any) -> jax.ShapeDtypeStruct:
            shape = (leaf.shape[0] * self.share.count, *leaf.shape[1:])
            return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=self._rows)

        shard(batch, self._num_mine)  # Refuses rows that cannot be shared.
        return jax.tree.map(of_state, state), jax.tree.map(of_batch, batch)

    @property
    def _num_mine(self) -> int:
        """Devices of this host."""
        return self._mesh.local_mesh.devices.size

    def _of(self, leaf: Any) -> NamedSharding:
        """Where an array of the state lives: spread along the longest axis that can."""
        if not self._spread or leaf.size < SPREAD_FROM:
            return self._whole
        divisible = [
            (length, axis)
            for axis, length in enumerate(leaf.shape)
            if length % self._num_devices == 0
        ]
        if not divisible:
            return self._whole
        _, axis = max(divisible)
        spec = [None] * leaf.ndim
        spec[axis] = DEVICES
        return NamedSharding(self._mesh, PartitionSpec(*spec))


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
            f"has {rows} rows for {num_devices} devices of a host",
            "take a batch size that is a multiple of the devices of all hosts, or fill "
            "the batch up with rows of weight 0",
        )
    return jax.tree.map(
        lambda leaf: leaf.reshape(num_devices, rows // num_devices, *leaf.shape[1:]),
        batch,
    )


def share_of_host() -> Share:
    """The part of each global batch that this host builds and places."""
    # Every host has as many devices as the others, and jax takes them host by host.
    return Share(jax.process_index(), jax.process_count())


def _votes(
    asked: signal.Signals | None, devices: int
) -> Float[np.ndarray, "devices choices"]:
    votes = np.zeros((devices, len(ASKING)), np.float32)
    if asked is not None:
        votes[:, ASKING.index(asked)] = 1
    return votes

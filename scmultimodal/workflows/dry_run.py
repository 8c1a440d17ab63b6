"""What a training would take, told before it is started."""

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scmultimodal.ops import flop
from scmultimodal.tasks.task import Task
from scmultimodal.training import parallel
from scmultimodal.training.config import RunningConfig
from scmultimodal.training.optimizers import (
    OptimizerConfig,
    build_optimizer,
    trainable,
)
from scmultimodal.training.state import TrainState, begin

PRODUCT = 2_048
"""Width of the square matrices whose product tells how fast a device is."""
SHARE = 0.8
"""Of the rate of such products, what a training step reaches (PERFORMANCE.md)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training would take.

    Attributes:
        parameters: {first part of the module's name: how many}.
        devices: of all hosts.
        hosts: processes.
        device: what one device is.
        batch: rows of a batch, over all devices.
        microbatches: parts of a device's share.
        flop: of an average step, over all devices: of the products of a forward pass,
            and twice as many backward; nothing recomputed, nothing frozen.
        bytes: of a device: state and batch, and what a step needs besides.
        compile_seconds: of the step.
        product_flop_per_second: measured, of one device.
        steps: of the training.
        steps_per_epoch: until every row has been seen once, if that has a meaning.
    """

    parameters: dict[str, int]
    devices: int
    hosts: int
    device: str
    batch: int
    microbatches: int
    flop: float
    bytes: dict[str, int]
    compile_seconds: float
    product_flop_per_second: float
    steps: int
    steps_per_epoch: float | None = None

    @property
    def seconds_per_step(self) -> float:
        """Expected; the devices share the work."""
        return self.flop / self.devices / (SHARE * self.product_flop_per_second)


def plan(
    task: Task,
    example: Any,
    *,
    optimizer: OptimizerConfig,
    running: RunningConfig,
    steps: int,
    average: float = 1.0,
    steps_per_epoch: float | None = None,
) -> Plan:
    """Compiles the step and asks what it needs; no parameter is drawn.

    Args:
        task: the objective.
        example: this host's share of a batch of the size that the training would have.
        optimizer: how parameters are updated.
        running: how it runs.
        steps: updates in all.
        average: arithmetic of an average batch, over that of the example.
        steps_per_epoch: see `Plan`.
    """
    params, network_state = jax.eval_shape(task.init, jax.random.PRNGKey(0), example)
    adamw = build_optimizer(optimizer, params, steps)
    options = {"skip_spikes": optimizer.skip_spikes, "average": optimizer.average}

    def start(params: Any, network_state: Any) -> TrainState:
        rng = jax.random.PRNGKey(0)
        return begin(params, network_state, adamw, rng, **options)

    state = jax.eval_shape(start, params, network_state)
    over = parallel.build(running.parallel)
    step = over.train_step(
        task,
        adamw,
        trainable=trainable(optimizer, params),
        microbatches=running.microbatches,
        **options,
    )
    begun = time.monotonic()
    compiled = step.lower(*over.shapes(state, example), over.vote(None)).compile()
    seconds = time.monotonic() - begun
    memory = compiled.memory_analysis()
    parameters: dict[str, int] = {}
    for module, leaves in params.items():
        part = "/".join(module.split("/")[:2]).removesuffix("/~")
        size = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(leaves))
        parameters[part] = parameters.get(part, 0) + size
    of_device = jax.tree.map(
        lambda leaf: leaf[: len(leaf) // jax.local_device_count()], example
    )
    forward = jax.make_jaxpr(functools.partial(task.loss, is_training=False))(
        params, network_state, jax.random.PRNGKey(0), of_device
    )
    return Plan(
        parameters=parameters,
        devices=jax.device_count(),
        hosts=jax.process_count(),
        device=jax.local_devices()[0].device_kind,
        batch=jax.tree.leaves(example)[0].shape[0] * over.share.count,
        microbatches=running.microbatches,
        flop=3 * average * flop.of_products(forward) * jax.device_count(),
        bytes={
            "state and batch": memory.argument_size_in_bytes,
            "besides": memory.temp_size_in_bytes,
        },
        compile_seconds=seconds,
        product_flop_per_second=_product_rate(),
        steps=steps,
        steps_per_epoch=steps_per_epoch,
    )


def format_plan(plan: Plan) -> str:
    """A plan as a table."""
    seconds = plan.seconds_per_step
    lines = {
        f"parameters, {part}": f"{count:,}" for part, count in plan.parameters.items()
    }
    lines["parameters"] = f"{sum(plan.parameters.values()):,}"
    lines["devices"] = f"{plan.devices} × {plan.device} on {plan.hosts} host(s)"
    lines["batch"] = (
        f"{plan.batch:,} rows, {plan.batch // plan.devices:,} a device, in "
        f"{plan.microbatches} part(s)"
    )
    for what, size in plan.bytes.items():
        lines[f"memory of a device, {what}"] = f"{size / 1e6:,.0f} MB"
    lines["arithmetic of a step"] = f"{plan.flop / 1e9:,.1f} GFLOP"
    lines["measured rate of a device"] = (
        f"{plan.product_flop_per_second / 1e9:,.0f} GFLOP/s (product of {PRODUCT}²)"
    )
    lines["compiling"] = f"{plan.compile_seconds:,.1f} s"
    lines["expected time of a step"] = f"{seconds:,.2f} s, at {SHARE:.0%} of that rate"
    if plan.steps_per_epoch is not None:
        lines["expected time of an epoch"] = _duration(seconds * plan.steps_per_epoch)
    lines[f"expected time of {plan.steps:,} steps"] = _duration(seconds * plan.steps)
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines.items())


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:,.1f} min" if minutes < 120 else f"{minutes / 60:,.1f} h"


def _product_rate() -> float:
    """Floating-point operations per second of a large product, the best of five."""
    matrix = jnp.ones((PRODUCT, PRODUCT))
    multiply = jax.jit(jnp.matmul)
    multiply(matrix, matrix).block_until_ready()
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        multiply(matrix, matrix).block_until_ready()
        times.append(time.perf_counter() - begun)
    return 2 * PRODUCT**3 / min(times)

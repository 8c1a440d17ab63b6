"""The training step of this library: its task, its optimiser, its parallelism."""

import time
from typing import Any

import jax
import numpy as np

from experiments.bench import shape as shapes
from experiments.bench.contestants import AbsentError, Contestant
from experiments.bench.shape import Shape
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.modules.performer import PerformerConfig
from scmultimodal.ops import flop
from scmultimodal.schemas.batches import CellBatch
from scmultimodal.tasks.masked_reconstruction import (
    MaskedReconstruction,
    MaskedReconstructionConfig,
)
from scmultimodal.training import parallel
from scmultimodal.training.config import RunningConfig
from scmultimodal.training.optimizers import OptimizerConfig, build_optimizer
from scmultimodal.training.state import begin


def build(*, shape: Shape, devices: int = 1, **path: Any) -> Contestant:
    """Pre-training on RNA.

    Args:
        shape: of the step.
        devices: to split the cells over; a CPU is made into as many.
        **path: of `PerformerConfig`, such as attention, chunk and dtype.
    """
    if devices > 1:
        jax.config.update("jax_num_cpu_devices", devices)
    if jax.local_device_count() < devices:
        raise AbsentError(f"{jax.local_device_count()} of {devices} devices are here")
    task, batch = make_task(shape, path), make_batch(shape)
    params, network_state = jax.jit(task.init)(jax.random.PRNGKey(0), batch)
    optimizer = build_optimizer(OptimizerConfig(), params, num_steps=1000)
    state = begin(params, network_state, optimizer, jax.random.PRNGKey(0))
    over = parallel.build(RunningConfig().parallel, jax.local_devices()[:devices])
    step = over.train_step(task, optimizer)
    as_placed = over.shapes(state, batch)
    begun = time.perf_counter()
    compiled = step.lower(*as_placed).compile()
    seconds = time.perf_counter() - begun
    state, batch = over.replicate(state), over.place(batch)

    def run() -> float:
        nonlocal state
        state, metrics = compiled(state, batch)
        jax.block_until_ready(state)
        total, weight = over.unreplicate(metrics["loss"])
        return float(total / max(weight, 1))

    return Contestant(
        step=run,
        facts={
            "compile_seconds": seconds,
            "temporary_mb": compiled.memory_analysis().temp_size_in_bytes / 1e6,
            "executed_flop": flop.of_products(jax.make_jaxpr(step)(*as_placed)),
        },
    )


def make_task(shape: Shape, path: dict[str, Any]) -> MaskedReconstruction:
    """The objective, for a vocabulary as long as a cell."""
    performer = PerformerConfig(
        dim=shape.dim,
        num_layers=shape.layers,
        num_heads=shape.heads,
        key_size=shape.key_size,
        feed_forward_multiplier=shapes.FEED_FORWARD,
        **path,
    )
    encoder = CellEncoderConfig(
        num_genes=shape.tokens, num_bins=shapes.NUM_BINS, path=performer
    )
    return MaskedReconstruction(
        MaskedReconstructionConfig(encoder=encoder, mask_share=shapes.MASK_SHARE)
    )


def make_batch(shape: Shape) -> CellBatch:
    """Cells with RNA alone, all genes in the vocabulary's order."""
    every = np.ones(shape.cells, bool)
    return CellBatch(
        rna=shapes.random_bins(shape),
        atac=None,
        rna_present=every,
        atac_present=~every,
        gene_ids=None,
        token_mask=None,
        cell_mask=every,
        row=np.arange(shape.cells, dtype=np.int32),
        label=None,
        cell_index=np.arange(shape.cells, dtype=np.int32),
    )

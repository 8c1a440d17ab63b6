"""Trains an example on simulated cells: batches and loop are those of every study."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

from scmultimodal import datasets
from scmultimodal.data.sampling import EpochSampler
from scmultimodal.data.store import Store
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.schemas.modality import Regime
from scmultimodal.tasks.task import Task
from scmultimodal.training import loop
from scmultimodal.training.config import LoopConfig
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.workflows import (
    prepare,
    presets,
    pretrain_batches,
    pretrain_tasks,
)
from scmultimodal.workflows.prepare_config import PrepareConfig

STEPS, BATCH = 80, 32


def run(make_task: Callable[[CellEncoderConfig], Task], folder: Path) -> list[float]:
    """The losses of training batches, each a mean over ten steps."""
    store = _cells(folder / "data")
    small = presets.SMALL.pretrain
    path = dataclasses.replace(small.path, dim=16, num_layers=1)
    config = dataclasses.replace(small, path=path, tokens="all", buckets=None)
    builder = pretrain_batches.make_builder(store, config)
    sampler = EpochSampler(store.split("train"), BATCH, seed=0)
    result = loop.fit(
        make_task(pretrain_tasks.encoder_config(store, config)),
        train_batches=lambda step, share: builder.build(
            sampler.batch(step), Regime.RNA, step=step, with_labels=True, share=share
        ),
        config=LoopConfig(num_steps=STEPS),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=5),
        folder=folder / "run",
    )
    return [r["loss"] for r in result.history if r["split"] == "train"]


def show(make_task: Callable[[CellEncoderConfig], Task]) -> None:
    """Prints the losses."""
    with tempfile.TemporaryDirectory() as folder:
        for number, loss in enumerate(run(make_task, Path(folder)), 1):
            print(f"steps to {10 * number}: loss {loss:.4f}")


def _cells(folder: Path) -> Store:
    data = datasets.simulate_multiome(num_cells=300, num_genes=40, num_cell_types=3)
    return prepare.run(
        data,
        datasets.simulated_genes(data),
        PrepareConfig(label="cell_type"),
        folder,
        provenance={"name": "simulated", "simulated": True},
    )

"""What a step of pre-training takes, on real batches of one device."""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import tqdm

from scmultimodal.data.store import Store
from scmultimodal.schemas.modality import MODALITIES
from scmultimodal.training import parallel, state
from scmultimodal.training.optimizers import build_optimizer, shorten_warmup
from scmultimodal.workflows import pretrain, pretrain_batches, pretrain_tasks
from scmultimodal.workflows.pretrain_config import PretrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepCost:
    """Of the steps of one configuration.

    Attributes:
        seconds: median of the turns; a turn is one step of each kind of batch.
        temporary_mb: what the dearest of them needs beside state and batch.
        tokens: of a cell, padding too; mean over the kinds.
    """

    seconds: float
    temporary_mb: float
    tokens: float


def measure(
    store: Store, numbers: Mapping[str, PretrainConfig], *, turns: int
) -> dict[str, StepCost]:
    """Times configurations side by side: they alternate, and none works meanwhile."""
    contestants = {name: _Steps(store, config) for name, config in numbers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for steps in contestants.values():
        steps.turn()
    rounds = list(itertools.product(range(turns), contestants))
    for _, name in tqdm.tqdm(rounds, desc="time steps", unit="turn"):
        seconds[name].append(contestants[name].turn())
    return {
        name: StepCost(
            seconds=statistics.median(seconds[name]),
            temporary_mb=steps.temporary_mb,
            tokens=steps.tokens,
        )
        for name, steps in contestants.items()
    }


class _Steps:
    """Compiled steps, one for each kind of batch, and the state that they pass on."""

    def __init__(self, store: Store, config: PretrainConfig):
        task = pretrain_tasks.make_task(store, config)
        builder = pretrain_batches.make_builder(store, config)
        fresh = pretrain.initial(task, store, builder, config)
        numbers = shorten_warmup(config.optimizer, config.steps)
        optimizer = build_optimizer(numbers, fresh[0], config.steps)
        first = state.begin(*fresh, optimizer, jax.random.PRNGKey(config.seed))
        draw = pretrain_batches.mixed_batches(store, builder, config)
        kinds = range(len(pretrain_batches.regimes_of(store, "train")))
        batches = [draw(step) for step in kinds]
        over = parallel.build("jit", jax.local_devices()[:1])
        step = over.train_step(task, optimizer)
        compiled = [
            step.lower(*over.shapes(first, batch)).compile() for batch in batches
        ]
        self.temporary_mb = max(
            one.memory_analysis().temp_size_in_bytes / 1e6 for one in compiled
        )
        self.tokens = float(np.mean([_tokens(batch) for batch in batches]))
        self._state = over.replicate(first)
        self._steps: list[tuple[Callable[..., Any], Any]] = [
            (one, over.place(batch))
            for one, batch in zip(compiled, batches, strict=True)
        ]

    def turn(self) -> float:
        """Seconds of a step, the mean over one of each kind."""
        begun = time.perf_counter()
        for step, batch in self._steps:
            self._state, _ = step(self._state, batch)
        jax.block_until_ready(self._state)
        return (time.perf_counter() - begun) / len(self._steps)


def _tokens(batch: Any) -> int:
    return next(v.shape[1] for m in MODALITIES if (v := getattr(batch, m)) is not None)

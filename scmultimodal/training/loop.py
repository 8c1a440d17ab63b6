"""The loop: batches by step in, a trained state and its history out."""

import contextlib
import dataclasses
import math
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tqdm

from scmultimodal.data.prefetch import prefetch
from scmultimodal.data.sampling import WHOLE, Share
from scmultimodal.schemas.errors import (
    InputError,
    PreemptedError,
    TrainingDivergedError,
)
from scmultimodal.tasks.task import Task
from scmultimodal.training import hosts, interrupts, parallel, programs, validation
from scmultimodal.training.config import LoopConfig, RunningConfig
from scmultimodal.training.metrics import Averages
from scmultimodal.training.optimizers import (
    OptimizerConfig,
    build_optimizer,
    build_schedule,
    trainable,
)
from scmultimodal.training.run_folder import RunFolder
from scmultimodal.training.state import TrainState, begin
from scmultimodal.training.step import VOTES

TrainBatches = Callable[[int, Share], Any]
"""(step, the part that is wanted) -> batch, a pure function: resuming needs the step
alone, and every host builds no more than its own part."""
ValidationBatches = Callable[[Share], Iterable[Any]]
"""Starts the same pass over the validation set each time."""
Derive = Callable[[dict[str, Any]], dict[str, float]]
"""What follows from the means of a validation and is no mean itself, such as MCC."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a training leaves behind.

    Attributes:
        state: host arrays; parameters are the running mean where there is one. With
            `keep_best`, parameters and network state are those of the best validation;
            the rest is that of the last step.
        history: the records of `metrics.jsonl`, those before a resume included.
        best_step: step of the best validation, None without `keep_best`.
    """

    state: TrainState
    history: list[dict]
    best_step: int | None


def fit(
    task: Task,
    *,
    train_batches: TrainBatches,
    config: LoopConfig,
    folder: Path,
    validation_batches: ValidationBatches | None = None,
    optimizer: OptimizerConfig | None = None,
    initial: tuple[Any, Any] | None = None,
    run_config: dict | None = None,
    running: RunningConfig | None = None,
    derive: Derive | None = None,
    describe: str = "train",
    devices: parallel.Devices = None,
) -> TrainResult:
    """Trains a task, resuming where the folder has a checkpoint.

    Args:
        task: the objective.
        train_batches: see there. Called in a thread, ahead of the step.
        config: how long, and what to keep.
        folder: gets `metrics.jsonl`, `checkpoints/` and, with `keep_best`, `best/`.
        validation_batches: see there; None validates nothing.
        optimizer: how parameters are updated.
        initial: (params, network_state) to start from; None asks the task.
        run_config: all else that the result depends on, as JSON has it. It is kept in
            the checkpoints, and a resume under another is refused.
        running: how it runs; a resume may choose anew.
        derive: further metrics of a validation, see there.
        describe: what the progress bar says.
        devices: None takes those of all hosts.

    Raises:
        InputError: a checkpoint of another configuration, or a damaged one, or one that
            cannot be written.
        TrainingDivergedError: a loss or gradient that is not finite.
        KeyboardInterrupt: after Ctrl-C, once a checkpoint is saved.
        PreemptedError: after SIGTERM, once a checkpoint is saved.
    """
    programs.let_go()
    running = running or RunningConfig()
    if config.keep_best and validation_batches is None:
        raise InputError(
            "LoopConfig.keep_best",
            f"is {config.keep_best!r}, but there is no validation",
            "give validation_batches, or keep_best=None",
        )
    optimizer = optimizer or OptimizerConfig()
    settings = {
        "run": run_config or {},
        "optimizer": dataclasses.asdict(optimizer),
        "num_steps": config.num_steps,
        "seed": config.seed,
    }
    run_folder = RunFolder(
        folder,
        settings,
        keep=running.keep_checkpoints,
        asynchronous=running.asynchronous_saves,
        writes=hosts.is_main(),
        tensorboard=running.tensorboard,
    )
    with contextlib.closing(run_folder):
        state = _initial_state(task, config, optimizer, initial, train_batches)
        newest = hosts.of_main(run_folder.checkpoints.latest_step or 0) or None
        state, window = run_folder.open(state, newest, resume=config.resume == "auto")
        over = parallel.build(running.parallel, devices)
        run = _Run(task, config, running, optimizer, run_folder, over, window, derive)
        state = run.train(state, train_batches, validation_batches, describe)
        run_folder.checkpoints.wait()
        hosts.barrier("trained")
        state, best = over.unreplicate(state), None
        state = state.replace(params=state.judged)
        if config.keep_best:
            state, best = run_folder.with_best(state)
        return TrainResult(
            state=state, history=run_folder.metrics.history, best_step=best
        )


def _initial_state(
    task: Task,
    config: LoopConfig,
    optimizer: OptimizerConfig,
    initial: tuple[Any, Any] | None,
    train_batches: TrainBatches,
) -> TrainState:
    """The state before the first step, on the host."""
    init_rng, rng = jax.random.split(jax.random.PRNGKey(config.seed))
    if initial is not None:
        params, network_state = initial
    else:
        params, network_state = jax.jit(task.init)(init_rng, train_batches(0, WHOLE))
    adamw = build_optimizer(optimizer, params, config.num_steps)
    start = jax.jit(
        lambda params, network_state: begin(
            params,
            network_state,
            adamw,
            rng,
            skip_spikes=optimizer.skip_spikes,
            average=optimizer.average,
        )
    )
    return jax.tree.map(np.asarray, start(params, network_state))


class _Run:
    """The steps of one training."""

    def __init__(
        self,
        task: Task,
        config: LoopConfig,
        running: RunningConfig,
        optimizer: OptimizerConfig,
        folder: RunFolder,
        over: parallel.Parallelism,
        window: Averages,
        derive: Derive | None,
    ):
        self.task, self.config, self.running = task, config, running
        self.optimizer = optimizer
        self.folder, self.over, self.window = folder, over, window
        self.derive = derive or (lambda means: {})
        self.schedule = build_schedule(optimizer, config.num_steps)
        self.judge = over.eval_step(task)

    def train(
        self,
        state: TrainState,
        train_batches: TrainBatches,
        validation_batches: ValidationBatches | None,
        describe: str,
    ) -> TrainState:
        """Steps from where `state` stands to the end; returns the last, replicated."""
        start, stop = int(state.step), self.config.num_steps
        optimizer = build_optimizer(self.optimizer, state.params, stop)
        moving = trainable(self.optimizer, state.params)
        update = self.over.train_step(
            self.task,
            optimizer,
            trainable=moving,
            microbatches=self.running.microbatches,
            skip_spikes=self.optimizer.skip_spikes,
            average=self.optimizer.average,
        )
        state = self.over.replicate(state)

        building = threading.Lock()  # What batches are read from may serve one thread.

        def build(step: int) -> Any:
            with building:
                batch = train_batches(step, self.over.share)
            return self.over.place(batch)

        def whole(step: int) -> Any:
            with building:
                return train_batches(step, WHOLE)

        batches = contextlib.closing(prefetch(build, start, stop - start))
        bar = tqdm.tqdm(
            initial=start,
            total=stop,
            desc=describe,
            disable=None if hosts.is_main() else True,
        )
        with bar, interrupts.deferred() as asked_to_stop, batches as steps:
            late = None
            for step, batch in enumerate(steps, start):
                asked = asked_to_stop()
                state, metrics = update(state, batch, self.over.vote(asked))
                # The metrics of the step before: the device is not waited for.
                stopping = self._settle(late, whole)
                late = (step, metrics)
                due = self._due(step + 1)
                if due or stopping:
                    stopping = self._settle(late, whole) or stopping
                    late = None
                    due |= {"save"} if stopping else set()
                    self._pause(step + 1, state, due, validation_batches)
                bar.update()
                if stopping:
                    self.folder.checkpoints.wait()
                    hosts.barrier("stopped")
                    preempted = stopping is signal.SIGTERM
                    raise (PreemptedError if preempted else KeyboardInterrupt)(
                        f"stopped after step {step + 1} of {stop}; the checkpoint is "
                        "saved, and the same call goes on from there"
                    )
        return state

    def _due(self, done: int) -> set[str]:
        """What is to happen after `done` steps."""
        every = {
            "validate": self.config.evaluate_every,
            "save": self.config.checkpoint_every,
        }
        last = done == self.config.num_steps
        return {name for name, n in every.items() if last or (n and done % n == 0)}

    def _settle(
        self, late: tuple[int, Any] | None, batch_of: Callable[[int], Any]
    ) -> signal.Signals | None:
        """Takes in the metrics of a step: fails if not finite, logs if it is time.

        Returns the signal by which a host was asked to stop, if any was by then.
        """
        if late is None:
            return None
        step, metrics = late
        metrics = self.over.unreplicate(metrics)
        asked = parallel.result_of_vote(metrics.pop(VOTES))
        (loss, weight), (norm, _) = metrics["loss"], metrics["grad_norm"]
        if not (math.isfinite(loss) and math.isfinite(norm)):
            saved = self.folder.report_batch(step, batch_of, "diverged")
            hosts.barrier("diverged")
            mean = float(loss / weight) if weight else math.nan
            raise TrainingDivergedError(step, mean, float(norm), saved)
        if metrics.get("skipped", (0, 0))[0]:
            self.folder.report_batch(step, batch_of, "skipped")
        self.window.add(metrics)
        done = step + 1
        if done % self.config.log_every == 0 or done == self.config.num_steps:
            rate = {"learning_rate": self.schedule(step)}
            self.folder.metrics.write(done, "train", self.window.means() | rate)
            self.window = Averages()
        return asked

    def _pause(
        self,
        done: int,
        state: TrainState,
        due: set[str],
        validation_batches: ValidationBatches | None,
    ) -> None:
        """Validates and saves, whichever is due, in this order."""
        if "validate" in due and validation_batches is not None:
            self._validate(done, state, validation_batches(self.over.share))
        if "save" in due:
            self.folder.save(done, self.over.unreplicate(state), self.window)

    def _validate(self, done: int, state: TrainState, batches: Iterable[Any]) -> None:
        """Judges, records, and keeps the state if it is the best so far."""
        means = validation.average(
            self.judge, state.judged, state.network_state, batches, self.over
        )
        means |= self.derive(means)
        self.folder.metrics.write(done, "validation", means)
        name = self.config.keep_best
        if not name:
            return
        if name not in means:
            raise InputError(
                "LoopConfig.keep_best",
                f"{name!r} is no metric of the validation",
                f"take one of {', '.join(means)}",
            )
        if self.folder.is_best(means[name], 1 if self.config.best_is == "max" else -1):
            kept = {"params": state.judged, "network_state": state.network_state}
            self.folder.save_best(done, self.over.unreplicate(kept), means[name])

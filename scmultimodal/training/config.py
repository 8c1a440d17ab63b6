"""How long to train, and how a training runs."""

import dataclasses
import typing
from typing import Literal

from scmultimodal.schemas.errors import InputError

ParallelName = Literal["pmap", "jit", "fsdp"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long to train, and what to keep.

    Attributes:
        num_steps: updates in all.
        seed: of initial parameters and of the randomness of steps.
        evaluate_every: steps between validations; None validates after the last step.
        checkpoint_every: steps between checkpoints; None saves after the last step.
        log_every: steps that one training record averages over.
        keep_best: validation metric that chooses the state to return; None = the last.
        best_is: whether the best is the largest or the smallest.
        resume: `auto` goes on from the newest checkpoint in the folder; `never` refuses
            a folder that has one.
    """

    num_steps: int
    seed: int = 0
    evaluate_every: int | None = None
    checkpoint_every: int | None = None
    log_every: int = 10
    keep_best: str | None = None
    best_is: Literal["max", "min"] = "max"
    resume: Literal["auto", "never"] = "auto"

    def __post_init__(self):
        for name in ("num_steps", "evaluate_every", "checkpoint_every", "log_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(
                    f"LoopConfig.{name}", f"is {value}", "must be positive"
                )
        for name, choices in (("best_is", "max min"), ("resume", "auto never")):
            if getattr(self, name) not in choices.split():
                value, rule = getattr(self, name), choices.replace(" ", " or ")
                raise InputError(f"LoopConfig.{name}", f"is {value!r}", f"take {rule}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunningConfig:
    """How a training runs: none of it changes what is learned, but for rounding.

    Attributes:
        parallel: "pmap"; or "jit", the same update over global arrays; or "fsdp", which
            also spreads parameters and moments over the devices, for encoders too large
            for one.
        microbatches: parts of a device's batch, worked on one after the other; memory
            is that of a part.
        keep_checkpoints: how many, the newest.
        asynchronous_saves: checkpoints are written behind the training; a process that
            is killed meanwhile loses the one under way.
        tensorboard: metrics are written for TensorBoard too (extra `log`).
    """

    parallel: ParallelName = "pmap"
    microbatches: int = 1
    keep_checkpoints: int = 3
    asynchronous_saves: bool = False
    tensorboard: bool = False

    def __post_init__(self):
        if self.parallel not in typing.get_args(ParallelName):
            raise InputError(
                "RunningConfig.parallel",
                f"is {self.parallel!r}",
                f"take {', '.join(typing.get_args(ParallelName))}",
            )
        for name in ("microbatches", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"RunningConfig.{name}",
                    f"is {getattr(self, name)}",
                    "must be positive",
                )

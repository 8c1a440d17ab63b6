"""Run as a child process: one host of a small training, with the role it is given.

    python -m tests.training.one_host FOLDER STEPS [--linger] [--die-at-touch N]
        [--asynchronous] [--parallel NAME]

It says "saved N" when a save returns, and at the end "touches N": how often saves have
touched the disk. With --linger it says "batch N" at each batch,
the first of all being that which parameters are made from, and waits for a line.
"""

import argparse
import itertools
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import jax

from scmultimodal.data.sampling import Share
from scmultimodal.training import hosts, meeting, parallel
from scmultimodal.training.checkpoints import CheckpointManager
from scmultimodal.training.config import LoopConfig, RunningConfig
from scmultimodal.training.loop import fit
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.workflows import process
from tests.regression import RegressionTask, part_of, regression_batch

TOUCHES = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir"}
"""What Python audits of the disk."""


def say(line: str) -> None:
    """Prints a line at once: another thread may say something too."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def watch_saves(die_at: int) -> Iterator[int]:
    """Says what is saved; ends as by `kill -9` at this touch of the disk by saves.

    Returns what counts the touches, from 1.
    """
    save, write = CheckpointManager.save, CheckpointManager._save
    writing, touches = threading.Event(), itertools.count(1)

    def told(manager, step, *arguments):
        save(manager, step, *arguments)
        if manager.folder.name == "checkpoints":
            say(f"saved {step}")

    def watched(manager, *arguments):
        writing.set()
        write(manager, *arguments)
        writing.clear()

    def touch(event, _):
        if event in TOUCHES and writing.is_set() and next(touches) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    CheckpointManager.save, CheckpointManager._save = told, watched
    sys.addaudithook(touch)
    return touches


def work() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("steps", type=int)
    parser.add_argument("--linger", action="store_true")
    parser.add_argument("--die-at-touch", type=int, default=0)
    parser.add_argument("--asynchronous", action="store_true")
    parser.add_argument("--parallel", default="pmap")
    given = parser.parse_args()
    touches = watch_saves(given.die_at_touch)
    # Else nothing of so small a network would be spread.
    parallel.SPREAD_FROM = 1
    role = meeting.from_environment()
    if role is not None:
        hosts.join(role, {"command": " ".join(sys.argv[1:])})

    def batches(step: int, share: Share):
        if given.linger:
            say(f"batch {step}")
            sys.stdin.readline()
        return part_of(regression_batch(step), share)

    fit(
        RegressionTask(),
        train_batches=batches,
        validation_batches=lambda share: [part_of(regression_batch(100), share)],
        config=LoopConfig(
            num_steps=given.steps,
            evaluate_every=3,
            checkpoint_every=4,
            keep_best="loss",
            best_is="min",
        ),
        optimizer=OptimizerConfig(learning_rate=0.05),
        running=RunningConfig(
            parallel=given.parallel, asynchronous_saves=given.asynchronous
        ),
        folder=given.folder,
    )
    say(f"touches {next(touches) - 1}")
    say(f"done on {jax.device_count()} devices")


if __name__ == "__main__":
    sys.exit(process.run(work, name="one_host", debug=False))

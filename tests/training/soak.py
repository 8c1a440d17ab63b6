"""Run as a child process: a training that says at each validation what it holds.

    python -m tests.training.soak FOLDER EVERY [--steps N] [--seconds S]

It validates and saves every so many steps. A line is a JSON object of {"step", "files",
"arrays", "threads", "resident_mb"}. After so many seconds it asks itself to end, as a
scheduler would.
"""

import argparse
import gc
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import jax

from scmultimodal.training.checkpoints import CheckpointManager
from scmultimodal.training.config import LoopConfig, RunningConfig
from scmultimodal.training.loop import fit
from scmultimodal.workflows import process
from tests.regression import RegressionTask, regression_batch


def holds() -> dict[str, float]:
    """What is held between saves: how far one has got is a matter of the machine."""
    for item in gc.get_objects():
        if type(item) is CheckpointManager:
            item.wait()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "arrays": len(jax.live_arrays()),
        "threads": threading.active_count(),
        "resident_mb": pages * resource.getpagesize() / 2**20,
    }


def work() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("every", type=int)
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    given = parser.parse_args()
    deadline = time.monotonic() + given.seconds
    validations = 0

    def batch(step: int):
        # 128 KB: that none of them is kept shows in the memory.
        return regression_batch(step, rows=512, features=64)

    def validation_batches(share):
        nonlocal validations
        validations += 1
        print(json.dumps({"step": given.every * validations, **holds()}), flush=True)
        if time.monotonic() > deadline:
            signal.raise_signal(signal.SIGTERM)
        return [batch(0), batch(1)]

    fit(
        RegressionTask(width=64),
        train_batches=lambda step, share: batch(step),
        validation_batches=validation_batches,
        config=LoopConfig(
            num_steps=given.steps,
            evaluate_every=given.every,
            checkpoint_every=given.every,
            log_every=given.every,
            keep_best="loss",
            best_is="min",
        ),
        running=RunningConfig(asynchronous_saves=True),
        folder=given.folder,
    )


if __name__ == "__main__":
    sys.exit(process.run(work, name="soak", debug=False))

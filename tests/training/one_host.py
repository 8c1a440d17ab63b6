"""Run as a child process: one host of a small training, with the role it is given.

    python -m tests.training.one_host FOLDER STEPS [--linger] [--jit | --fsdp]

With --linger it says "batch N" at each batch, and waits for a line of stdin.
"""

import sys
from pathlib import Path

import jax

from scmultimodal.training import hosts, meeting, parallel
from scmultimodal.training.config import LoopConfig, RunningConfig
from scmultimodal.training.loop import fit
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.workflows import process
from tests.regression import RegressionTask, regression_batch


def work() -> None:
    folder, steps, *rest = sys.argv[1:]
    # Else nothing of so small a network would be spread.
    parallel.SPREAD_FROM = 1
    role = meeting.from_environment()
    if role is not None:
        hosts.join(role, {"command": " ".join(sys.argv[1:])})

    def batches(step: int):
        if "--linger" in rest:
            print(f"batch {step}", flush=True)
            sys.stdin.readline()
        return regression_batch(step)

    fit(
        RegressionTask(),
        train_batches=batches,
        validation_batches=lambda: [regression_batch(100)],
        config=LoopConfig(
            num_steps=int(steps), evaluate_every=3, checkpoint_every=4, keep_best="loss"
        ),
        optimizer=OptimizerConfig(learning_rate=0.05),
        running=RunningConfig(
            parallel="jit"
            if "--jit" in rest
            else "fsdp"
            if "--fsdp" in rest
            else "pmap"
        ),
        folder=Path(folder),
    )
    print(f"done on {jax.device_count()} devices", flush=True)


if __name__ == "__main__":
    sys.exit(process.run(work, name="one_host", debug=False))

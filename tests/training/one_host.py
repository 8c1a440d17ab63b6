"""Run as a child process: one host of a small training, with the role it is given.

    python -m tests.training.one_host FOLDER STEPS [--linger]

It says "step N" after each step; with --linger it waits for a line of stdin at each.
"""

import sys
from pathlib import Path

import jax

from scmultimodal.training import hosts, meeting
from scmultimodal.training.config import LoopConfig
from scmultimodal.training.loop import fit
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.workflows import process
from tests.builders import RegressionTask, regression_batch


def work() -> None:
    folder, steps, *rest = sys.argv[1:]
    role = meeting.from_environment()
    if role is not None:
        hosts.join(role, {"command": " ".join(sys.argv[1:])})

    def batches(step: int):
        if rest == ["--linger"]:
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
        folder=Path(folder),
    )
    print(f"done on {jax.device_count()} devices", flush=True)


if __name__ == "__main__":
    sys.exit(process.run(work, name="one_host", debug=False))

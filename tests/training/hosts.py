"""Processes of a training, and what they leave: shared by the tests that end them."""

import contextlib
import os
import re
import subprocess
import sys
import threading

import jax
import numpy as np

from tests.builders import checkpoint_arrays, records_without_times

PATIENCE = 120
"""Seconds after which a process that should have ended is a failure."""


class Host:
    """A process of a training, and what it has said."""

    def __init__(self, arguments, role, devices):
        environment = {
            k: v for k, v in os.environ.items() if "SCMULTIMODAL_HOST" not in k
        }
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.one_host", *map(str, arguments)],
            env=environment | role | {"JAX_NUM_CPU_DEVICES": str(devices)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def go_on(self, lines):
        """Lets it take so many batches, the one that parameters are made from too."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("\n" * lines)
            self.process.stdin.flush()

    def until_batch(self, number):
        """Reads on until it asks for a batch: the first it asks for is number 0."""
        too_late = threading.Timer(PATIENCE, self.process.kill)
        too_late.start()
        try:
            for line in self.process.stdout:
                self.said += line
                if len(self.numbers("batch")) > number:
                    return
        finally:
            too_late.cancel()
        raise AssertionError(self.said)

    def until_there(self, path):
        """Returns once a file is there; fails if the process ends before."""
        for _ in range(10 * PATIENCE):
            if path.exists():
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"it ended with {self.process.wait(0.1)}")
        raise AssertionError(f"{path} did not come within {PATIENCE} s")

    def end(self, within=PATIENCE):
        """(status, all that it said); one that waits for a line gets none."""
        status = self.process.wait(within)
        self.said += self.process.stdout.read()
        return status, self.said

    def numbers(self, word):
        """Those of the lines "word N"."""
        found = re.findall(rf"^{word} (\d+)$", self.said, re.MULTILINE)
        return [int(number) for number in found]


def run(*words, devices=1):
    """Runs a program to its end, which must be good."""
    found = subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def take(hosts, batches):
    """Lets all take so many batches; returns when they have, and ask for more."""
    for host in hosts:
        host.go_on(batches)
    for host in hosts:
        host.until_batch(batches)


def newest(run):
    """The last step that is saved in full; 0 if none is."""
    whole = (run / "checkpoints").glob("*/manifest.json")
    return max((int(path.parent.name) for path in whole), default=0)


def assert_same_end(run, whole):
    """Parameters, moments, RNG, position, records, and the best: bit for bit."""
    steps = newest(whole)
    metadata = [
        (folder / "checkpoints" / str(steps) / "metadata.json").read_text()
        for folder in (run, whole)
    ]
    assert metadata[0] == metadata[1]
    for kind in ("checkpoints", "best"):
        one, two = checkpoint_arrays(run, kind), checkpoint_arrays(whole, kind)
        assert max(one) == max(two)
        jax.tree.map(np.testing.assert_array_equal, one[max(one)], two[max(two)])
    assert records_without_times(run) == records_without_times(whole)

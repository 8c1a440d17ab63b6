"""A long training holds no more at its end than soon after its start."""

import json
import subprocess
import sys

import numpy as np
import pytest

from scmultimodal.schemas.status import Status
from tests.training.hosts import PATIENCE, newest

SECONDS = 600
STEPS = 400
HELD = ("files", "arrays", "threads")
GROW_MB = 8
"""The history of metrics is kept, 0.5 KB a record; and Spec.to_json of tensorstore
0.1.86, by which Orbax saves, leaks 0.3 KB a call: some 10 KB a save of this state."""


def soak(folder, *arguments, seconds=0):
    """(status, {what: [count at each validation]})"""
    words = [sys.executable, "-m", "tests.training.soak", folder, *arguments]
    done = subprocess.run(
        list(map(str, words)),
        stdout=subprocess.PIPE,
        text=True,
        timeout=seconds + PATIENCE,
    )
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {
        what: np.array([record[what] for record in records]) for what in records[0]
    }


def grown(counts):
    """By how much the last third of the time has more than the third before."""
    _, before, last = np.array_split(counts, 3)
    return np.median(last) - np.median(before)


def test_files_arrays_and_threads_do_not_pile_up(tmp_path, tally):
    status, held = soak(tmp_path / "run", 10, "--steps", STEPS)
    assert status == Status.DONE
    assert newest(tmp_path / "run") == STEPS
    for what in HELD:
        assert grown(held[what]) <= 0, held[what]
    tally(f"{STEPS} steps, {summary(held)}")


@pytest.mark.long
def test_ten_minutes_do_not_grow(tmp_path, tally):
    status, held = soak(tmp_path / "run", 100, "--seconds", SECONDS, seconds=SECONDS)
    assert status == Status.RESTART_ME
    for what in HELD:
        assert grown(held[what]) <= 0, held[what]
    assert grown(held["resident_mb"]) < GROW_MB, held["resident_mb"]
    tally(f"{SECONDS} s, {newest(tmp_path / 'run')} steps, {summary(held)}")


def summary(held):
    """From what to what each went, from the second third to the last."""
    thirds = {what: np.array_split(counts, 3)[1:] for what, counts in held.items()}
    return ", ".join(
        f"{what} {np.median(before):.0f} -> {np.median(last):.0f}"
        for what, (before, last) in thirds.items()
        if what != "step"
    )

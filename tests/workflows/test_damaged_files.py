"""Bits that flip in real files, and files that end early.

A file is refused, or the store is the same, or one value of it is another: that of the
file which nothing checks. Whatever it is, no more than the process that reads is lost.
"""

import os
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import runners
from tests.workflows.malformed import BYTES, SAME, Difference

HDF5 = ("rna", "atac", "csc", "dense", "both", "h5")
TEXT = ("matrix.mtx", "barcodes.tsv", "features.tsv", "table", "fragments")
TEXT += ("peaks", "cells", "genes", "gtf", "chain")
ZIPPED = ("zipped", "old", "all_fragments", "all_peaks", "all_genes", "whole_chain")
FORMATS = (*HDF5, *TEXT, *ZIPPED)
FLIPS, CUTS = 2, 1


def flipped(random, content):
    content = bytearray(content)
    content[random.integers(len(content))] ^= 1 << random.integers(8)
    return bytes(content)


def truncated(random, content):
    return content[: random.integers(len(content))]


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize(
    ("flips", "cuts"),
    [(FLIPS, CUTS), pytest.param(40, 10, marks=pytest.mark.long)],
)
def test_damage(bench, small, tmp_path, workers, tally, source, flips, cuts):
    """Text that nobody has packed may end after any line: only flips are looked at."""
    random, crashes = np.random.default_rng(flips), workers.crashes
    path = small.file(source)
    content, whole = path.read_bytes(), bench.whole(small, source)
    refused = same = other = 0
    cuts = 0 if source in TEXT and source != "matrix.mtx" else cuts
    for number, damage in enumerate([flipped] * flips + [truncated] * cuts):
        folder = tmp_path / str(number)
        new = damage(random, content)
        outcome = bench.prepare(*small.with_other(source, new, folder))
        if outcome.store is None:
            assert path.name in outcome.said or str(folder) in outcome.said
            refused += 1
            continue
        difference = Difference.between(whole, outcome.store)
        assert difference.is_of_one_value, (number, difference)
        same, other = same + (difference == SAME), other + (difference != SAME)
        shutil.rmtree(outcome.store.path)
    tally(
        f"{flips} flips of bits and {cuts} cuts of {path.name}: {refused} refused; "
        f"harmless: {same} the same store, {other} one value another; "
        f"{workers.crashes - crashes} crashes, {workers.peak_bytes() >> 20} MiB at most"
    )


def crash(_, path):
    os.kill(os.getpid(), signal.SIGSEGV)


def crash_or_wait(_, path):
    crash(_, path) if path.stem == "bad" else threading.Event().wait()


def swell(_, size):
    return len(bytearray(size))


def test_a_process_that_crashes_takes_no_other_with_it(workers):
    before = workers.crashes
    with (
        workers.processes() as runner,
        pytest.raises(InputError, match=r"x\.h5ad: the process that read it .*crashed"),
    ):
        list(runner.map(crash, None, [Path("x.h5ad")]))
    assert workers.crashes == before + 1
    assert workers.peak_bytes() == 0
    with workers.processes() as runner:
        assert list(runner.map(pow, 2, [5])) == [32]


def test_a_crash_is_not_laid_at_the_door_of_another_alone():
    """A pool does not say which of its processes it was."""
    paths = [Path("good.h5ad"), Path("bad.h5ad"), Path("other.h5ad")]
    with runners.processes(2) as runner, pytest.raises(InputError) as error:
        list(runner.map(crash_or_wait, None, paths))
    assert error.value.source == "good.h5ad or bad.h5ad"


def test_the_memory_of_the_process_has_a_limit(workers):
    with workers.processes() as runner:
        assert list(runner.map(swell, None, [2**20])) == [2**20]
        with pytest.raises(MemoryError):
            list(runner.map(swell, None, [BYTES]))

"""A genome of 3 Gb with 200,000 peaks, prepared within 2 GB of memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scmultimodal.data.region_store import RegionStore
from tests import builders

CHROMOSOMES = [f"chr{name}" for name in (*range(1, 23), "X", "Y")]
GENOME_BP, PEAKS = 3_000_000_000, 200_000
SAMPLES = ("T", "B", "NK")
MEMORY = 2 * 1024**3
LINE = 60


def write_fasta(path: Path, length: int) -> None:
    """Chromosomes of one length; the letters repeat after some Mb."""
    block = builders.fasta({"x": builders.dna(LINE << 16)}, width=LINE)[3:]
    with path.open("wb") as file:
        for name in CHROMOSOMES:
            file.write(f">{name}\n".encode())
            left = (length + LINE - 1) // LINE * (LINE + 1)
            for _ in range(left // len(block)):
                file.write(block)
            file.write(block[: left % len(block)])


def write_tracks(path: Path, length: int, peaks: int) -> None:
    """Peaks in pairs, some hundred bp apart, as promoters and their neighbours are."""
    rng = np.random.default_rng(0)
    pairs = peaks // len(CHROMOSOMES) // 2 + 1
    first = length // pairs * np.arange(pairs) + rng.integers(0, 5_000, pairs)
    start = np.stack([first, first + rng.integers(700, 2_000, pairs)], axis=1).ravel()
    tables = []
    for name in CHROMOSOMES:
        frame = pd.DataFrame({"chrom": name, "start": start})
        frame["end"] = start + rng.integers(200, 700, len(start))
        for sample in SAMPLES:
            is_open = rng.random(len(start)) < 0.8
            frame[sample] = (rng.gamma(2, 1, len(start)) * is_open).round(3)
        tables.append(frame)
    pd.concat(tables).to_csv(path, sep="\t", index=False)


MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_memory(command: list[str]) -> int:
    """Runs a command; the most bytes that it held at once.

    A process counts what its parent held when it was started: a small one stands
    between this one and the command.
    """
    measured = [sys.executable, "-c", MEASURE, *command]
    shown = subprocess.run(measured, check=True, stdout=subprocess.PIPE, text=True)
    most = int(shown.stdout.splitlines()[-1])
    return most * (1 if sys.platform == "darwin" else 1024)


@pytest.fixture
def fasta(tmp_path):
    """Some 3 GB, which no finished test should keep."""
    path = tmp_path / "genome.fa"
    write_fasta(path, GENOME_BP // len(CHROMOSOMES))
    yield path
    path.unlink()


@pytest.mark.long
def test_a_human_genome_fits(fasta, tmp_path):
    length = GENOME_BP // len(CHROMOSOMES)
    tracks, out = tmp_path / "tracks.tsv", tmp_path / "out"
    write_tracks(tracks, length, PEAKS)
    assert fasta.stat().st_size > GENOME_BP
    command = [sys.executable, "-m", "scmultimodal", "prepare-ranking"]
    command += ["--fasta", str(fasta), "--tracks", str(tracks), "--out", str(out)]
    most = peak_memory(command)
    print(f"{most / 1024**2:,.0f} MB at most")
    assert most < MEMORY
    store = RegionStore.open(out)
    (given,) = store.manifest["report"]["tables"]
    assert given["regions"] == given["regions_within_split"] >= PEAKS
    # The study names 24 chromosomes: all of them are here.
    assert len(store.chromosomes) == len(set(store.group.tolist())) == 24
    assert store.num_spans > PEAKS / 4
    # Sequences of the genome's end are as right as those of its beginning.
    letters = builders.dna(LINE << 16)
    for row in (0, store.num_spans - 1):
        start, end = store.intervals[row, 0]
        place = np.arange(start, end) % len(letters)
        gc = np.mean([letters[i] in "GC" for i in place])
        assert store.features[row, 0, :2].tolist() == pytest.approx([end - start, gc])

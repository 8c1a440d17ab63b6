"""Benches: `make` runs all of them, and their arithmetic. Times are no test."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import experiments.bench
from experiments.bench import contexts, kmer_tokenizer

BENCHES = Path(experiments.bench.__file__).parent
MAKEFILE = BENCHES.parents[1] / "Makefile"


def test_make_runs_every_bench():
    recipes = re.findall(r"^bench.*:.*\n((?:\t.*\n)+)", MAKEFILE.read_text(), re.M)
    benches = {
        p.stem for p in BENCHES.glob("*.py") if "def main(config:" in p.read_text()
    }
    assert len(benches) > 1
    run = re.findall(r"-m experiments\.bench\.(\w+)", "".join(recipes))
    assert sorted(run) == sorted(benches)


@pytest.mark.long
def test_longer_windows_are_measured(tmp_path, capsys):
    windows = (240, 480)
    config = contexts.Config(windows=windows, shapes=("small",), turns=1, out=tmp_path)
    assert contexts.main(config) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split("|") for line in lines if line.startswith("| small")]
    assert [row[2].strip() for row in rows] == ["240", "480"]
    rows = json.loads((tmp_path / "contexts.json").read_text())["rows"]
    assert [row["tokens"] for row in rows] == [41, 81]
    assert min(row["temporary_mb"] for row in rows) > 0


def test_the_rate_of_the_tokenizer_is_printed(capsys):
    config = kmer_tokenizer.Config(length_bp=6_000, sequences=3, n_share=0.2, repeats=2)
    kmer_tokenizer.main(config)
    (line,) = capsys.readouterr().out.splitlines()
    found = re.fullmatch(r"(.*): median ([\d.]+) Mb/s, slowest ([\d.]+) Mb/s", line)
    assert found.group(1) == str(config)
    assert float(found.group(2)) >= float(found.group(3)) > 0


def test_sequences_have_the_share_of_n_that_was_asked_for():
    config = kmer_tokenizer.Config(length_bp=500, sequences=4, n_share=0.5)
    sequences = kmer_tokenizer.random_sequences(config)
    assert [len(sequence) for sequence in sequences] == [500] * 4
    letters = np.array([list(sequence) for sequence in sequences])
    assert (letters == "N").mean() == pytest.approx(0.5, abs=0.1)
    assert set(letters.ravel()) == set("ACGTN")

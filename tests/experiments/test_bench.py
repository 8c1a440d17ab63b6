"""Benches: `make` runs all of them, and their arithmetic. Times are no test."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import experiments.bench
from experiments.bench import contexts, kmer_tokenizer, peak_tokens

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


def test_a_line_through_steps_by_hand():
    rows = [{"tokens": n, "ms": 10 + 3 * n / 1_000} for n in (1_000, 2_000, 4_000)]
    found = peak_tokens.fit(rows, "ms")
    assert found["slope"] == pytest.approx(3)
    assert found["offset"] == pytest.approx(10)
    assert found["r2"] == pytest.approx(1)
    assert peak_tokens.fit(rows[:2], "ms")["slope"] is None


@pytest.mark.long
def test_steps_on_open_peaks_are_measured(tmp_path, capsys):
    config = peak_tokens.Config(
        sizes=("small",),
        tokens=(50, 90, 4_000),
        exact_tokens=90,
        cells=(3,),
        peaks=5_000,
        turns=1,
        out=tmp_path,
    )
    rows = peak_tokens.main(config)["small"]
    favor = [("favor", 1, 50), ("favor", 1, 90), ("favor", 1, 4_000)]
    assert [(row["attention"], row["cells"], row["tokens"]) for row in rows] == [
        *favor,
        ("exact", 1, 50),
        ("exact", 1, 90),
        ("favor", 3, 4_000),
    ]
    assert [len(row["seconds"]) for row in rows] == [1] * 5 + [0]
    assert 0 < rows[2]["temporary_mb"] < rows[-1]["temporary_mb"]
    lines = capsys.readouterr().out.splitlines()
    (last,) = (line for line in lines if line.startswith("| 3 | 4,000 | – |"))
    assert last.endswith("| – | – |")
    assert (tmp_path / "peak_tokens.json").is_file()


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

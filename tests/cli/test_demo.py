"""`scmultimodal demo`: which cells it takes, and what it says of them."""

import json

import pytest

from scmultimodal import cli, datasets
from scmultimodal.cli import cells
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows import cell_types, presets

pytestmark = pytest.mark.usefixtures("tiny")


def simulate_few(monkeypatch, num_cells):
    """The demo's generator, at a size for tests."""
    simulate = datasets.simulate_multiome

    def few(**settings):
        sizes = {"num_cells": num_cells, "num_genes": 40, "num_cell_types": 3}
        return simulate(**settings | sizes)

    monkeypatch.setattr(datasets, "simulate_multiome", few)


def test_demo_without_network_says_loudly_that_its_cells_are_simulated(
    tmp_path, monkeypatch, capsys
):
    def unavailable():
        raise datasets.DataUnavailableError("example.org", "no route", "Use a cable")

    numbers = presets.cell_types

    def of_rna(preset, **fields):
        """One modality, for time: test_finetune.py has them all."""
        return numbers(preset, **fields | {"regimes": (Regime.RNA,)})

    monkeypatch.setattr(presets, "cell_types", of_rna)
    monkeypatch.setattr(datasets, "mouse_cortex", unavailable)
    simulate_few(monkeypatch, 120)
    assert cli.main(["demo", "--quick", "--out", str(tmp_path / "demo")]) == 0
    printed = capsys.readouterr()
    assert "*** example.org: no route. Use a cable." in printed.err
    assert "SIMULATED cells are used instead" in printed.err
    assert "Test cells of simulated_multiome (SIMULATED)" in printed.out
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert summary["simulated"] is True
    page = (tmp_path / "demo" / "report" / "index.html").read_text()
    assert "Simulated data" in page


def test_quick_demo_takes_a_sorted_draw_of_the_cells(tmp_path, monkeypatch):
    seen = []

    def record(data, *rest, **options):
        seen.append(data.obs_names.tolist())
        raise InterruptedError

    monkeypatch.setattr(cell_types, "run", record)
    monkeypatch.setattr(cells, "QUICK_CELLS", 50)
    simulate_few(monkeypatch, 120)
    command = ["demo", "--quick", "--simulated", "--out", str(tmp_path / "demo")]
    for seed in (0, 0, 1):
        with pytest.raises(InterruptedError):
            cli.main([*command, "--seed", str(seed)])
    assert [len(set(names)) for names in seen] == [50, 50, 50]
    assert seen[0] == sorted(seen[0]) == seen[1] != seen[2]

"""What the bench of loaders writes, and that each loads every cell once."""

import json
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest

from experiments.bench import loading, random_cells, turns
from experiments.bench.contestants import cells
from experiments.bench.turns import Player

NUM_CELLS, NUM_GENES, BATCH = 60, 50, 20
SECONDS = {"ours": 0.5, "in_numpy": 2.0, "backed_h5ad": 10.0, "annbatch": 1.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "cells"
    random_cells.make(folder, cells=NUM_CELLS, genes=NUM_GENES, density=0.1)
    return folder


def in_order(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("key", loading.CONTESTANTS)
def test_an_epoch_has_every_cell_once(folder: Path, key: str):
    if key.startswith("sc_dataset"):
        pytest.importorskip("scdataset", reason="only in the venv of this bench")
    if key.startswith("annbatch"):
        pytest.importorskip("annbatch", reason="only in the venv of this bench")
    _, _, how = loading.CONTESTANTS[key]
    how = how | {"fetch": 2 * BATCH, "block": 4} if "fetch" in how else how
    epoch = cells.LOADERS[loading.loader_of(key)](folder, BATCH, **how)
    batches = list(epoch())
    assert [(len(rows), rows.dtype) for rows in batches] == 3 * [(BATCH, np.uint8)]
    again = np.concatenate(list(epoch()))
    truth = anndata.read_h5ad(folder / random_cells.H5AD).X.toarray()
    if key == "ours_packed":
        assert sum((rows > 0).sum() for rows in batches) == (truth > 0).sum()
        return
    found = np.concatenate(batches)
    np.testing.assert_array_equal(in_order(found), in_order(truth))
    np.testing.assert_array_equal(in_order(again), in_order(truth))
    assert not np.array_equal(found, truth)
    assert not np.array_equal(found, again)


def test_a_step_counts_its_cells(folder: Path):
    contestant = cells.build(loader="in_numpy", folder=str(folder), cells=60, batch=20)
    assert contestant.facts == {"cells": 60}
    assert contestant.step() == pytest.approx(0.1, abs=0.04)
    wrong = cells.build(loader="in_numpy", folder=str(folder), cells=80, batch=20)
    with pytest.raises(AssertionError, match="60 cells of uint8, not 80"):
        wrong.step()


class Timed(Player):
    """A player whose time is known; scDataset is not installed."""

    def __init__(self, name: str, module: str, **settings: Any):
        self.name, self.module, self.settings = name, module, settings
        self.facts, self.absent, self.peak_mb = {"cells": 60}, None, None
        self.seconds, self.losses = [], []
        if settings["loader"] == "sc_dataset":
            self.absent = "scdataset is not installed"

    def warm_up(self) -> None:
        pass

    def play(self) -> None:
        if not self.absent:
            slow = 100 if len(self.seconds) == 1 else 0  # Changes no median.
            self.seconds.append(SECONDS[self.settings["loader"]] + slow)

    def close(self) -> None:
        pass


def test_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(turns, "Player", Timed)
    config = loading.Config(cells=60, genes=50, batch=20, turns=3, out=tmp_path)
    loading.main(config)
    results = json.loads((tmp_path / "loading.json").read_text())
    assert results["cells_per_second"]["ours"] == 120
    assert results["ours_over"]["backed_h5ad"] == 20
    assert results["ours_over"]["sc_dataset"] is None
    assert results["contestants"]["ours"]["seconds"] == [0.5, 100.5, 0.5]
    assert {"machine", "versions", "revision", "config"} <= results.keys()
    assert (tmp_path / "loading.png").read_bytes().startswith(b"\x89PNG")
    words = (tmp_path / "loading.md").read_text()
    assert "| NumPy on our files | 30 | 4.0 | random |" in words
    assert "| scDataset |" not in words
    absent = "Left out: scDataset (scdataset is not installed); scDataset, rows ("
    assert absent in words
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    "fields", [{"batch": 0}, {"cells": 70_000}, {"turns": 0}, {"density": 1.0}]
)
def test_sizes_that_cannot_be(fields: dict[str, Any]):
    with pytest.raises(ValueError, match="must"):
        loading.Config(**fields)

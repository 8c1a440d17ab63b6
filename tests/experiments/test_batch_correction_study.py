"""The study that corrects batches, on what is prepared."""

import json

import numpy as np
import pytest

from experiments import train
from scmultimodal import __main__ as shell
from scmultimodal.evaluation import integration
from scmultimodal.models import CellModel
from scmultimodal.schemas.modality import Regime
from scmultimodal.weights import export
from scmultimodal.workflows import finetune_cells, judge, pretrain
from tests import builders


@pytest.mark.usefixtures("lightly_compiled")
def test_a_tiny_run(tmp_path, capsys):
    store = builders.peak_store(tmp_path / "data")
    start = pretrain.untrained(store, builders.peak_pretraining())
    export.save(start, tmp_path / "start")
    words = ["cell_model.batch_correction", "--model", str(tmp_path / "start")]
    words += ["--steps", "2", "--batch-size", "32", "--no-score"]
    run = ["--out", str(tmp_path / "run"), "--data.dataset", str(store.path)]
    assert train.main([*words, *run]) == 0
    assert CellModel.load(tmp_path / "run").classes == ()
    assert "model   " in capsys.readouterr().out
    nothing = ["--out", str(tmp_path / "other"), "--data.dataset", "none"]
    assert train.main([*words, *nothing]) == 2
    assert "is no prepared dataset" in capsys.readouterr().err


@pytest.mark.usefixtures("lightly_compiled")
def test_vectors_are_scored_and_reported(tmp_path, capsys, monkeypatch):
    """What scores vectors has tests of its own; here, that it gets the right ones."""
    asked = []

    def score(vectors, labels, batches, *, before):
        asked.append((vectors, labels, batches, before))
        values = zip(vectors, (0.2, 0.5, 0.3), strict=True)
        return {
            name: integration.IntegrationScores(
                biology=value, batches=value, total=value, metrics={}
            )
            for name, value in values
        }

    monkeypatch.setattr(integration, "score", score)
    store = builders.peak_store(tmp_path / "data")
    start = pretrain.untrained(store, builders.peak_pretraining())
    export.save(start, tmp_path / "start")
    run = tmp_path / "run"
    words = ["cell_model.batch_correction", "--model", str(tmp_path / "start")]
    words += ["--steps", "2", "--batch-size", "32", "--out", str(run)]
    assert train.main([*words, "--data.dataset", str(store.path)]) == 0
    ((vectors, labels, batches, before),) = asked
    rows = finetune_cells.cells_of(store, "test", Regime.ATAC)
    rows = rows[store.labels[rows] >= 0]
    assert list(vectors) == ["pre-trained", "corrected", "components"]
    np.testing.assert_array_equal(labels, store.labels[rows])
    names = store.obs["batch"].to_numpy(str)[rows]
    assert len(set(zip(names, batches, strict=True))) == len(set(names)) > 1
    assert before is vectors["components"]
    own = judge.embed(store, export.load(run), Regime.ATAC, rows)
    own = (own - own.mean(0)) / (own.std(0) + 1e-6)
    np.testing.assert_allclose(vectors["corrected"], own, atol=1e-5)
    assert np.abs(vectors["pre-trained"] - own).max() > 1e-3
    said = capsys.readouterr().out
    assert [line.split()[-1] for line in said.splitlines()[-3:]] == [
        "0.200",
        "0.500",
        "0.300",
    ]
    assert shell.main(["report", str(run), "--out", str(tmp_path / "page")]) == 0
    facts = json.loads((tmp_path / "page" / "report.json").read_text())
    assert facts["runs"][0]["kind"] == "batch_correction"
    page = (tmp_path / "page" / "report.html").read_text()
    assert "Batches out of vectors" in page
    assert ".500" in page


@pytest.mark.usefixtures("lightly_compiled")
def test_what_cannot_be_scored_is_said_before_the_training(tmp_path, capsys):
    store = builders.peak_store(tmp_path / "data", label=None)
    start = pretrain.untrained(store, builders.peak_pretraining())
    export.save(start, tmp_path / "start")
    words = ["cell_model.batch_correction", "--model", str(tmp_path / "start")]
    run = ["--out", str(tmp_path / "run"), "--data.dataset", str(store.path)]
    assert train.main([*words, *run]) == 2
    said = capsys.readouterr().err
    assert "has no test cell with a type, by which vectors are scored" in said
    assert "--no-score" in said
    assert not (tmp_path / "run").exists()

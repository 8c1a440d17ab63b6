"""The study that corrects batches, on what is prepared."""

import pytest

from experiments import train
from scmultimodal.models import CellModel
from scmultimodal.weights import export
from scmultimodal.workflows import pretrain
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

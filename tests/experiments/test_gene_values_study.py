"""The study of values: its numbers, and a tiny run on what is prepared."""

import json

import pytest

from experiments import train
from experiments.cell_model import gene_values
from scmultimodal.weights import export
from scmultimodal.workflows import gene_values_judge, pretrain
from tests import builders


def test_the_study_preset_has_epifoundations_rate():
    words = ["--out", "x", "--model", "y", "--preset", "study", "--epochs", "3"]
    numbers = train.parse(gene_values, words).gene_values
    assert numbers.optimizer.learning_rate == 1e-4
    assert (numbers.batch_size, numbers.epochs) == (160, 3)


@pytest.mark.usefixtures("lightly_compiled")
def test_a_run_with_its_control(tmp_path, capsys):
    store = builders.peak_store(tmp_path / "data")
    start = pretrain.untrained(store, builders.peak_pretraining())
    export.save(start, tmp_path / "start")
    words = ["cell_model.gene_values", "--out", str(tmp_path / "run")]
    words += ["--model", str(tmp_path / "start"), "--epochs", "1"]
    words += ["--data.dataset", str(tmp_path / "data"), "--batch-size", "32"]
    assert train.main(words) == 0
    rows = json.loads((tmp_path / "run" / "summary.json").read_text())["test"]
    ours = ["scmultimodal", "scmultimodal_from_scratch"]
    assert [row["model"] for row in rows] == [*ours, *gene_values_judge.RIVALS]
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "Expression from open peaks" in page
    assert "39 test cells" in capsys.readouterr().out

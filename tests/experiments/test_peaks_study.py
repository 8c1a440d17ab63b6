"""The study of open peaks, on cells with RNA and on cells without."""

import dataclasses
import json

import pytest

from experiments import train
from experiments.cell_model import peaks
from scmultimodal import datasets
from scmultimodal.data.store import Store
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows import prepare, presets
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of prepared cells: "paired", and "alone", which are ATAC."""
    folder = tmp_path_factory.mktemp("prepared")
    store = builders.peak_store(folder / "paired")
    config = prepare.PrepareConfig(
        label="cell_type",
        recipe=prepare.recipe_config(store.vocabulary),
        peak_tokens="consensus",
    )
    cells = builders.simulated_cells(num_cells=200, num_genes=40)
    genes = datasets.simulated_genes(cells)
    facts = {"name": "simulated", "simulated": True}
    prepare.run(cells["atac"], genes, config, folder / "alone", provenance=facts)
    return folder


def test_cells_without_rna_take_what_needs_none(folder):
    study = peaks.default("small")
    asked = presets.Preset(
        pretrain=study.pretrain, finetune=study.finetune, recipe=study.recipe
    )
    assert presets.for_cells(asked, Store.open(folder / "paired")) is asked
    fit = presets.for_cells(asked, Store.open(folder / "alone"))
    start, tuning = fit.pretrain, fit.finetune
    assert start.mixing == {Regime.ATAC: 1.0}
    assert (start.gene_from_peaks.loadings, tuning.paired) == (0, 0.0)
    assert dataclasses.replace(tuning, paired=study.finetune.paired) == study.finetune


@pytest.mark.long
@pytest.mark.parametrize("name", ["paired", "alone"])
def test_the_study_runs(folder, name, tmp_path, capsys):
    """Every row is there, with models that were pre-trained, tuned and judged."""
    out = tmp_path / "run"
    words = ["cell_model.peaks", "--data.dataset", str(folder / name)]
    words += ["--out", str(out), "--no-gene-level", "--finetune.epochs", "1"]
    words += ["--pretrain.steps", "3", "--pretrain.gene-from-peaks.loadings", "5"]
    assert train.main(words) == 0
    said = "hidden peaks are told in place of genes" in capsys.readouterr().out
    assert said == (name == "alone")
    rows = json.loads((out / "summary.json").read_text())["scores"]
    models = {row["model"] for row in rows}
    assert models >= {"peaks", "peaks_from_scratch", "peaks_naive_bayes"}
    assert all(row["accuracy"] > 0.2 for row in rows)

"""`scmultimodal pretrain`: raw counts or a prepared dataset to a pre-trained model."""

import dataclasses
import json
import re

import pytest

from scmultimodal import cli, datasets
from scmultimodal.data.store import Store
from scmultimodal.models import CellModel
from scmultimodal.schemas.modality import Regime
from scmultimodal.training.metrics import read_metrics
from scmultimodal.weights import export
from scmultimodal.workflows import presets, pretraining
from tests import builders


@pytest.fixture(autouse=True)
def shallow(tiny, monkeypatch):
    """Without attention it compiles in half the time."""
    small = presets.PRESETS["small"]
    path = dataclasses.replace(small.pretrain.path, num_layers=0)
    pretraining = dataclasses.replace(small.pretrain, path=path)
    shallower = dataclasses.replace(small, pretrain=pretraining)
    monkeypatch.setitem(presets.PRESETS, "small", shallower)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with my.h5mu, genes.tsv and the prepared dataset `store`."""
    folder = tmp_path_factory.mktemp("inputs")
    data = builders.simulated_cells()
    data.write_h5mu(folder / "my.h5mu")
    data["rna"].write_h5ad(folder / "rna.h5ad")
    genes = datasets.simulated_genes(data)
    genes.to_csv(folder / "genes.tsv", sep="\t", index=False)
    builders.simulated_store(folder / "store")
    return folder


def raw(inputs, out, *more):
    files = ["--data", str(inputs / "my.h5mu"), "--genes", str(inputs / "genes.tsv")]
    return ["pretrain", *files, "--out", str(out), *more]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder that the first test leaves a run in."""
    return tmp_path_factory.mktemp("runs") / "pre"


@pytest.fixture
def finished(inputs, folder, capsys):
    """A run of the command; pre-trained once, by whichever test comes first."""
    command = raw(inputs, folder, "--label", "cell_type", "--seed", "3")
    if not (folder / "model").exists():
        assert cli.main(command) == 0
        (folder / "printed.txt").write_text(capsys.readouterr().out)
    return command


def test_raw_counts_become_a_model_that_the_package_loads(finished, folder):
    printed = (folder / "printed.txt").read_text()
    assert "300 cells x 40 genes, 3 types; 210 / 30 / 60" in printed
    store, model = Store.open(folder / "data"), CellModel.load(folder)
    assert len(store.split("validation")) == 30
    assert model.embed(builders.simulated_cells()).shape == (300, 32)
    assert model.classes == ()
    config = json.loads((folder / "config.json").read_text())
    assert (config["data"], config["pretrain"]["seed"]) == ("my.h5mu", 3)
    assert (config["prepare"]["label"], config["prepare"]["seed"]) == ("cell_type", 3)
    assert (folder / "report" / "index.html").is_file()
    assert (folder / "curves.png").is_file()


def test_it_ends_with_a_table_of_what_validation_cells_said(finished, folder):
    printed = (folder / "printed.txt").read_text()
    title, header, rule, *rows = printed.partition("\nValidation ")[2].splitlines()
    assert title == "cells of my.h5mu"
    assert set(rule) == {"-", " "}
    records = read_metrics(folder / "metrics.jsonl")
    told = [r for r in records if r["split"] == "validation"]
    assert [int(row.split()[0]) for row in rows] == [1, 2, 3]
    place = re.split(r"  +", header.strip()).index("rna accuracy")
    shown = [float(row.split()[place]) for row in rows]
    assert shown == pytest.approx([r["rna_accuracy"] for r in told], abs=5e-4)


def test_the_same_command_again_goes_on_and_another_is_refused(
    finished, inputs, folder, capsys, monkeypatch
):
    before = (folder / "model" / "model.safetensors").read_bytes()
    records = read_metrics(folder / "metrics.jsonl")
    monkeypatch.chdir(inputs)  # Where the data lie may be called otherwise.
    assert cli.main([word.removeprefix(f"{inputs}/") for word in finished]) == 0
    assert (folder / "model" / "model.safetensors").read_bytes() == before
    assert read_metrics(folder / "metrics.jsonl") == records
    capsys.readouterr()
    assert cli.main([*finished[:-1], "4"]) == 2
    assert "seed = 3, not 4" in capsys.readouterr().err


def test_it_starts_a_finetuning_of_the_same_split_alone(
    finished, inputs, folder, tmp_path, capsys
):
    out = tmp_path / "fine"
    command = ["finetune", *raw(inputs, out, "--label", "cell_type")[1:]]
    command += ["--model", str(folder), "--modality", "rna", "--seed", "1"]
    assert cli.main(command) == 2
    said = capsys.readouterr().err
    assert "splits my.h5mu in another way" in said
    assert "Give the --label and --seed of its pre-training" in said
    assert not (out / "finetune").exists()


@pytest.fixture
def given(monkeypatch):
    """What the training is given, which then does not take place."""
    given = []

    def record(take, config, out, *, written, **_):
        given.append((take, config, written))
        raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, "run", record)
    return given


def test_a_prepared_dataset_is_taken_as_it_is(inputs, tmp_path, given):
    command = ["pretrain", "--data", str(inputs / "store"), "--out", str(tmp_path)]
    assert cli.main(command) == 130
    ((take, _, written),) = given
    assert take().path == inputs / "store"
    assert (written["data"], written["address"]) == ("store", str(inputs / "store"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("preset", "steps", "every"), [("study", 10_000, 2_500), ("best", 900, 225)]
)
def test_the_numbers_are_those_of_the_preset(
    inputs, tmp_path, given, preset, steps, every
):
    assert cli.main(raw(inputs, tmp_path, "--preset", preset, "--seed", "2")) == 130
    ((_, config, written),) = given
    numbers = presets.PRESETS[preset]
    assert (config.steps, config.evaluate_every, config.seed) == (steps, every, 2)
    plain = dataclasses.replace(config, evaluate_every=None, seed=0)
    assert plain == numbers.pretrain
    assert written["prepare"]["recipe"] == dataclasses.asdict(numbers.recipe)


def test_peaks_are_kept_for_a_model_that_reads_them(inputs, tmp_path, given):
    assert cli.main(raw(inputs, tmp_path, "--preset", "peaks", "--quick")) == 130
    ((_, config, written),) = given
    assert (config.atac_path, config.steps) == ("peak", 18)
    assert config.gene_from_peaks.weight == 1
    assert written["prepare"]["peak_tokens"] == "consensus"


@pytest.mark.usefixtures("lightly_compiled")
@pytest.mark.parametrize("kind", ["multiome", "atac"])
def test_by_one_command_each_types_are_told_from_peaks(
    kind, inputs, tmp_path, capsys, monkeypatch
):
    """RNA is told in pre-training where cells have it, and hidden peaks elsewhere."""
    numbers = dataclasses.replace(
        presets.PEAKS,
        pretrain=dataclasses.replace(
            builders.peak_pretraining(),
            gene_from_peaks=dataclasses.replace(
                presets.PEAKS.pretrain.gene_from_peaks, loadings=3
            ),
            mixing={Regime.MULTIOME: 1.0},
        ),
    )
    monkeypatch.setattr(presets, "PEAKS", presets.quick(numbers))
    data = builders.simulated_cells()
    if kind == "atac":
        atac = data["atac"].copy()
        atac.obs["cell_type"] = data.obs["cell_type"]
        atac.write_h5ad(tmp_path / "cells.h5ad")
    else:
        data.write(tmp_path / "cells.h5mu")
    (path,) = tmp_path.glob("cells.*")
    genes = ["--genes", str(inputs / "genes.tsv"), "--label", "cell_type"]
    words = ["--data", str(path), *genes, "--preset", "peaks"]
    pre, out = tmp_path / "pre", tmp_path / "tuned"
    assert cli.main(["pretrain", *words, "--out", str(pre)]) == 0
    said = capsys.readouterr().out
    assert ("hidden peaks are told" in said) == (kind == "atac")
    fitted = json.loads((pre / "config.json").read_text()).get("fitted")
    assert (fitted is not None) == (kind == "atac")
    start = CellModel.load(pre)
    assert start.modalities == ("atac",)
    tuning = ["finetune", *words, "--out", str(out), "--no-from-scratch"]
    assert cli.main(tuning) == 2
    said = capsys.readouterr().err
    assert "is peaks, and no --model that reads open peaks is given" in said
    assert not out.exists()
    assert cli.main([*tuning, "--model", str(pre)]) == 0
    tuned = export.load(out)
    assert tuned.config.modalities == ("atac",)
    head = tuned.params["cell_type_head"]
    assert ("peak_root_skip" in head) == (kind == "multiome")
    assert "peak_skip" in head


def test_quick_takes_few_steps(inputs, tmp_path, given):
    assert cli.main(raw(inputs, tmp_path, "--preset", "study", "--quick")) == 130
    assert given[0][1].steps == 18


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data", "my.h5mu"], ["is no prepared dataset", "--genes"]),
        (["--data", "none.h5mu", "--genes", "genes.tsv"], ["does not exist"]),
        (["--data", "store", "--genes", "genes.tsv"], ["store", "Leave --genes out"]),
        (["--data", "store", "--counts", "reads"], ["is prepared", "--counts out"]),
        (
            ["--data", "store", "--min-feature-fraction", "0"],
            ["is prepared", "--min-feature-fraction out"],
        ),
        (
            ["--data", "rna.h5ad", "--genes", "genes.tsv", "--preset", "peaks"],
            ["rna.h5ad: has no ATAC", "another --preset"],
        ),
    ],
)
def test_what_is_refused(inputs, tmp_path, refused, monkeypatch, options, words):
    monkeypatch.chdir(inputs)
    out = tmp_path / "out"
    line = refused(out, ["pretrain", "--out", str(out), *options])
    for word in words:
        assert word in line


def test_bins_that_are_no_counts_do_not_serve_the_best_preset(inputs, tmp_path, capsys):
    command = ["pretrain", "--data", str(inputs / "store"), "--preset", "best"]
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "prepare it with the strategy counts" in capsys.readouterr().err

"""One classifier from a pre-trained model: on one host, on two, and what is refused."""

import json

import jax
import numpy as np
import pytest

from experiments import train
from scmultimodal.data.store import Store
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.training.metrics import read_metrics
from scmultimodal.weights import export
from scmultimodal.workflows import (
    finetune_cells,
    judge,
    pretrain,
    provenance,
    runs,
)
from tests import builders
from tests.training.hosts import run
from tpu import inputs

TINY = ["--epochs", "3", "--batch-size", "8", "--hidden", "4", "--labels-per-type", "6"]
RUN = ["cell_model.finetuning", *TINY, "--modality", "multiome"]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Folders of labelled cells and of a model that knows their genes."""
    folder = tmp_path_factory.mktemp("given")
    store = builders.simulated_store(folder / "cells", num_cells=120)
    model = pretrain.untrained(store, builders.small_pretraining(seed=9))
    export.save(model, folder / "run" / "model")
    return {"--data.dataset": folder / "cells", "--model": folder / "run"}


def words(given, out, *more):
    flags = [str(word) for pair in given.items() for word in pair]
    return [*RUN, *flags, *more, "--out", str(out)]


@pytest.mark.usefixtures("lightly_compiled")
def test_a_run_is_trained_judged_and_reported(given, tmp_path, capsys):
    out = tmp_path / "run"
    assert train.main(words(given, out, "--from-scratch")) == 0
    assert "test cells of simulated" in capsys.readouterr().out
    store, model = Store.open(given["--data.dataset"]), export.load(out)
    assert model.config.classes == store.label_names
    cells = finetune_cells.cells_of(store, "test", Regime.MULTIOME)
    right = judge.predict(store, model, Regime.MULTIOME, cells).argmax(1)
    summary = json.loads((out / "summary.json").read_text())
    found = {row["model"]: row for row in summary["results"]}
    assert found["scmultimodal"]["accuracy"] == np.mean(right == store.labels[cells])
    assert {"scmultimodal_from_scratch", "logistic_regression"} < set(found)
    assert summary["simulated"] is True
    read = runs.read(out, "run")
    assert (read.kind, list(read.scores)) == ("cell_types", ["multiome"])
    assert read.scores["multiome"][0].by_class
    assert (out / "report" / "index.html").exists()
    # The control began elsewhere, and learned on the same cells.
    records = [read_metrics(p / "metrics.jsonl") for p in (out, out / "from_scratch")]
    ours, scratch = ([r for r in one if r["split"] == "train"] for one in records)
    assert [r["batch_fingerprint"] for r in ours] == [
        r["batch_fingerprint"] for r in scratch
    ]
    assert ours[0]["loss"] != scratch[0]["loss"]


@pytest.mark.usefixtures("lightly_compiled")
def test_cells_that_are_not_prepared_take_the_genes_of_the_model(
    given, tmp_path, monkeypatch
):
    from scmultimodal import datasets

    simulated = builders.simulated_cells(num_cells=150, num_genes=44)
    monkeypatch.setattr(
        datasets, "simulate_multiome", lambda num_cells, seed: simulated
    )
    out = tmp_path / "run"
    run = words(given | {"--data.dataset": "simulated"}, out, "--no-baselines")
    assert train.main(run) == 0
    digests = {
        folder.vocabulary.digest()
        for folder in (Store.open(out / "data"), export.load(given["--model"]))
    }
    assert len(digests) == 1
    summary = json.loads((out / "summary.json").read_text())
    assert [row["model"] for row in summary["results"]] == ["scmultimodal"]


def test_cells_of_other_genes_are_refused(given, tmp_path, capsys):
    other = builders.simulated_store(tmp_path / "other", num_cells=90, seed=2)
    run = words(given | {"--data.dataset": other.path}, tmp_path / "run")
    assert train.main(run) == 2
    said = capsys.readouterr().err
    assert "has other genes, medians or bins than" in said
    assert f"scmultimodal prepare --vocabulary {given['--model']}" in said
    assert not (tmp_path / "run").exists()


def test_a_split_that_the_model_was_not_trained_on_is_refused(tmp_path, capsys):
    """Other test cells of the same data may be among those that it knows."""
    from scmultimodal import datasets
    from scmultimodal.workflows import prepare

    cells = builders.simulated_cells(num_cells=120)
    genes = datasets.simulated_genes(cells)
    stores = {}
    for name, seed, vocabulary in (("a", 0, None), ("b", 1, "a"), ("c", 1, "a")):
        stores[name] = prepare.run(
            cells,
            genes,
            prepare.PrepareConfig(label="cell_type", seed=seed),
            tmp_path / name,
            provenance={"name": "other" if name == "c" else "same"},
            vocabulary=vocabulary and stores[vocabulary].vocabulary,
        )
    model = pretrain.untrained(stores["a"], builders.small_pretraining())
    export.save(model, tmp_path / "run" / "model")
    given = {"--model": tmp_path / "run", "--data.dataset": stores["b"].path}
    assert train.main(words(given, tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert f"{stores['b'].path}: splits same in another way than the data of" in said
    assert "Give the data that it was trained on: --data.dataset RUN/data" in said
    assert not (tmp_path / "out").exists()
    # Cells decide; of older models, which do not tell them, the name of the data does.
    facts = model.config.provenance
    older = {name: fact for name, fact in facts.items() if name != "cells"}
    provenance.check_split(stores["a"], facts, remedy="none")
    provenance.check_split(stores["a"], older, remedy="none")
    provenance.check_split(stores["c"], older, remedy="none")
    with pytest.raises(InputError, match=r"splits other in another way"):
        provenance.check_split(stores["c"], facts, remedy="none")
    with pytest.raises(InputError, match=r"splits same in another way"):
        provenance.check_split(stores["b"], older, remedy="none")


def test_a_modality_that_the_model_never_saw_is_refused(given, tmp_path, capsys):
    store = Store.open(given["--data.dataset"])
    numbers = builders.small_pretraining(mixing={Regime.RNA: 1.0})
    export.save(pretrain.untrained(store, numbers), tmp_path / "rna")
    run = words(given | {"--model": tmp_path / "rna"}, tmp_path / "run")
    assert train.main(run) == 2
    assert (
        "was not trained on atac, and --modality is multiome. Give --modality rna"
        in (capsys.readouterr().err)
    )


@pytest.mark.usefixtures("lightly_compiled")
def test_a_run_does_not_go_on_from_another_model(given, tmp_path, capsys):
    """The address of the model may be the same."""
    store = Store.open(given["--data.dataset"])
    model, out = tmp_path / "model", tmp_path / "run"
    export.save(export.load(given["--model"]), model)
    run = words(given | {"--model": model}, out, "--no-baselines")
    assert train.main(run) == 0
    export.save(pretrain.untrained(store, builders.small_pretraining(seed=1)), model)
    assert train.main(run) == 2
    assert "the run in this folder has model_sha256" in capsys.readouterr().err


def run_on_hosts_and_alone(hosts, alone, tmp_path):
    """Scores of one training on two hosts of two devices, and on one of four."""
    for program, devices in ((hosts, 1), (alone, 4)):
        run(*program, devices=devices)
    one, other = (builders.checkpoint_arrays(tmp_path / n) for n in ("two", "alone"))
    assert list(one) == list(other) == [2, 4, 6]
    for a, b in zip(jax.tree.leaves(one[6]), jax.tree.leaves(other[6]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    scores = [
        json.loads((tmp_path / name / "summary.json").read_text())["results"]
        for name in ("two", "alone")
    ]
    assert scores[0] == scores[1]


TWO_HOSTS = ["--backend", "local", "--hosts", "2", "--devices-per-host", "2"]


@pytest.mark.long
def test_two_hosts_fine_tune_as_one(given, tmp_path):
    run = words(given, "OUT", "--no-baselines")[:-2]
    two = ["tpu", "run", *run, *TWO_HOSTS, "--out", tmp_path / "two"]
    alone = ["experiments.train", *run, "--out", tmp_path / "alone"]
    run_on_hosts_and_alone(two, alone, tmp_path)


@pytest.mark.long
def test_machines_with_disks_of_their_own_fine_tune_as_one(given, tmp_path):
    """What was pushed is fetched by each; the run folder is kept in the bucket."""
    bucket = f"file://{tmp_path}"
    pushed = {"--data.dataset": f"{bucket}/cells", "--model": f"{bucket}/model"}
    inputs.push(given["--data.dataset"], pushed["--data.dataset"])
    inputs.push(given["--model"] / "model", pushed["--model"])
    two = words(pushed, f"{bucket}/two", "--no-baselines", *TWO_HOSTS)
    alone = words(given, tmp_path / "alone", "--no-baselines")
    run_on_hosts_and_alone(
        ["tpu", "run", *two], ["experiments.train", *alone], tmp_path
    )
    assert not (tmp_path / "two" / "runs").exists()
    assert export.load(tmp_path / "two").config.head is not None

"""From a pre-trained model of peaks to one that tells values, by calls and commands."""

import dataclasses
import json

import anndata
import numpy as np
import pytest

from scmultimodal import cli, datasets
from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.evaluation import gene_values as scoring
from scmultimodal.models import CellModel
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.training.metrics import read_metrics
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.weights import export
from scmultimodal.workflows import (
    exporting,
    expression,
    finetune,
    gene_values,
    gene_values_judge,
    inference,
    peak_links,
    pretrain,
    trained,
)
from scmultimodal.workflows.finetune_config import FinetuneConfig
from scmultimodal.workflows.gene_values_config import GeneValuesConfig
from scmultimodal.workflows.peak_path import GeneFromPeaksOptions
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

CONFIG = GeneValuesConfig(epochs=3, batch_size=32, num_queries=8)
STILL = dataclasses.replace(
    CONFIG, epochs=1, optimizer=OptimizerConfig(learning_rate=1e-9, weight_decay=0.0)
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return builders.peak_store(tmp_path_factory.mktemp("peaks") / "data")


@pytest.fixture(scope="module")
def start(store):
    return pretrain.untrained(store, builders.peak_pretraining())


@pytest.fixture(scope="module")
def run(store, start, tmp_path_factory):
    """(folder, model)."""
    folder = tmp_path_factory.mktemp("values")
    return folder, gene_values.run(store, start, CONFIG, folder)


@pytest.fixture
def atac():
    """The cells of the store as a user has them."""
    return builders.simulated_cells(num_cells=200, num_genes=40)["atac"].copy()


def told(store, model, cells):
    builder = trained.builder_for(StoreSource(store), model.config)
    return inference.over_cells(expression.function(model), builder, cells, Regime.ATAC)


def test_the_epoch_is_that_of_the_least_error_on_validation_cells(run, store, start):
    folder, model = run
    records = read_metrics(folder / "metrics.jsonl")
    judged = [r for r in records if r["split"] == "validation"]
    assert len(judged) == 3
    assert all(r["mse"] == r["loss"] for r in judged)
    best = min(judged, key=lambda r: r["mse"])
    assert model.config.provenance["best_step"] == best["step"]
    cells = gene_values.cells_of(store, "validation")
    builder = gene_values.builder_for(store, start, CONFIG)
    found = scoring.score(told(store, model, cells), builder.values.rows(cells))
    assert found.mse == pytest.approx(best["mse"], rel=1e-4)
    assert found.gene_pearson == pytest.approx(best["gene_pearson"], abs=1e-4)
    assert found.gene_pearson != 0


def test_it_begins_with_the_trunk_the_queries_and_the_simple_line(
    store, start, tmp_path
):
    model = gene_values.run(store, start, STILL, tmp_path)
    for ours, theirs in (
        *(2 * (f"cell_encoder/peak_encoder/{name}",) for name in ("peak", "chrom")),
        *(
            (f"gene_value_head/gene_query_head/{name}", f"gene_query_head/{name}")
            for name in ("gene", "query", "norm", "hidden_cell", "hidden_query")
        ),
    ):
        for name, values in start.params[theirs].items():
            np.testing.assert_allclose(model.params[ours][name], values, atol=1e-5)
    cells = {part: gene_values.cells_of(store, part) for part in ("train", "test")}
    values = gene_values.builder_for(store, start, STILL).values
    opened = store.peak_matrix().lengths
    line = scoring.Line.fit(values.rows(cells["train"]), opened[cells["train"]])
    expected = line.predict(opened[cells["test"]])
    np.testing.assert_allclose(
        told(store, model, cells["test"]), expected, rtol=1e-4, atol=1e-4
    )


def test_a_control_has_a_trunk_of_its_own_and_a_frozen_one_stays(
    store, start, tmp_path
):
    name = "cell_encoder/peak_encoder/peak"
    begun = start.params[name]["embeddings"]
    fresh = dataclasses.replace(STILL, seed=1)
    control = gene_values.run(
        store, start, fresh, tmp_path / "control", from_scratch=True
    )
    assert np.abs(control.params[name]["embeddings"] - begun).max() > 0.1
    frozen = dataclasses.replace(CONFIG, epochs=1, frozen=True)
    still = gene_values.run(store, start, frozen, tmp_path / "frozen")
    np.testing.assert_array_equal(still.params[name]["embeddings"], begun)
    moved = still.params["gene_value_head/gene_query_head/gene"]["embeddings"]
    assert np.abs(moved - start.params["gene_query_head/gene"]["embeddings"]).max() > 0


def test_impute_answers_by_values(run, store, atac):
    folder, model = run
    ours = CellModel.load(folder)
    found = ours.impute(atac, "rna")
    expected = told(store, model, np.arange(store.num_cells))
    np.testing.assert_allclose(found.X, expected, rtol=1e-4, atol=1e-4)
    depth = f"{model.config.values_told.depth:,.10g}"
    assert found.uns["scmm_values"] == (
        f"log1p of counts of {depth}, where the gene is expressed"
    )
    assert (ours.modalities, ours.classes) == (("atac",), ())
    assert ours.self_check() < 1e-4
    with pytest.raises(InputError, match="tell RNA from open peaks, and no ATAC"):
        ours.impute(atac, "atac")


def test_an_export_tells_values_too(run, tmp_path):
    folder = exporting.run(run[0] / "model", tmp_path / "exported").folder
    said = exporting.check(folder)
    assert said["express.jax_export"].difference < 1e-4
    card = (folder / "README.md").read_text()
    assert "open peaks | log1p of counts of" in card
    assert "it was not trained on any" in card


def test_values_are_the_mean_over_batches_that_the_head_was_told(
    store, start, atac, tmp_path
):
    config = dataclasses.replace(CONFIG, epochs=1, tell_batch=True)
    model = gene_values.run(store, start, config, tmp_path)
    number = store.obs["batch"].nunique()
    assert model.config.values_told.head.num_batches == number > 1
    assert np.isfinite(CellModel(model).impute(atac, "rna").X).all()


def test_a_model_that_reads_genes_too_goes_on_by_its_peaks(store, atac, tmp_path):
    both = builders.peak_pretraining(
        atac_path="both", mask_weight=1.0, peak_joint="cross_attention"
    )
    start = pretrain.untrained(store, both)
    config = dataclasses.replace(CONFIG, epochs=1)
    model = gene_values.run(store, start, config, tmp_path)
    assert model.config.encoder.atac_path == "peak"
    name = "cell_encoder/peak_encoder/peak"
    near = model.params[name]["embeddings"] - start.params[name]["embeddings"]
    assert 0 < np.abs(near).max() < 0.1
    assert CellModel.load(tmp_path).impute(atac, "rna").X.shape == (200, 40)


def test_types_are_taught_to_what_told_values(run, store, tmp_path):
    config = FinetuneConfig(epochs=1, batch_size=32, hidden=(8,))
    tuned = finetune.run(store, run[1], config, Regime.ATAC, tmp_path)
    assert tuned.config.values_told is None
    assert len(tuned.config.classes) == 3


def test_rivals(run, store, start):
    """The type's mean is worth something where types differ; the mean has no r."""
    builder = gene_values.builder_for(store, start, CONFIG)
    scores = gene_values_judge.run(store, builder, {"ours": run[1]})
    assert list(scores) == ["validation", "test"]
    for of in scores.values():
        assert list(of) == ["ours", *gene_values_judge.RIVALS]
        assert of["gene_mean"].gene_pearson == 0
        assert of["type_mean_and_depth"].mse < of["gene_mean_and_depth"].mse
    table = gene_values_judge.format_table(scores["test"])
    best = min(round(one.mse, 4) for one in scores["test"].values())
    assert f"{best:.4f}*" in table


def test_what_cannot_be_done(store, start, tmp_path):
    by_gene = pretrain.untrained(store, builders.small_pretraining())
    with pytest.raises(InputError, match="reads gene-level ATAC and no peaks"):
        gene_values.run(store, by_gene, CONFIG, tmp_path)
    rna = Store.open(store.path)
    alone = dataclasses.replace(
        rna, _present={**rna._present, "atac": np.zeros(rna.num_cells, bool)}
    )
    with pytest.raises(InputError, match="no train cell with RNA and ATAC"):
        gene_values.run(alone, start, CONFIG, tmp_path)
    with pytest.raises(InputError, match=r"peak_dropout: is 1.0. Give 0 to below 1"):
        GeneValuesConfig(peak_dropout=1.0)
    with pytest.raises(InputError, match="min_steps: is -1"):
        GeneValuesConfig(min_steps=-1)


def test_a_model_of_other_genes_is_refused(store, start, tmp_path):
    """What is known of genes is known by their places."""
    order = np.roll(np.arange(start.vocabulary.num_genes), 1)
    other = dataclasses.replace(start, vocabulary=rolled(start.vocabulary, order))
    with pytest.raises(InputError, match="has other genes than the model"):
        gene_values.run(store, other, CONFIG, tmp_path)
    with pytest.raises(InputError, match="has other genes than the model"):
        finetune.run(store, other, FinetuneConfig(), Regime.ATAC, tmp_path)
    assert not any(tmp_path.iterdir())


def rolled(vocabulary, order):
    fields = {
        f.name: getattr(vocabulary, f.name) for f in dataclasses.fields(vocabulary)
    }
    per_gene = {
        name: value[order]
        for name, value in fields.items()
        if isinstance(value, np.ndarray) and value.shape[:1] == order.shape
    }
    return dataclasses.replace(vocabulary, **per_gene)


def test_what_told_values_is_not_taken_on(run, store, tmp_path):
    _, model = run
    with pytest.raises(InputError, match="fine-tuned to tell values"):
        gene_values.run(store, model, CONFIG, tmp_path)
    with pytest.raises(InputError, match="it tells values of genes, and links"):
        peak_links.require_gene_query(model)


def test_closed_peaks_move_vectors_and_no_values(run, atac):
    """A value where a gene is expressed has no logarithm."""
    model = CellModel(run[1])
    gene = run[1].vocabulary.gene_ids[0]
    found = model.perturb(atac, [gene], kind="close", counts="fragments")
    assert found.effects is None
    assert found.table["cells"].tolist()[0] > 0


# The command.


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory):
    """A folder with a model, my.h5mu and genes.tsv."""
    folder = tmp_path_factory.mktemp("inputs")
    options = GeneFromPeaksOptions(weight=1.0, num_queries=16)
    config = builders.peak_pretraining(gene_from_peaks=options)
    export.save(pretrain.untrained(store, config), folder / "model")
    data = builders.simulated_cells(num_cells=200, num_genes=40)
    data.write_h5mu(folder / "my.h5mu")
    datasets.simulated_genes(data).to_csv(folder / "genes.tsv", sep="\t", index=False)
    data["atac"].write_h5ad(folder / "atac.h5ad")
    return folder


def command(folder, out, data, *more):
    start = ["finetune", "--task", "expression", "--model", str(folder / "model")]
    return [*start, "--data", str(data), "--out", str(out), *more]


def test_command_on_prepared_cells(store, folder, tmp_path, capsys):
    out = tmp_path / "run"
    asked = command(folder, out, store.path, "--quick")
    assert cli.main(asked) == 0
    printed = capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    ours, *rivals = summary["test"]
    assert ours["model"] == "scmultimodal"
    assert [row["model"] for row in rivals] == list(gene_values_judge.RIVALS)
    shown = printed.partition("39 test cells")[2].splitlines()
    assert f"{ours['mse']:.4f}" in next(x for x in shown if "scmultimodal " in x)
    assert (out / "curves.png").is_file()
    page = (out / "report" / "index.html").read_text()
    assert "Expression from open peaks" in page
    paths = ["--data", str(folder / "atac.h5ad"), "--out", str(tmp_path / "rna.h5ad")]
    assert cli.main(["impute", "--model", str(out), "--target", "rna", *paths]) == 0
    written = anndata.read_h5ad(tmp_path / "rna.h5ad")
    assert written.uns["scmm_values"].startswith("log1p of counts of ")
    assert cli.main(asked) == 0
    assert json.loads((out / "summary.json").read_text()) == summary
    capsys.readouterr()
    assert cli.main([*asked, "--seed", "4"]) == 2
    assert "seed = 0, not 4" in capsys.readouterr().err


def test_command_on_raw_counts(store, folder, tmp_path):
    out = tmp_path / "run"
    more = ["--genes", str(folder / "genes.tsv"), "--label", "cell_type"]
    more += ["--batch", "batch", "--no-from-scratch", "--frozen"]
    assert cli.main(command(folder, out, folder / "my.h5mu", *more)) == 0
    made = Store.open(out / "data")
    assert made.peaks.digest() == store.peaks.digest()
    assert (out / "model" / "config.json").is_file()
    assert not (out / "from_scratch").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--modality", "rna"], "--modality: is not read by --task expression"),
        (["--preset", "best"], "--preset: is not read by --task expression"),
        (["--label", "x"], "--label: is not read where the data are prepared"),
        (["--data", "{my}"], "Name an annotation by --genes"),
        (["--data", "{my}", "--genes", "{genes}"], "in another way"),
    ],
)
def test_commands_that_are_refused(store, folder, tmp_path, capsys, more, words):
    more = [
        word.format(my=folder / "my.h5mu", genes=folder / "genes.tsv") for word in more
    ]
    assert cli.main([*command(folder, tmp_path / "run", store.path), *more]) == 2
    assert words in capsys.readouterr().err


def test_cell_types_still_need_labels_and_genes(folder, tmp_path, capsys):
    given = ["finetune", "--data", str(folder / "my.h5mu"), "--out", str(tmp_path)]
    assert cli.main(given) == 2
    assert "--label: is missing" in capsys.readouterr().err
    assert cli.main([*given, "--label", "cell_type"]) == 2
    assert "--genes: is missing" in capsys.readouterr().err
    assert cli.main([*given, "--task", "expression"]) == 2
    assert "--model: is missing" in capsys.readouterr().err

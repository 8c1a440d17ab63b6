"""From prepared peaks to types: pre-trained, tuned, exported, and judged again."""

import dataclasses

import jax
import numpy as np
import pytest

from scmultimodal.data.peak_tokens import PeakTokenConfig
from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.evaluation import naive_bayes, paired
from scmultimodal.evaluation.paired import PairedConfig
from scmultimodal.modules.heads.gene_query import GeneQueryConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.training.metrics import read_metrics
from scmultimodal.training.optimizers import OptimizerConfig, build_optimizer
from scmultimodal.weights import evaluate, export
from scmultimodal.workflows import (
    finetune,
    finetune_cells,
    finetune_rates,
    judge,
    pretrain,
    pretrain_batches,
    pretrain_config,
    pretrain_tasks,
    stablehlo,
    trained,
)
from scmultimodal.workflows.finetune_config import FinetuneConfig
from scmultimodal.workflows.peak_path import GeneFromPeaksOptions, PeakPathConfig
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

BUCKETS = PeakTokenConfig(most=64, buckets=(64,))
CONFIG = builders.peak_pretraining()
CONFIG = dataclasses.replace(
    CONFIG, steps=60, peaks=dataclasses.replace(CONFIG.peaks, tokens=BUCKETS)
)
TUNING = FinetuneConfig(
    epochs=1,
    batch_size=32,
    hidden=(8,),
    skip=True,
    naive_bayes=0.5,
    token_dropout=0.2,
    optimizer=OptimizerConfig(learning_rate=1e-9, weight_decay=0.0),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return builders.peak_store(tmp_path_factory.mktemp("peaks") / "data")


@pytest.fixture(scope="module")
def pretrained(store, tmp_path_factory):
    """(run folder, model)."""
    folder = tmp_path_factory.mktemp("pretrain")
    return folder, pretrain.run(store, CONFIG, folder)


def test_peaks_tell_the_expression_of_validation_cells(pretrained):
    """Better than a coin, which is what silence and expression are drawn by."""
    records = read_metrics(pretrained[0] / "metrics.jsonl")
    last = [r for r in records if r["split"] == "validation"][-1]
    assert last["gene_accuracy"] > 0.6
    assert last["gene_loss"] < np.log(2)
    assert last["peak_loss"] < np.log(2) + 0.1


def test_steps_show_peaks_with_rna_and_without(store):
    batches = pretrain_batches.mixed_batches(
        store, pretrain_batches.make_builder(store, CONFIG), CONFIG
    )
    shown = [(b.rna is not None, b.atac is not None) for b in map(batches, range(4))]
    assert shown == [(False, False), (True, False)] * 2
    assert all(batches(step).peaks.mask.any() for step in range(4))


def test_an_adversary_keeps_batches_out_of_what_peaks_tell(store, tmp_path):
    """Batches with RNA show it nothing but peaks either."""
    options = GeneFromPeaksOptions(weight=1.0, num_queries=16, tell_batch=True)
    config = dataclasses.replace(
        CONFIG, steps=4, adversary=1.0, gene_from_peaks=options
    )
    model = pretrain.run(store, config, tmp_path)
    assert model.config.modalities == ("atac",)
    assert model.config.genes_told.head.num_batches == store.obs["batch"].nunique()
    last = read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert last["adversary_loss"] > 0
    assert 0 <= last["batch_accuracy"] <= 1


def test_a_model_of_peaks_is_read_back(pretrained, store):
    folder, model = pretrained
    again = export.load(folder)
    assert again.peaks.digest() == store.peaks.digest()
    assert again.config == model.config
    assert again.config.modalities == ("atac",)
    told = trained.outputs(again, again.reference)
    np.testing.assert_allclose(
        told["embedding"], again.reference["embedding"], atol=1e-5
    )
    assert set(stablehlo.of_cells(again)) == {"embed", "express"}
    assert evaluate.Model(folder / "model").check() < 1e-4
    (folder / "model" / "peaks.json").write_text("{}")
    with pytest.raises(InputError, match=r"peaks\.json: differs from the sha256"):
        export.load(folder)


def test_types_begin_as_naive_bayes_of_open_peaks(pretrained, store, tmp_path):
    """The trunk is the one that was trained; a model of peaks alone is judged."""
    start = pretrained[1]
    model = finetune.run(store, start, TUNING, Regime.ATAC, tmp_path / "run")
    train = finetune_cells.cells_of(store, "train", Regime.ATAC)
    opened = store.peak_matrix().rows(train, "bins")
    expected = 0.5 * naive_bayes.log_likelihoods(
        opened, store.labels[train], len(store.label_names)
    )
    own = model.params["cell_type_head"]
    np.testing.assert_allclose(own["peak_skip"], expected, atol=1e-5)
    assert set(own) == {"peak_skip"}
    name = "cell_encoder/peak_encoder/peak"
    np.testing.assert_allclose(
        model.params[name]["embeddings"], start.params[name]["embeddings"], atol=1e-5
    )
    cells = finetune_cells.cells_of(store, "test", Regime.ATAC)
    logits = judge.predict(store, model, Regime.ATAC, cells)
    told = store.peak_matrix().rows(cells, "bins") @ expected
    right, simple = (
        (found.argmax(1) == store.labels[cells]).mean() for found in (logits, told)
    )
    assert right > simple - 0.1
    assert simple > 0.45


@pytest.mark.parametrize("atac_path", ["peak", "both"])
def test_rates_by_layer(store, atac_path):
    """Each path has its own layers, and a regex decides something or is not there."""
    config = dataclasses.replace(CONFIG, atac_path=atac_path, mask_weight=1.0)
    model = pretrain.untrained(store, config)
    rates = finetune_rates.optimizer(
        FinetuneConfig(layer_decay=0.5), 100, model.config.encoder, ("rna", "atac")
    )
    assert [rate for _, rate in rates.rates] == [1.0, 0.5, 1.0, 0.5, 1.0]
    build_optimizer(rates, model.params, 100)
    alone = finetune_rates.optimizer(
        FinetuneConfig(layer_decay=0.5), 100, model.config.encoder, ("atac",)
    )
    assert len(alone.rates) == (3 if atac_path == "peak" else 5)


@pytest.mark.long
@pytest.mark.parametrize("atac_path", ["peak", "both"])
def test_peaks_beside_the_other_objectives(store, atac_path, tmp_path):
    """Genes are masked, types and batches told, and types tuned from both."""
    config = dataclasses.replace(
        CONFIG,
        atac_path=atac_path,
        mask_weight=1.0,
        count_weight=1.0,
        steps=3,
        gene_from_peaks=GeneFromPeaksOptions(
            weight=1.0,
            num_queries=None,
            cell_type_weight=0.1,
            tell_batch=True,
            peak_dropout=0.3,
            head=GeneQueryConfig(style="summed", num_bins=5),
        ),
    )
    start = pretrain.run(store, config, tmp_path / "pretrain")
    assert start.config.modalities == ("rna", "atac")
    records = read_metrics(tmp_path / "pretrain" / "metrics.jsonl")
    last = records[-1]
    names = {"gene_loss", "type_loss", "rna_loss", "rna_nats_per_count"}
    assert names <= set(last)
    assert ("atac_loss" in last) == (atac_path == "both")
    model = finetune.run(store, start, TUNING, Regime.MULTIOME, tmp_path / "tuned")
    skips = {"rna_skip", "peak_skip"} | (
        {"atac_skip"} if atac_path == "both" else set()
    )
    assert set(model.params["cell_type_head"]) == skips
    assert np.isfinite(model.reference["logits"]).all()


def test_queries_may_begin_as_what_rna_has_in_common(store):
    """Seven components, spread as drawn vectors are; the projection passes them on."""
    head = GeneQueryConfig(gene_dim=9, query_dim=8)
    options = dataclasses.replace(CONFIG.gene_from_peaks, head=head, loadings=7)
    config = dataclasses.replace(CONFIG, gene_from_peaks=options)
    params = pretrain.untrained(store, config).params
    genes = np.asarray(params["gene_query_head/gene"]["embeddings"])
    np.testing.assert_allclose((genes**2).mean(0), [1] * 7 + [0] * 2, atol=1e-4)
    query = np.asarray(params["gene_query_head/query"]["w"])
    np.testing.assert_allclose(genes @ query, genes[:, :8], atol=1e-6)
    with pytest.raises(InputError, match=r"loadings: is 9 for vectors of 9, .* to 8"):
        dataclasses.replace(options, loadings=9)


def test_paired_cells_begin_a_second_map_of_peaks(store, tmp_path):
    config = dataclasses.replace(TUNING, paired=2.0)
    start = pretrain.untrained(store, CONFIG)
    model = finetune.run(store, start, config, Regime.ATAC, tmp_path / "run")
    train = finetune_cells.cells_of(store, "train", Regime.ATAC)
    expected = 2 * paired.peak_weights(
        store.peak_matrix().rows(train, "bins"),
        store.rows("rna", train, "counts"),
        store.labels[train],
        len(store.label_names),
        PairedConfig(),
    )
    own = model.params["cell_type_head"]
    np.testing.assert_allclose(own["peak_root_skip"], expected, atol=1e-5)
    cells = finetune_cells.cells_of(store, "test", Regime.ATAC)
    opened = store.peak_matrix().rows(cells, "bins")
    whole = store.peak_matrix().lengths[cells] <= BUCKETS.most
    cells, opened = cells[whole], opened[whole]
    told = opened @ own["peak_skip"]
    told += (opened @ own["peak_root_skip"]) / np.sqrt(opened.sum(1)).reshape(-1, 1)
    logits = judge.predict(store, model, Regime.ATAC, cells)
    np.testing.assert_allclose(logits, told, rtol=1e-3, atol=1e-3)


def test_paired_needs_peaks_and_cells_with_both(store, pretrained, tmp_path):
    config = dataclasses.replace(TUNING, paired=1.0)
    by_gene = pretrain.untrained(store, builders.small_pretraining())
    with pytest.raises(
        InputError, match=r"paired: is 1.0, and the classifier reads no"
    ):
        finetune.run(store, by_gene, config, Regime.ATAC, tmp_path / "run")
    with pytest.raises(InputError, match="paired: is -1"):
        dataclasses.replace(TUNING, paired=-1.0)


def test_cells_with_other_peaks_are_refused(pretrained, store, tmp_path):
    others = PeakVocabulary.from_frame(store.peaks.to_frame().assign(start=0))
    start = dataclasses.replace(pretrained[1], peaks=others)
    with pytest.raises(InputError, match=r"has other peaks, and the model reads"):
        finetune.run(store, start, TUNING, Regime.ATAC, tmp_path / "run")


def test_what_does_not_fit_is_refused(store, tmp_path_factory):
    with pytest.raises(InputError, match=r"gene_from_peaks\.weight: is 1.*--atac-path"):
        dataclasses.replace(CONFIG, atac_path="gene")
    with pytest.raises(InputError, match=r"nothing shows the model values of genes"):
        dataclasses.replace(CONFIG, atac_path="both")
    options = dataclasses.replace(CONFIG.gene_from_peaks, cell_type_weight=1.0)
    with pytest.raises(InputError, match="adversary: takes the place of the types"):
        dataclasses.replace(CONFIG, adversary=1.0, gene_from_peaks=options)
    folder = tmp_path_factory.mktemp("without")
    without = builders.simulated_store(folder / "data", num_cells=60)
    with pytest.raises(InputError, match=r"keeps no peaks\. Prepare it with"):
        pretrain_tasks.make_task(without, CONFIG)


def test_the_default_shape_is_epifoundations(store):
    """Six layers; only shapes are drawn."""
    config = dataclasses.replace(
        CONFIG, path=pretrain_config.PretrainConfig().path, peaks=PeakPathConfig()
    )
    task = pretrain_tasks.make_task(store, config)
    batch = pretrain_batches.make_builder(store, config).build(
        np.arange(2), Regime.MULTIOME
    )
    params, _ = jax.eval_shape(task.init, jax.random.PRNGKey(0), batch)
    layers = {n for n in params if "peak_encoder/performer/layer_" in n}
    assert len(layers) == 6

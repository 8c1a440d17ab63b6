"""A model that reads open peaks says of a user's cells what it says of its own."""

import dataclasses

import anndata
import jax
import numpy as np
import pytest

from scmultimodal import cli, datasets
from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.models import CellModel
from scmultimodal.modules.heads import gene_query
from scmultimodal.modules.heads.gene_query import GeneQueryConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.singlecell import inputs
from scmultimodal.weights import export
from scmultimodal.workflows import (
    finetune,
    finetune_cells,
    judge,
    prepare_shards,
    pretrain,
    pretrain_tasks,
    trained,
)
from scmultimodal.workflows.alignment import AlignedCells
from scmultimodal.workflows.finetune_config import FinetuneConfig
from scmultimodal.workflows.peak_path import GeneFromPeaksOptions
from tests import builders


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return builders.peak_store(tmp_path_factory.mktemp("peaks") / "data")


@pytest.fixture(scope="module")
def model(store, tmp_path_factory):
    start = pretrain.untrained(store, builders.peak_pretraining())
    config = FinetuneConfig(epochs=1, batch_size=32, hidden=(8,))
    out = tmp_path_factory.mktemp("tuned")
    return finetune.run(store, start, config, Regime.ATAC, out)


@pytest.fixture
def atac(store):
    """The cells of the store as a user has them."""
    cells = builders.simulated_cells(num_cells=200, num_genes=40)
    assert list(cells.obs_names) == list(store.obs.index)
    return cells["atac"].copy()


def shifted(data, bp):
    """The same cells, their peaks called by another experiment."""
    data = data.copy()
    data.var["start"] += bp
    data.var["end"] += bp
    places = zip(data.var["chrom"], data.var["start"], data.var["end"], strict=True)
    data.var_names = [f"{chrom}:{start}-{end}" for chrom, start, end in places]
    return data


def test_vectors_and_types_are_those_of_the_prepared_cells(store, model, atac):
    every = np.arange(store.num_cells)
    expected = judge.embed(store, model, Regime.ATAC, every)
    ours = CellModel(model)
    np.testing.assert_allclose(ours.embed(atac), expected, atol=1e-5)
    logits = judge.predict(store, model, Regime.ATAC, every)
    names = np.array(model.config.classes)[logits.argmax(1)]
    assert ours.annotate(atac)["scmm_cell_type"].tolist() == names.tolist()
    order = np.random.default_rng(0).permutation(store.num_cells)
    turned = atac[order].copy()[:, atac.var_names[::-1]].copy()
    np.testing.assert_allclose(ours.embed(turned), expected[order], atol=1e-5)


def test_peaks_of_another_name_are_found_by_overlap(model, atac):
    ours = CellModel(model)
    moved = shifted(atac, 20)
    assert not set(moved.var_names) & set(atac.var_names)
    np.testing.assert_allclose(ours.embed(moved), ours.embed(atac), atol=1e-5)


def test_a_file_is_embedded_and_the_share_of_its_peaks_told(
    model, atac, tmp_path, capsys
):
    export.save(model, tmp_path / "model")
    half = atac[:, : atac.n_vars // 2].copy()
    shifted(half, 20).write_h5ad(tmp_path / "half.h5ad")
    paths = {name: str(tmp_path / name) for name in ("model", "half.h5ad", "v.h5ad")}
    command = ["embed", "--model", paths["model"], "--data", paths["half.h5ad"]]
    assert cli.main([*command, "--out", paths["v.h5ad"]]) == 0
    told = f"peaks        {half.n_vars:>9,} of {half.n_vars:,} are ones it reads"
    assert told in capsys.readouterr().out.splitlines()
    written = anndata.read_h5ad(tmp_path / "v.h5ad").obsm["X_scmm"]
    np.testing.assert_allclose(written, CellModel(model).embed(half), atol=1e-5)


def test_peaks_of_nowhere_near_are_refused_and_few_are_told(model, atac):
    ours = CellModel(model)
    with pytest.raises(InputError, match=r"none of its .* peaks overlaps"):
        ours.embed(shifted(atac, 50_000_000))
    few = atac.copy()
    away = np.arange(few.n_vars) % 4 > 0
    few.var["start"] += 50_000_000 * away
    few.var["end"] += 50_000_000 * away
    few = shifted(few, 0)
    with pytest.warns(UserWarning, match=r"overlap one of the .* that the model reads"):
        ours.embed(few)


@pytest.mark.parametrize("by", ["--peak-tokens", "--vocabulary"])
def test_other_cells_are_prepared_for_a_model(by, store, model, atac, tmp_path):
    """By the model's folder: further training wants its very peaks."""
    export.save(model, tmp_path / "model")
    shifted(atac, 20).write_h5ad(tmp_path / "cells.h5ad")
    genes = datasets.simulated_genes(builders.simulated_cells(num_genes=40))
    genes.to_csv(tmp_path / "genes.tsv", sep="\t", index=False)
    command = ["prepare", "--atac", str(tmp_path / "cells.h5ad"), by]
    command += [str(tmp_path / "model"), "--genes", str(tmp_path / "genes.tsv")]
    assert cli.main([*command, "--out", str(tmp_path / "data")]) == 0
    made = Store.open(tmp_path / "data")
    assert made.peaks.digest() == model.peaks.digest()
    rows = store.obs.index.get_indexer(made.obs.index)
    ours, known = (
        s.peak_matrix().rows(np.arange(s.num_cells), "bins") for s in (made, store)
    )
    assert (ours != known[rows]).nnz == 0


def telling(store, **fields):
    """(task, model of random numbers) that tell genes from peaks."""
    numbers = {"weight": 1.0, "num_queries": 16} | fields
    options = GeneFromPeaksOptions(**numbers)
    config = builders.peak_pretraining(gene_from_peaks=options)
    model = pretrain.untrained(store, config)
    rng = np.random.default_rng(3)
    params = jax.tree.map(
        lambda a: rng.normal(0, len(a) ** -0.5, np.shape(a)).astype(np.float32),
        model.params,
    )
    task = pretrain_tasks.gene_from_peaks(store, config)
    return task, dataclasses.replace(model, params=params)


def asked(store, task, model, code=None):
    """Logits of all genes of all cells, as the objective has them."""
    builder = trained.builder_for(StoreSource(store), model.config)
    batch = builder.build(np.arange(store.num_cells), Regime.ATAC)
    if code is not None:
        batch = batch.replace(batch_code=np.full(store.num_cells, code, np.int32))
    genes = np.tile(np.arange(store.num_genes), (store.num_cells, 1))
    logits = task.predict(model.params, model.network_state, batch, genes)
    return np.array(logits, np.float64)


def chances(logits):
    found = np.exp(logits)
    return found / found.sum(-1, keepdims=True)


@pytest.mark.parametrize("at_once", [16, 512])
@pytest.mark.parametrize("num_bins", [2, 5])
def test_expression_is_what_the_objective_tells(
    store, atac, num_bins, at_once, monkeypatch
):
    """All genes, whatever the blocks; the odds are those of genes as they are."""
    monkeypatch.setattr(gene_query, "_GENES_AT_ONCE", at_once)
    task, model = telling(store, head=GeneQueryConfig(num_bins=num_bins))
    train = finetune_cells.cells_of(store, "train", Regime.MULTIOME)
    number = (store.rows("rna", train).toarray() > 0).sum(1)
    odds = np.log(number / (store.num_genes - number)).mean()
    genes_told = model.config.genes_told
    np.testing.assert_allclose(genes_told.log_odds, odds, rtol=1e-6)
    # Here half of the genes are expressed, and of real cells far fewer.
    rarer = dataclasses.replace(genes_told, log_odds=-1.5)
    config = dataclasses.replace(model.config, genes_told=rarer)
    model = dataclasses.replace(model, config=config)
    logits = asked(store, task, model)
    logits[..., 1:] -= 1.5
    told = CellModel(model).impute(atac, "rna")
    expected = chances(logits) @ np.arange(num_bins)
    assert np.ptp(expected) > 0.02
    np.testing.assert_allclose(told.X, expected, rtol=1e-4, atol=1e-6)
    assert told.var_names.equals(CellModel(model).genes.set_index("gene_id").index)
    assert told.obs_names.equals(atac.obs_names)
    known = {2: "probability of expression", 5: "expected bin of expression, 0 to 4"}
    assert told.uns["scmm_values"] == known[num_bins]


def test_all_genes_asked_need_no_correction(store, atac):
    task, model = telling(store, num_queries=None)
    told = CellModel(model).impute(atac, "rna").X
    np.testing.assert_allclose(
        told, chances(asked(store, task, model))[..., 1], atol=1e-4
    )


def test_expression_is_the_mean_over_batches(store, atac):
    task, model = telling(store, num_queries=None, tell_batch=True)
    number = model.config.genes_told.head.num_batches or 0
    each = [chances(asked(store, task, model, code))[..., 1] for code in range(number)]
    assert number > 1
    assert np.abs(each[0] - each[1]).max() > 0.01
    told = CellModel(model).impute(atac, "rna").X
    np.testing.assert_allclose(told, np.mean(each, 0), atol=1e-4)


def test_expression_as_a_file(store, atac, tmp_path):
    model = telling(store)[1]
    export.save(model, tmp_path / "model")
    atac.write_h5ad(tmp_path / "atac.h5ad")
    paths = {name: str(tmp_path / name) for name in ("model", "atac.h5ad", "rna.h5ad")}
    command = ["impute", "--model", paths["model"], "--data", paths["atac.h5ad"]]
    assert cli.main([*command, "--target", "rna", "--out", paths["rna.h5ad"]]) == 0
    written = anndata.read_h5ad(tmp_path / "rna.h5ad")
    expected = CellModel(model).impute(atac, "rna")
    np.testing.assert_allclose(written.X, expected.X, atol=1e-6)
    assert written.uns["scmm_values"] == expected.uns["scmm_values"]


def test_what_tells_no_expression_is_refused(store, model, atac):
    with pytest.raises(InputError, match=r"tells genes from .*pretrain --preset peaks"):
        CellModel(model).impute(atac, "rna")
    told = CellModel(telling(store)[1])
    with pytest.raises(InputError, match=r"tell RNA from open peaks, and no ATAC"):
        told.impute(atac, "atac")
    alone = builders.peak_pretraining(mixing={Regime.ATAC: 1.0})
    assert pretrain.untrained(store, alone).config.genes_told is None
    both = builders.peak_pretraining(atac_path="both", mask_weight=1.0)
    rna = builders.simulated_cells(num_cells=200, num_genes=40)["rna"]
    with pytest.raises(InputError, match=r"they have no atac, which the model tells"):
        CellModel(pretrain.untrained(store, both)).impute(rna, "rna")


def test_rows_are_read_once_for_genes_and_for_peaks(store, model, atac, monkeypatch):
    cells = AlignedCells(
        inputs.from_data(atac, "data"),
        store.vocabulary,
        peaks=model.peaks,
        counts="fragments",
    )
    read, rows = [], prepare_shards.read_rows
    monkeypatch.setattr(
        prepare_shards, "read_rows", lambda *a: read.append(1) or rows(*a)
    )
    found = cells.block(slice(0, 50))
    assert read == [1]
    assert found.peaks.matrix.lengths.sum() > 0

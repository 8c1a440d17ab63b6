"""Links of peaks and genes of a user's cells: means over cells, and files of them."""

import dataclasses
import gzip

import numpy as np
import pandas as pd
import pytest
from mudata import MuData

from scmultimodal.models import CellModel
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.tasks.peak_links import Pairs, PeakLinks
from scmultimodal.weights import export
from scmultimodal.workflows import finetune, pretrain, trained
from scmultimodal.workflows.finetune import FinetuneConfig
from scmultimodal.workflows.peak_link_tables import BEDPE, PeakGeneLinks
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

CELLS, GENES = 60, 20


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("links") / "data"
    return builders.peak_store(folder, num_cells=CELLS, num_genes=GENES)


@pytest.fixture(scope="module")
def stored(store):
    """Random numbers, far from those that a network begins with."""
    model = pretrain.untrained(store, builders.peak_pretraining())
    rng = np.random.default_rng(3)

    def moved(leaves):
        return {
            name: np.asarray(a) + rng.normal(0, 0.3, np.shape(a)).astype(np.float32)
            for name, a in leaves.items()
        }

    params = {module: moved(leaves) for module, leaves in model.params.items()}
    return dataclasses.replace(model, params=params)


@pytest.fixture(scope="module")
def model(stored):
    return CellModel(stored)


@pytest.fixture
def data(store):
    cells = builders.simulated_cells(num_cells=CELLS, num_genes=GENES)
    assert list(cells.obs_names) == list(store.obs.index)
    return cells


@pytest.fixture(scope="module")
def found(store, model):
    return model.peak_to_gene(
        builders.simulated_cells(num_cells=CELLS, num_genes=GENES), batch_size=16
    )


def names(table):
    places = zip(table["chrom"], table["start"], table["end"], strict=True)
    return [f"{chrom}:{start}-{end}" for chrom, start, end in places]


def test_pairs_are_those_within_reach(model, data, found):
    """Each peak that some cell has open, with each gene whose start is near."""
    near, peaks = found.table, data["atac"].var
    opened = np.asarray((data["atac"].X > 0).sum(0)).ravel()
    expected = {}
    for gene in model.genes.itertuples():
        tss = gene.end if gene.strand == "-" else gene.start
        after, before = peaks["start"] - tss, tss - peaks["end"]
        distance = np.maximum(0, np.maximum(after, before))
        here = (peaks["chrom"] == gene.chrom) & (distance < 500_000) & (opened > 0)
        for name in peaks.index[here]:
            count = opened[peaks.index.get_loc(name)]
            expected[name, gene.gene_id] = (distance[name], count, tss, gene.symbol)
    pairs = zip(names(near), near["gene_id"], strict=True)
    columns = near[["distance_bp", "cells", "tss", "symbol"]]
    rows = map(tuple, columns.itertuples(index=False))
    assert dict(zip(pairs, rows, strict=True)) == expected
    assert near["distance_bp"].max() > 300_000
    order = near.sort_values(["chrom", "start", "end"], kind="stable")
    assert order.index.tolist() == near.index.tolist()
    assert (found.cells, found.within_bp) == (CELLS, 500_000)


def test_scores_are_means_over_the_cells_that_have_the_peak_open(
    model, stored, data, found
):
    source = model._align(data).block()
    builder = trained.builder_for(source, stored.config)
    batch = builder.build(np.arange(CELLS), Regime.ATAC)
    links = PeakLinks(stored.config.encoder, stored.config.genes_told.head)
    cell, token = np.nonzero(batch.peaks.mask)
    gene = int(model.genes.index[model.genes["symbol"] == "GENE3"][0])
    pairs = Pairs(cell, token, np.zeros(len(cell), int))
    values = links.contributions(
        stored.params, stored.network_state, batch, np.array([gene]), pairs
    )
    said = pd.Series(np.asarray(values), index=batch.peaks.ids[cell, token])
    means = said.groupby(level=0).mean()
    places = pd.Index(names(stored.peaks.to_frame())).get_indexer
    table = found.table[found.table["symbol"] == "GENE3"]
    assert len(table) > 5
    np.testing.assert_allclose(
        table["score"], means.loc[places(names(table))], rtol=1e-3, atol=1e-5
    )


def test_correlations_are_those_of_open_peaks_and_expression(model, data, found):
    counts = np.asarray(data["rna"].X.toarray(), float)
    counts = counts[:, data["rna"].var_names.get_indexer(model.genes["gene_id"])]
    told = np.log1p(10_000 * counts / counts.sum(1, keepdims=True))
    opened = data["atac"].X.toarray() > 0
    peak = data["atac"].var_names.get_indexer(names(found.table))
    gene = pd.Index(model.genes["gene_id"]).get_indexer(found.table["gene_id"])
    expected = [
        np.corrcoef(opened[:, p], told[:, g])[0, 1]
        if 0 < opened[:, p].sum() < CELLS
        else np.nan
        for p, g in zip(peak, gene, strict=True)
    ]
    np.testing.assert_allclose(found.table["correlation"], expected, atol=1e-5)


def test_batches_and_other_genes_do_not_matter(model, data, found):
    some = model.peak_to_gene(data, ["GENE7", "GENE2"], batch_size=7).table
    wanted = found.table[found.table["symbol"].isin(["GENE2", "GENE7"])]
    keys = ["chrom", "start", "gene_id"]
    merged = some.merge(wanted, on=keys, suffixes=("", "_whole"))
    assert len(merged) == len(some) == len(wanted)
    np.testing.assert_allclose(merged["score"], merged["score_whole"], atol=1e-5)
    np.testing.assert_allclose(
        merged["correlation"], merged["correlation_whole"], atol=1e-5
    )


def test_nearer_pairs_alone(model, data, found):
    near = model.peak_to_gene(data, within_bp=40_000).table
    wanted = found.table[found.table["distance_bp"] < 40_000]
    assert 0 < len(near) == len(wanted) < len(found.table)
    np.testing.assert_allclose(near["score"], wanted["score"], atol=1e-5)


def test_rna_is_for_correlations_alone(model, data, found):
    alone = model.peak_to_gene(data["atac"].copy()).table
    assert alone["correlation"].isna().all()
    pd.testing.assert_frame_equal(
        alone.drop(columns="correlation"),
        found.table.drop(columns="correlation"),
        atol=1e-5,
    )


@pytest.mark.parametrize("partial", ["rna", "atac"])
def test_correlations_are_over_the_cells_that_have_both(model, data, found, partial):
    held = {m: data[m].copy() for m in ("rna", "atac")}
    held[partial] = held[partial][:40].copy()
    table = model.peak_to_gene(MuData(held)).table
    if partial == "rna":
        np.testing.assert_allclose(table["score"], found.table["score"], atol=1e-5)
    whole = model.peak_to_gene(data[:40].copy()).table
    keys = ["chrom", "start", "gene_id"]
    merged = whole.merge(table, on=keys, suffixes=("", "_some"))
    assert len(merged) == len(whole) > 100
    np.testing.assert_allclose(
        merged["correlation_some"], merged["correlation"], atol=1e-5
    )
    gone = table["correlation"].notna().sum() - whole["correlation"].notna().sum()
    assert gone == 0


def test_the_strongest_of_each_gene(found):
    top = found.top_links(3)
    for gene, part in found.table.groupby("gene_id"):
        best = part["score"].nlargest(3)
        own = top[top["gene_id"] == gene]
        np.testing.assert_array_equal(own["score"], best[best > 0])
    best = found.table.nlargest(1, "score")
    assert best["symbol"].iloc[0] in found.format_table().splitlines()[1]


# BEDPE.


def test_bedpe_is_read_back(found, tmp_path):
    path = found.to_bedpe(tmp_path / "new" / "links.bedpe")
    head, *lines = path.read_text().splitlines()
    assert head == "#" + "\t".join(BEDPE)
    table = pd.read_csv(path, sep="\t", na_values=".")
    assert len(table) == len(lines) == len(found.table)
    place = table[["#chrom1", "start1", "end1"]]
    assert place.sort_values(list(place)).equals(place)
    keys = {"#chrom1": "chrom", "start1": "start", "end1": "end"}
    merged = table.rename(columns=keys).merge(
        found.table, on=["chrom", "start", "end", "gene_id"], suffixes=("_file", "")
    )
    assert len(merged) == len(table)
    for name in ("score", "correlation"):
        np.testing.assert_allclose(merged[f"{name}_file"], merged[name], rtol=1e-4)
    for name in ("distance_bp", "cells"):
        assert merged[f"{name}_file"].equals(merged[name])
    assert merged["name"].equals(merged["symbol"])
    assert (merged["end2"] - merged["start2"] == 1).all()
    forward = merged["strand"] == "+"
    assert (merged["start2"] == merged["tss"])[forward].all()
    assert (merged["end2"] == merged["tss"])[~forward].all()
    assert merged["strand2"].equals(merged["strand"])
    assert 0 < forward.sum() < len(forward)


def test_bedpe_of_the_strongest_packed(found, tmp_path):
    path = found.to_bedpe(tmp_path / "links.bedpe.gz", k=2)
    with gzip.open(path, "rt") as file:
        lines = file.read().splitlines()
    assert len(lines) == 1 + len(found.top_links(2))
    again = found.to_bedpe(tmp_path / "again.bedpe.gz", k=2)
    assert again.read_bytes() == path.read_bytes()


def test_bedpe_that_fails_leaves_what_stood_there(found, tmp_path):
    path = tmp_path / "links.bedpe"
    path.write_text("mine")
    broken = PeakGeneLinks(table=found.table.drop(columns="tss"), cells=1, within_bp=1)
    with pytest.raises(KeyError):
        broken.to_bedpe(path)
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


# What is kept, and what cannot be asked.


def test_what_answers_is_kept_on_disk(model, stored, data, found, tmp_path):
    again = CellModel.load(model.save(tmp_path / "model"))
    assert again._stored.config.genes_told == stored.config.genes_told
    head = {name for name in stored.params if name.startswith("gene_query_head")}
    assert head <= set(again._stored.params)
    np.testing.assert_allclose(
        again.peak_to_gene(data).table["score"], found.table["score"], atol=1e-5
    )


def test_fine_tuning_leaves_it_behind(store, stored, data, tmp_path):
    config = FinetuneConfig(epochs=1, batch_size=32, hidden=(4,))
    tuned = finetune.run(store, stored, config, Regime.ATAC, tmp_path / "run")
    assert tuned.config.genes_told is None
    with pytest.raises(
        InputError, match=r"leaves it behind\. take the pre-trained one"
    ):
        CellModel(tuned).peak_to_gene(data)


def test_a_model_of_genes_has_no_links(store, data):
    by_gene = CellModel(pretrain.untrained(store, builders.small_pretraining()))
    with pytest.raises(InputError, match="reads gene-level ATAC, and no peaks"):
        by_gene.peak_to_gene(data)


def test_models_stored_before_have_no_shape_of_it(stored, data, tmp_path):
    old = dataclasses.replace(
        stored, config=dataclasses.replace(stored.config, genes_told=None)
    )
    export.save(old, tmp_path / "model")
    said = "nothing that tells genes from open peaks: it was pre-trained without"
    with pytest.raises(InputError, match=f"{said}. Take one of .*--preset peaks"):
        CellModel.load(tmp_path / "model").peak_to_gene(data)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"genes": "GENE99"}, "'GENE99'"),
        ({"genes": []}, "no gene is named"),
        ({"within_bp": 0}, "within_bp: is 0"),
        ({"genes": "GENE1", "within_bp": 1}, "none has a peak of the model within 1"),
        ({"batch_size": 0}, "batch_size: is 0"),
        ({"layer": "mine"}, "mine"),
    ],
)
def test_what_cannot_be_asked(model, data, fields, message):
    with pytest.raises(InputError, match=message):
        model.peak_to_gene(data, **fields)


def test_cells_without_open_peaks(model, data):
    with pytest.raises(InputError, match="have rna, the model knows atac"):
        model.peak_to_gene(data["rna"].copy())
    silent = data["atac"].copy()
    gene = model.genes.iloc[0]
    kept = (silent.var["chrom"] != gene["chrom"]).to_numpy()
    silent.X = silent.X.multiply(kept).tocsr()
    with pytest.raises(InputError, match="no cell has an open peak near"):
        model.peak_to_gene(silent, gene["symbol"])

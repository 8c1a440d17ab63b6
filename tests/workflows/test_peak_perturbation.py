"""Closing the peaks of a gene for models that read peaks: by hand, and a known link."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from scmultimodal.data.peak_tokens import PeakTokenConfig
from scmultimodal.evaluation import perturbation as links
from scmultimodal.models import CellModel
from scmultimodal.modules.heads.gene_query import GeneQueryConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows import pretrain, trained
from scmultimodal.workflows.peak_path import GeneFromPeaksOptions, PeakPathConfig
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

SIZE = {"num_cells": 60, "num_genes": 20}
MULTIOME = {"modalities": ("rna", "atac"), "head": {"skip": True}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return builders.peak_store(tmp_path_factory.mktemp("close") / "data", **SIZE)


@pytest.fixture
def data(store):
    cells = builders.simulated_cells(**SIZE)
    assert list(cells.obs_names) == list(store.obs.index)
    return cells


def telling(store, **fields):
    """A model of random numbers that tells genes from peaks, and no counts."""
    model = pretrain.untrained(store, builders.peak_pretraining(**fields))
    rng = np.random.default_rng(3)

    def moved(leaves):
        return {
            name: np.asarray(a) + rng.normal(0, 0.1, np.shape(a)).astype(np.float32)
            for name, a in leaves.items()
        }

    params = {module: moved(leaves) for module, leaves in model.params.items()}
    return CellModel(dataclasses.replace(model, params=params))


def in_bands(model, symbol, peaks):
    """Which peaks lie less than 50 kb from a gene's start, or overlap the gene."""
    (gene,) = model.genes[model.genes["symbol"] == symbol].itertuples()
    tss = gene.end if gene.strand == "-" else gene.start
    far = np.maximum(peaks["start"] - tss, tss - peaks["end"])
    inside = (peaks["start"] < gene.end) & (peaks["end"] > gene.start)
    return ((peaks["chrom"] == gene.chrom) & ((far < 50_000) | inside)).to_numpy()


def shut(model, symbol, atac):
    """(cells without the peaks of a gene, which cells had any of them)."""
    closed, own = atac.copy(), in_bands(model, symbol, atac.var)
    closed.X = sp.csr_matrix(closed.X.multiply(~own))
    return closed, np.asarray(atac.X[:, own].sum(1)).ravel() > 0


def distances(before, after):
    return np.linalg.norm(after - before, axis=1)


def test_close_is_the_peaks_of_the_gene_taken_from_the_data(store, data):
    """And the change of what is told of all genes by the peaks that are left."""
    model, atac = telling(store), data["atac"].copy()
    found = model.perturb(atac, ["GENE7", "GENE4"], kind="close", batch_size=16)
    for row, symbol in enumerate(["GENE7", "GENE4"]):
        closed, changed = shut(model, symbol, atac)
        assert 5 < found.table["cells"].iloc[row] == changed.sum()
        one, two = model.embed(atac), model.embed(closed)
        own = found.cells[found.cells["gene_id"] == found.table.index[row]]
        assert own["cell"].tolist() == atac.obs_names[changed].tolist()
        np.testing.assert_allclose(
            own["euclidean_shift"], distances(one, two)[changed], atol=1e-4
        )
        told = [np.log(model.impute(d, "rna").X)[changed] for d in (atac, closed)]
        values = found.effects.layers["rna"][row]
        np.testing.assert_allclose(values, (told[1] - told[0]).mean(0), atol=1e-4)
        assert np.abs(values).max() > 1e-3
    assert list(found.effects.layers) == ["rna"]
    assert found.effects.uns["scmm_values"] == (
        "log fold change of probability of expression"
    )


def test_genes_closed_together_lose_the_peaks_of_all(store, data):
    model, atac = telling(store), data["atac"].copy()
    found = model.perturb(atac, ["GENE7", "GENE4"], kind="close", together=True)
    one, first = shut(model, "GENE7", atac)
    both, second = shut(model, "GENE4", one)
    changed = first | second
    assert found.table["cells"].item() == changed.sum()
    shift = distances(model.embed(atac), model.embed(both))[changed].mean()
    np.testing.assert_allclose(found.table["euclidean_shift"], shift, atol=1e-4)


def test_where_both_are_read_value_and_peaks_are_closed_together(store, data):
    model = CellModel(builders.peak_classifier(store, "both", **MULTIOME))
    closed, changed = shut(model, "GENE4", data["atac"])
    after = data.copy()
    after["atac"].X = closed.X
    found = model.perturb(data, "GENE4", kind="close")
    assert found.effects is None
    assert found.table["cells"].item() == changed.sum()
    shift = distances(model.embed(data), model.embed(after))[changed].mean()
    np.testing.assert_allclose(found.table["euclidean_shift"], shift, atol=1e-4)
    for fields in ({"kind": "delete"}, {"kind": "delete", "modality": "atac"}):
        other = model.perturb(data, "GENE4", **fields)
        assert 1e-4 < other.table["euclidean_shift"].item() != shift


def test_rna_is_changed_beside_peaks_that_stay(store, data):
    model = CellModel(builders.peak_classifier(store, "peak", **MULTIOME))
    number = list(data["rna"].var_names).index("ENSSIMG00000000004")
    counts = data["rna"].X.toarray()
    after, changed = data.copy(), counts[:, number] > 0
    counts[:, number] = 0
    after["rna"].X = sp.csr_matrix(counts)
    found = model.perturb(data, "GENE4", kind="delete")
    assert found.table["cells"].item() == changed.sum()
    shift = distances(model.embed(data), model.embed(after))[changed].mean()
    np.testing.assert_allclose(found.table["euclidean_shift"], shift, atol=1e-4)


def test_of_more_peaks_than_it_reads_others_do_not_take_the_place(store, data):
    """A model that reads 6 peaks of a cell, drawn by what is open, keeps the draw."""
    stored = builders.peak_classifier(store)
    config = dataclasses.replace(stored.config, peak_tokens=PeakTokenConfig(most=6))
    stored = dataclasses.replace(stored, config=config)
    model, atac = CellModel(stored), data["atac"].copy()
    found = model.perturb(atac, "GENE4", kind="close")
    source = model._align(atac).block()
    batch = trained.builder_for(source, config).build(np.arange(60), Regime.ATAC)
    assert (source.peaks.matrix.lengths > 6).any()
    own = in_bands(model, "GENE4", stored.peaks.to_frame())[batch.peaks.ids]
    own &= batch.peaks.mask
    changed = own.any(1)
    assert 5 < found.table["cells"].item() == changed.sum()
    left = batch.replace(peaks=batch.peaks.replace(mask=batch.peaks.mask & ~own))
    embed = trained.embed_function(stored)
    shift = distances(np.asarray(embed(batch)), np.asarray(embed(left)))[changed]
    some = left.peaks.mask.any(1)[changed]
    np.testing.assert_allclose(
        found.cells["euclidean_shift"][some], shift[some], atol=1e-4
    )


def test_a_gene_without_a_peak_changes_no_cell(store, data):
    model = telling(store)
    frame = model.genes
    frame.loc[4, ["start", "end"]] += 80_000_000
    fields = {name: frame[name].to_numpy() for name in ("start", "end")}
    vocabulary = model._stored.vocabulary
    away = dataclasses.replace(vocabulary, starts=fields["start"], ends=fields["end"])
    model = CellModel(dataclasses.replace(model._stored, vocabulary=away))
    found = model.perturb(data["atac"].copy(), ["GENE4", "GENE5"], kind="close")
    assert found.table["cells"].iloc[0] == 0 < found.table["cells"].iloc[1]
    assert np.isnan(found.effects.layers["rna"][0]).all()


@pytest.mark.parametrize("kind", ["delete", "overexpress"])
def test_what_has_no_value_is_not_deleted_or_raised(store, data, kind):
    model = telling(store)
    with pytest.raises(InputError, match=r"no value, and kind is .* Give kind 'close'"):
        model.perturb(data["atac"].copy(), "GENE4", kind=kind, modality="atac")


def test_a_known_link_is_found(tmp_path):
    """A gene whose peaks are closed is told to be expressed less than others are."""
    size = {"num_cells": 400, "num_genes": 20}
    store = builders.peak_store(tmp_path / "data", **size)
    config = builders.peak_pretraining()
    path = dataclasses.replace(config.path, num_layers=0)
    told = GeneFromPeaksOptions(
        weight=1.0,
        num_queries=None,
        loadings=8,
        head=GeneQueryConfig(
            style="inner_product", query_dim=32, gene_dim=32, num_bins=5
        ),
    )
    config = dataclasses.replace(
        config,
        path=path,
        peaks=PeakPathConfig(path=path, pool="mean"),
        gene_from_peaks=told,
        steps=300,
        batch_size=64,
        mixing={Regime.MULTIOME: 1.0},
    )
    fresh = builders.simulated_cells(**size)["atac"][store.split("test")].copy()

    def recovered(model):
        genes = model.genes["gene_id"].tolist()
        found = model.perturb(fresh, genes, kind="close").effects.layers["rna"]
        own = np.eye(len(genes), dtype=bool)
        lower = found[own] < np.nanmean(np.where(own, np.nan, found), 1)
        return lower.mean(), links.link_recovery(-found, own)

    lower, links_ = recovered(CellModel(pretrain.run(store, config, tmp_path / "run")))
    assert lower > 0.9
    assert links_.auroc > 0.9
    _, before = recovered(CellModel(pretrain.untrained(store, config)))
    assert before.auroc < 0.75

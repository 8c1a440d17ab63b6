"""Public data and the generator."""

import numpy as np
import pandas as pd
import pytest
import requests

from scmultimodal import datasets
from scmultimodal.genome.fasta import Genome
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell.peaks import PeakAggregation, link_peaks
from scmultimodal.singlecell.readers import join_modalities
from tests import builders


def test_mouse_cortex(data_folder):
    mdata = datasets.mouse_cortex()
    assert mdata["rna"].shape == (10_309, 1_677)
    assert mdata["atac"].shape == (10_309, 25_734)
    counts = mdata.obs[["cell_type", "coarse_type", "batch"]].nunique()
    assert counts.tolist() == [23, 15, 12]
    for adata in mdata.mod.values():
        assert adata.X.dtype == np.int32
        assert adata.obs_names.equals(mdata.obs_names)
        assert (adata.obs["cell_type"] == mdata.obs["cell_type"]).all()
    assert mdata["atac"].var.iloc[0].tolist() == ["chr1", 4914570, 4914685]
    # Names, cells and counts belong together: Gad2 marks inhibitory neurons.
    rna = mdata["rna"]
    inhibitory = mdata.obs["cell_type"].isin(["InP", "InS", "InV", "InN"]).to_numpy()
    gad2 = rna[:, "Gad2"].X.toarray().ravel()
    assert gad2[inhibitory].mean() > 10 * gad2[~inhibitory].mean()


def test_dnase_as_published(data_folder):
    data = datasets.dnase_regions()
    assert data.signal.shape == (65, 2048, 10)
    assert data.tracks[:2] == ("GM03348", "HepG2")
    counts = data.regions["split"].value_counts()
    assert counts.to_dict() == {"train": 45, "validation": 10, "test": 10}
    measured = data.regions["target_end"] - data.regions["target_start"]
    assert (measured == data.signal.shape[1] * data.bin_bp).all()
    # Signal, places and sequence belong together: open DNA is richer in G and C.
    with Genome.open(data.fasta) as genome:
        gc = np.array(
            [
                np.mean([base in "GC" for base in genome.fetch(chrom, start, end)])
                for chrom, start, end in data.regions[
                    ["chrom", "target_start", "target_end"]
                ].itertuples(index=False)
            ]
        )
    assert np.corrcoef(gc, data.signal.mean((1, 2)))[0, 1] > 0.3


@pytest.mark.parametrize("problem", ["missing", "changed"])
def test_a_folder_that_is_named_must_hold_the_data(tmp_path, monkeypatch, problem):
    monkeypatch.setenv("SCMULTIMODAL_DATA", str(tmp_path))
    if problem == "changed":
        (tmp_path / "mouse_cortex").mkdir()
        for name in ("meta_c1.csv", "mm10_genes.bed"):
            (tmp_path / "mouse_cortex" / name).write_text("chr1\t1\t2\tA\t+\n")
    message = "is missing, though" if problem == "missing" else "sha256 is not 05ea13be"
    with pytest.raises(InputError, match=message):
        datasets.mouse_cortex()
    with pytest.raises(InputError, match="is missing, though"):
        datasets.dnase_regions()


def test_without_network(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise requests.ConnectionError("no route")

    monkeypatch.delenv("SCMULTIMODAL_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    monkeypatch.setattr(requests.Session, "request", unreachable)
    with pytest.raises(datasets.DataUnavailableError, match="cannot be downloaded"):
        datasets.mouse_cortex_genes()
    with pytest.raises(datasets.DataUnavailableError, match="is not published"):
        datasets.dnase_regions()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_download_is_checked_and_leaves_nothing_when_wrong(tmp_path, monkeypatch):
    asked = []

    class Response:
        headers: dict[str, str] = {}  # noqa: RUF012

        def raise_for_status(self):
            pass

        def iter_content(self, chunk_size):
            return iter([b"chr1\t1\t2\tA\t+\n"])

        def close(self):
            pass

    def get(address, **kwargs):
        asked.append(address)
        return Response()

    monkeypatch.delenv("SCMULTIMODAL_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    monkeypatch.setattr(requests, "get", get)
    with pytest.raises(datasets.DataUnavailableError, match="cannot be downloaded"):
        datasets.mouse_cortex_genes()
    assert asked[0].endswith("/simba/data/gene_anno/mm10_genes.bed")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_same_seed_gives_the_same_data():
    settings = {"num_cells": 30, "num_genes": 20}
    one, again = (datasets.simulate_multiome(**settings) for _ in range(2))
    other = datasets.simulate_multiome(seed=1, **settings)
    for key in ("rna", "atac"):
        assert (one[key].X != again[key].X).nnz == 0
        assert one[key].var.equals(again[key].var)
        assert (one[key].X != other[key].X).nnz > 0


def test_the_planted_links_are_those_that_distance_finds():
    mdata = datasets.simulate_multiome(num_cells=5, num_genes=83, peaks_per_gene=7)
    genes = datasets.simulated_genes(mdata)
    links = link_peaks(mdata["atac"].var, genes, PeakAggregation()).tocoo()
    found = {
        (mdata["atac"].var_names[peak], genes["gene_id"][gene])
        for peak, gene in zip(links.row, links.col, strict=True)
    }
    planted = mdata.uns["links"]
    assert found == set(zip(planted["peak"], planted["gene_id"], strict=True))
    assert len(planted) == 7 * 83
    assert mdata["atac"].n_vars > len(planted)
    assert planted["distance_bp"].between(250, 39_250).all()


def test_the_planted_markers_are_higher_in_their_type():
    mdata = datasets.simulate_multiome(num_cells=900, num_genes=60, num_cell_types=3)
    markers = mdata.uns["markers"]
    rna = mdata["rna"].to_df()
    rna = np.log1p(rna).groupby(mdata.obs["cell_type"], observed=True).mean()
    above = rna - rna.mean()
    planted = pd.crosstab(markers["cell_type"], markers["gene_id"])
    planted = planted.reindex(columns=above.columns, fill_value=0) > 0
    assert 0.05 < planted.to_numpy().mean() < 0.2
    only = planted & (planted.sum() == 1)
    assert above.to_numpy()[only].min() > 0.1
    assert abs(above.to_numpy()[~planted].mean()) < 0.1


def _within_type_correlation(link_strength):
    """Mean correlation of a gene's RNA and ATAC over cells of one type."""
    mdata = datasets.simulate_multiome(
        num_cells=400, num_genes=60, num_cell_types=1, link_strength=link_strength
    )
    genes = datasets.simulated_genes(mdata)
    cells = builders.aligned(mdata, genes)
    rna, atac = (np.log1p(cells.counts(m, slice(0, 400)).toarray()) for m in Modality)
    pairs = [np.corrcoef(rna[:, g], atac[:, g])[0, 1] for g in range(60)]
    return float(np.nanmean(pairs))


def test_atac_informs_rna_of_the_same_cell_beyond_its_type():
    assert _within_type_correlation(1.0) > 0.35
    assert abs(_within_type_correlation(0.0)) < 0.05


def test_sizes_and_types():
    mdata = datasets.simulate_multiome(
        num_cells=601, num_genes=50, num_cell_types=4, num_batches=3, rna_depth=500.0
    )
    assert mdata["rna"].shape == (601, 50)
    assert mdata["atac"].shape == (601, 150 + 10)
    assert mdata.obs["cell_type"].value_counts().tolist() == [151, 150, 150, 150]
    assert mdata.obs["batch"].nunique() == 3
    assert 350 < mdata["rna"].X.sum(axis=1).mean() < 700
    assert mdata.uns["simulated"]["num_genes"] == 50
    with pytest.raises(InputError, match="num_genes: is 0"):
        datasets.simulate_multiome(num_genes=0)
    with pytest.raises(InputError, match="peaks_per_gene: is 81"):
        datasets.simulate_multiome(peaks_per_gene=81)
    with pytest.raises(InputError, match="carry no annotation"):
        datasets.simulated_genes(join_modalities({"atac": mdata["atac"]}))


def test_every_size_can_be_had():
    mdata = datasets.simulate_multiome(
        num_cells=1, num_genes=1, num_cell_types=3, num_batches=2, dispersion=0.0
    )
    assert mdata.shape == (1, 1 + 3 + 1)


@pytest.mark.parametrize("size", [(61, 4, 0.5), (13, 3, 0.3), (1, 4, 1.0)], ids=str)
def test_distal_links_are_beyond_the_bands_of_any_gene(size):
    """Of a share of the genes; peaks near them are there, and serve none."""
    num_genes, peaks_per_gene, share = size
    sizes = {"num_genes": num_genes, "peaks_per_gene": peaks_per_gene}
    mdata = datasets.simulate_multiome(num_cells=5, distal=share, **sizes)
    peaks, links = mdata["atac"].var, mdata.uns["links"]
    assert peaks.index.is_unique
    assert links["peak"].is_unique
    far = links[links["distance_bp"] > 45_000]
    assert far["gene_id"].nunique() == round(share * num_genes)
    assert far["gene_id"].value_counts().eq(peaks_per_gene).all()
    assert not set(far["gene_id"]) & set(links["gene_id"].drop(far.index))
    genes = datasets.simulated_genes(mdata)
    served = link_peaks(peaks, genes, PeakAggregation())
    assert not served[peaks.index.get_indexer(far["peak"])].nnz
    assert far["distance_bp"].lt(500_000).all()
    genes = genes.set_index("gene_id")
    chrom = genes["chrom"].loc[far["gene_id"]].to_numpy()
    assert (peaks["chrom"].loc[far["peak"]].to_numpy() == chrom).all()
    apart = peaks.groupby("chrom").apply(
        lambda own: (own["start"] - own["end"].shift()).min(), include_groups=False
    )
    assert not (apart < 0).any()


def test_distal_peaks_follow_their_gene_and_those_near_it_do_not():
    mdata = datasets.simulate_multiome(
        num_cells=600, num_genes=40, num_cell_types=1, distal=0.5
    )
    rna = np.log1p(mdata["rna"].to_df())
    atac = np.log1p(mdata["atac"].to_df())
    links = mdata.uns["links"]
    far = links[links["distance_bp"] > 50_000]
    pairs = zip(far["peak"], far["gene_id"], strict=True)
    follow = [rna[gene].corr(atac[peak]) for peak, gene in pairs]
    assert np.mean(follow) > 0.25
    silent = atac.columns.difference(links["peak"])
    assert len(silent) == 3 * 20 + 8
    others = np.corrcoef(rna[far["gene_id"].unique()].T, atac[silent].T)
    number = far["gene_id"].nunique()
    assert np.abs(others[:number, number:]).mean() < 0.06


def test_distal_peaks_that_do_not_fit():
    with pytest.raises(InputError, match=r"distal: is 1\.5"):
        datasets.simulate_multiome(distal=1.5)
    with pytest.raises(InputError, match="peaks_per_gene: is 5, and distal above 0"):
        datasets.simulate_multiome(distal=0.1, peaks_per_gene=5)

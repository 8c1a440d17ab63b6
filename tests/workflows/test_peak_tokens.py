"""Peaks that a prepared dataset keeps as they are: which, whose, and how many."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scmultimodal import datasets
from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.data.store import Store
from scmultimodal.evaluation import store_report
from scmultimodal.genome import intervals
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import inputs
from scmultimodal.singlecell.recipe import RecipeConfig
from scmultimodal.workflows import inspection, prepare
from tests import builders

CONFIG = prepare.PrepareConfig(
    recipe=RecipeConfig(target_sum=None, counts="fragments", min_feature_fraction=0.0),
    peak_tokens="consensus",
)


@pytest.fixture(scope="module")
def data():
    return builders.simulated_cells(num_cells=40)


def run(data, out, config=CONFIG, **more):
    return run_all({"one": data}, datasets.simulated_genes(data), out, config, **more)


def run_all(parts, genes, out, config=CONFIG, **more):
    found = [inputs.from_data(part, name) for name, part in parts.items()]
    return prepare.run_datasets(
        found, genes, config, out, provenance={"name": "all"}, **more
    )


def places(names):
    return intervals.parse_peak_names(names)


def test_the_counts_of_one_dataset_are_kept_as_they_are(data, tmp_path):
    store = run(data, tmp_path / "store")
    atac = data["atac"]
    order = places(atac.var_names).sort_values(["chrom", "start", "end"]).index
    assert store.peaks.num_peaks == atac.n_vars
    cells = np.arange(store.num_cells)
    counts = store.peak_matrix().rows(cells, "counts").toarray()
    rows = atac.obs_names.get_indexer(store.obs.index)
    assert (counts == atac.X[rows][:, order].toarray()).all()
    bins = store.peak_matrix().rows(cells, "bins").toarray()
    assert (bins == (counts > 0)).all()
    facts = store.manifest["report"]["datasets"]["one"]["peak_tokens"]
    assert facts["peaks"] == facts["peaks_kept"] == facts["tokens_found"]
    assert facts["fragments"] == facts["fragments_kept"] == atac.X.sum()
    assert store.peaks.origin == {"how": "consensus", "datasets": ["one"]}


def test_a_given_set_takes_what_it_shares_most_with(data, tmp_path):
    """Of every second peak; another gives it its neighbour's fragments too."""
    table = places(data["atac"].var_names)
    half = table[::2].assign(start=table["start"] + 1)
    store = run(data, tmp_path / "store", peaks=PeakVocabulary.from_frame(half))
    kept = data["atac"].X[:, ::2]
    found = store.peak_matrix().rows(np.arange(store.num_cells), "counts")
    assert found.sum() == kept.sum() > 0
    facts = store.manifest["report"]["datasets"]["one"]["peak_tokens"]
    assert facts["peaks_kept"] == len(half) == facts["tokens"]
    assert facts["fragments_kept"] == kept.sum() < facts["fragments"]


def test_datasets_with_other_peaks_share_tokens(data, tmp_path):
    """RNA alone has none of them; a shifted peak is the same token."""
    atac = data["atac"]
    shifted = atac[20:].copy()
    moved = places(shifted.var_names).assign(start=lambda t: t["start"] + 10)
    shifted.var_names = intervals.place_names(moved)
    parts = {
        "rna": data["rna"][:5].copy(),
        "one": atac[:20].copy(),
        "two": shifted,
    }
    store = run_all(parts, datasets.simulated_genes(data), tmp_path / "store")
    assert store.peaks.num_peaks == atac.n_vars
    found = store.peak_matrix().rows(np.arange(store.num_cells), "counts").toarray()
    assert not found[:5].any()
    order = places(atac.var_names).sort_values(["chrom", "start", "end"]).index
    assert (found[5:] == atac.X[:, order].toarray()).all()


def test_tiles(data, tmp_path):
    config = dataclasses.replace(CONFIG, peak_tokens="tiles", peak_tile_bp=10_000_000)
    store = run(data, tmp_path / "store", config)
    tiles = store.peaks.to_frame()
    assert (tiles["end"] - tiles["start"] == 10_000_000).all()
    found = store.peak_matrix().rows(np.arange(store.num_cells), "counts")
    assert found.sum() == data["atac"].X.sum()
    with pytest.raises(InputError, match="peak_tile_bp: is 0"):
        dataclasses.replace(CONFIG, peak_tile_bp=0)


def test_what_has_no_peaks_or_no_such_peaks_is_told(data, tmp_path):
    out = tmp_path / "store"
    with pytest.raises(InputError, match="no dataset has peaks"):
        run_all({"rna": data["rna"]}, datasets.simulated_genes(data), out)
    far = pd.DataFrame({"chrom": ["chr9"], "start": [1], "end": [2]})
    with pytest.raises(InputError, match=r"none of its .* peaks overlaps .* --chain"):
        run(data, out, peaks=PeakVocabulary.from_frame(far))
    assert not out.exists()


def test_what_keeps_none_says_so(data, tmp_path):
    store = run(data, tmp_path / "store", dataclasses.replace(CONFIG, peak_tokens=None))
    assert store.peaks is None
    with pytest.raises(InputError, match=r"keeps no peaks\. Prepare it"):
        store.peak_matrix()
    assert inspection.facts(store)["peak_tokens"] is None


def test_new_bins_leave_the_peaks_alone(data, tmp_path):
    store = run(data, tmp_path / "store")
    again = store.rebin(lambda _, counts: counts.astype(bool), path=tmp_path / "new")
    cells = np.arange(store.num_cells)
    one, two = (s.peak_matrix().rows(cells, "counts") for s in (store, again))
    assert (one != two).nnz == 0
    assert again.peaks.digest() == store.peaks.digest()


def test_damage_is_noticed(data, tmp_path):
    store = run(data, tmp_path / "store")
    path = store.path / "shards/00000/peaks.indices.npy"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputError, match=r"peaks\.indices\.npy: has .* bytes instead"):
        Store.open(store.path)


def test_the_table_for_people(data, tmp_path):
    store = run(data, tmp_path / "store")
    found = inspection.facts(store)["peak_tokens"]
    opened = (data["atac"].X > 0).sum(1)
    assert found["per_cell"]["p50"] == np.median(np.asarray(opened).ravel())
    text = store_report.format_table(inspection.facts(store))
    assert f"{store.peaks.num_peaks:,} (consensus)" in text
    assert "100.0 %" in text


def test_a_part_without_atac_has_no_peaks(tmp_path, data):
    """Of one AnnData whose cells all have RNA alone beside one with ATAC."""
    genes = datasets.simulated_genes(data)
    parts = {"atac": data["atac"], "rna": AnnData(data["rna"].X, var=data["rna"].var)}
    store = run_all(parts, genes, tmp_path / "store")
    lengths = store.peak_matrix().lengths
    assert (lengths[~store.present("atac")] == 0).all()
    assert (lengths[store.present("atac")] > 0).any()

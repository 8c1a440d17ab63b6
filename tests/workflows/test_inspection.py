"""Facts of a prepared dataset: against the dataset itself, all at once."""

import dataclasses
import json

import numpy as np
import pytest

from scmultimodal import datasets
from scmultimodal.data.store import write_store
from scmultimodal.singlecell.inputs import from_data
from scmultimodal.workflows import inspection, prepare
from tests import builders


def written(path, cells=None, **options):
    """A store of made-up cells, in shards of 16."""
    return write_store(
        path,
        cells=cells or builders.cell_table(),
        vocabulary=builders.gene_vocabulary(),
        bin_function=builders.capped_bins,
        **{"provenance": {}, "cells_per_shard": 16} | options,
    )


@pytest.mark.parametrize("modality", ["rna", "atac"])
def test_a_modality_is_described_as_it_is(tmp_path, monkeypatch, modality):
    monkeypatch.setattr(inspection, "ROWS_AT_ONCE", 5)
    cells = builders.cell_table()
    found = inspection.facts(written(tmp_path / "a"))["modalities"][modality]
    counts = cells.matrices[modality].toarray()[cells.present[modality]]
    nonzeros = (counts > 0).sum(1)
    assert found["cells"] == len(counts)
    assert found["nonzeros"] == nonzeros.sum()
    assert found["density"] == pytest.approx((counts > 0).mean())
    assert found["nonzeros_per_cell"]["p50"] == np.median(nonzeros)
    assert found["nonzeros_per_cell"]["p95"] == np.percentile(nonzeros, 95)
    training = (cells.obs["split"] == "train").to_numpy()
    bins = np.minimum(cells.matrices[modality].toarray()[training], 5)
    assert found["bins"] == [(bins == number).sum() for number in range(1, 6)]


def test_cells_are_counted_by_what_they_have_and_are(tmp_path):
    cells = builders.cell_table()
    found = inspection.facts(written(tmp_path / "a"))
    rna, atac = cells.present["rna"], cells.present["atac"]
    assert found["cells_with"] == {
        "rna": rna.sum(), "atac": atac.sum(), "both": (rna & atac).sum()
    }  # fmt: skip
    assert found["labels"] == {"B": 20, "T": 20, "NK": 19, "rare": 1}
    assert list(found["labels"]) == ["B", "T", "NK", "rare"]
    assert found["batches"] == {"a": 20, "b": 20, "c": 20}
    assert found["splits"]["left_out"] == 1
    assert sum(found["splits"].values()) == found["cells"] == 60


def test_facts_are_json_and_do_not_depend_on_the_shards(tmp_path):
    many = inspection.facts(written(tmp_path / "a", cells_per_shard=7))
    one = inspection.facts(written(tmp_path / "b", cells_per_shard=60))
    assert json.loads(json.dumps(many, allow_nan=False)) == many
    assert (many["shards"], one["shards"]) == (9, 1)
    for name in ("store", "name", "shards", "bytes"):
        del many[name], one[name]
    assert many == one


def test_bytes_are_those_of_the_folder(tmp_path):
    store = written(tmp_path / "a")
    sizes = [p.stat().st_size for p in store.path.rglob("*") if p.is_file()]
    assert inspection.facts(store)["bytes"] == sum(sizes)


def test_without_split_or_labels_all_cells_are_looked_at(tmp_path):
    cells = builders.cell_table()
    cells = dataclasses.replace(cells, obs=cells.obs[["depth"]])
    found = inspection.facts(written(tmp_path / "a", cells))
    assert sum(found["modalities"]["rna"]["bins"]) == cells.rna.nnz
    assert found["labels"] is found["batches"] is None
    assert found["splits"] == {}


def test_a_modality_that_no_cell_has_is_no_error(tmp_path):
    cells = builders.cell_table()
    nobody = np.zeros(60, bool)
    cells = dataclasses.replace(
        cells, rna=cells.rna * 0, present=cells.present | {"rna": nobody}
    )
    found = inspection.facts(written(tmp_path / "a", cells))
    json.dumps(found, allow_nan=False)
    assert found["modalities"]["rna"]["nonzeros_per_cell"]["p50"] is None
    assert found["modalities"]["rna"]["evenness"] is None


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([7] * 5, 1.0),
        ([0, 9, 0], 0.0),
        ([3, 3, 0, 0], 0.5),
        ([0, 0], None),
        ([4], None),
    ],
)
def test_evenness_by_hand(counts, expected):
    assert inspection.evenness(np.array(counts)) == pytest.approx(expected)


def test_datasets_are_told_apart(tmp_path):
    """Of the union, one dataset lacks five genes, and one has ATAC alone."""
    data = builders.simulated_cells()
    whole = from_data(data[:120].copy(), "whole")
    fewer = from_data(data["rna"][120:200, 5:].copy(), "fewer")
    atac = from_data(data["atac"][200:].copy(), "atac")
    store = prepare.run_datasets(
        [whole, fewer, atac],
        datasets.simulated_genes(data),
        prepare.PrepareConfig(genes="union"),
        tmp_path / "a",
        provenance={"name": "three", "simulated": True},
    )
    facts = inspection.facts(store)
    found = facts["datasets"]
    assert facts["simulated"]
    assert {name: d["cells"] for name, d in found.items()} == {
        "whole": 120, "fewer": 80, "atac": 100
    }  # fmt: skip
    assert [d["genes_measured"] for d in found.values()] == [40, 35, None]
    assert [d["genes_kept"] for d in found.values()] == [40, 35, None]
    assert found["fewer"]["cells_with"] == {"rna": 80, "atac": 0, "both": 0}
    assert found["atac"]["peak_aggregation"]["peaks"] == data["atac"].n_vars
    for name in ("whole", "atac"):
        links = found[name]["links"]
        assert [sum(n) for n in links["genes_per_peak"]] == [data["atac"].n_vars] * 3
        assert [sum(n) for n in links["peaks_per_gene"]] == [40] * 3


def test_genes_that_a_model_knows_and_the_data_lack_are_not_measured(tmp_path):
    data = builders.simulated_cells()
    genes, config = datasets.simulated_genes(data), prepare.PrepareConfig()
    first = prepare.run(data, genes, config, tmp_path / "a", provenance={})
    again = prepare.run(
        data["rna"][:, 3:].copy(),
        genes,
        config,
        tmp_path / "b",
        provenance={"name": "new"},
        vocabulary=first.vocabulary,
    )
    assert inspection.facts(again)["datasets"]["new"]["genes_measured"] == 37

"""Datasets whose counts stay on disk hold what readers put into memory."""

import inspect

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from anndata import AnnData

from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell import counts, inputs, readers, spill
from scmultimodal.singlecell.entries import Entries

CELLS, GENES, PEAKS = 11, 7, 5


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    cells = [f"{'ACGT'[i % 4] * 9}-{i}" for i in range(CELLS)]
    names = {
        "rna": [f"ENSG{i:011d}" for i in range(GENES)],
        "atac": [f"chr1:{100 * i + 1}-{100 * i + 50}" for i in range(PEAKS)],
    }
    parts = {
        key: AnnData(
            sp.csr_matrix(rng.poisson(0.7, (CELLS, len(features))).astype(np.int32)),
            obs=pd.DataFrame({"donor": ["a", "b"] * 5 + ["a"]}, index=cells),
            var=pd.DataFrame(index=features),
        )
        for key, features in names.items()
    }
    # Every name is needed once: cells of one modality alone, in another order.
    parts["atac"] = parts["atac"][[3, 1, 2, 9, 5, 4]].copy()
    return readers.join_modalities(parts)


def csc(adata):
    adata.X = adata.X.tocsc()
    return adata


def dense(adata):
    adata.X = adata.X.toarray()
    return adata


def in_layer(adata):
    adata.layers["raw"] = adata.X
    adata.X = adata.X / 2.5
    return adata


def as_mtx(adata, path):
    path.mkdir()
    scipy.io.mmwrite(path / "matrix.mtx", sp.coo_matrix(adata.X.T))
    (path / "barcodes.tsv").write_text("\n".join(adata.obs_names) + "\n")
    (path / "features.tsv").write_text("\n".join(adata.var_names) + "\n")


FILES = {
    "csr": ("x.h5ad", lambda adata, path: adata.write_h5ad(path)),
    "csc": ("x.h5ad", lambda adata, path: csc(adata).write_h5ad(path)),
    "dense": ("x.h5ad", lambda adata, path: dense(adata).write_h5ad(path)),
    "cells by genes": ("x.csv", lambda adata, path: adata.to_df().to_csv(path)),
    "genes by cells": ("x.tsv.gz", lambda a, p: a.to_df().T.to_csv(p, sep="\t")),
    "mtx": ("x", as_mtx),
}


def same(dataset, modality, matrix, names):
    row = dataset.row[modality]
    found = dataset.counts[modality].rows
    every = found.rows(0, found.shape[0]).toarray()
    assert every[row[row >= 0]].tolist() == matrix.toarray().tolist()
    assert dataset.obs.index[row >= 0].tolist() == list(names)
    # Any rows, and none.
    assert found.rows(2, 5).toarray().tolist() == every[2:5].tolist()
    assert found.rows(4, 4).shape == (0, every.shape[1])


@pytest.mark.parametrize("kind", FILES)
def test_files_of_one_modality(tmp_path, data, kind, monkeypatch):
    name, write = FILES[kind]
    write(data["rna"].copy(), tmp_path / name)
    monkeypatch.setattr(spill, "_ROWS_PER_FILE", 4)
    dataset = inputs.open_dataset(tmp_path / name, tmp_path / "scratch", name="x")
    whole = readers.read(tmp_path / name)["rna"]
    same(dataset, Modality.RNA, whole.X, whole.obs_names)
    assert dataset.counts[Modality.RNA].var.index.tolist() == whole.var_names.tolist()


def test_both_modalities_and_cells_of_one_alone(tmp_path, data):
    data.obs["batch"] = ["one"] * 4 + ["two"] * 7
    data.write_h5mu(tmp_path / "x.h5mu")
    dataset = inputs.open_dataset(tmp_path / "x.h5mu", tmp_path / "s", name="x")
    for modality in (Modality.RNA, Modality.ATAC):
        names = dataset.obs.index[dataset.row[modality] >= 0]
        same(dataset, modality, data[modality.value][names].X, names)
    assert set(dataset.obs) == {"batch", "donor"}
    alone = inputs.open_dataset(
        tmp_path / "x.h5mu", tmp_path / "s", name="x", modality=Modality.ATAC
    )
    assert list(alone.counts) == [Modality.ATAC]
    assert len(alone.obs) == 6


def test_memory_and_file_are_alike(tmp_path, data):
    data.write_h5mu(tmp_path / "x.h5mu")
    one = inputs.from_data(data, "x")
    other = inputs.open_dataset(tmp_path / "x.h5mu", tmp_path / "s", name="x")
    pd.testing.assert_frame_equal(one.obs, other.obs, check_names=False)
    for modality, row in one.row.items():
        assert row.tolist() == other.row[modality].tolist()


def test_layers(tmp_path, data):
    in_layer(data["rna"].copy()).write_h5ad(tmp_path / "x.h5ad")
    arguments = (tmp_path / "x.h5ad", tmp_path / "s")
    dataset = inputs.open_dataset(*arguments, name="x", layer="raw")
    same(dataset, Modality.RNA, data["rna"].X, data["rna"].obs_names)
    with pytest.raises(InputError, match=r"no layer 'row'.*raw"):
        inputs.open_dataset(*arguments, name="x", layer="row")


def test_a_layer_of_one_modality_leaves_the_other_its_x(tmp_path, data):
    """In memory and of a file alike."""
    expected = {key: data[key].X for key in data.mod}
    in_layer(data["rna"])
    data.write_h5mu(tmp_path / "x.h5mu")
    arguments = (tmp_path / "x.h5mu", tmp_path / "s")
    found = inputs.open_dataset(*arguments, name="x", layer="raw")
    for dataset in (inputs.from_data(data, "x", layer="raw"), found):
        for modality in (Modality.RNA, Modality.ATAC):
            names = data[modality.value].obs_names
            rows = dataset.row[modality][dataset.obs.index.get_indexer(names)]
            counts = dataset.counts[modality].rows.rows(0, len(names)).toarray()
            assert (counts[rows] == expected[modality.value].toarray()).all()
    with pytest.raises(InputError, match=r"x.h5mu: has no layer 'row'.*'rna': \['raw"):
        inputs.open_dataset(*arguments, name="x", layer="row")


@pytest.mark.parametrize("given", ["x.h5ad", np.eye(3), pd.DataFrame(np.eye(3))])
def test_what_is_no_anndata(given):
    with pytest.raises(InputError, match=f"is a {type(given).__name__}.*read_h5ad"):
        inspect.unwrap(inputs.from_data)(given, "data")  # Past jaxtyping's own check.


def test_both_in_one_matrix_of_cell_ranger(tmp_path, data):
    cells = data["atac"].obs_names
    both = sp.hstack([data["rna"][cells].X, data["atac"].X], format="csc").T.tocsc()
    with h5py.File(tmp_path / "x.h5", "w") as file:
        group = file.create_group("matrix")
        for key in ("data", "indices", "indptr"):
            group[key] = getattr(both, key)
        group["shape"], group["barcodes"] = both.shape, cells.to_list()
        names = [*data["rna"].var_names, *data["atac"].var_names]
        group["features/id"] = group["features/name"] = names
        types = ["Gene Expression"] * GENES + ["Peaks"] * PEAKS
        group["features/feature_type"] = types
    dataset = inputs.open_dataset(tmp_path / "x.h5", tmp_path / "s", name="x")
    same(dataset, Modality.RNA, data["rna"][cells].X, cells)
    same(dataset, Modality.ATAC, data["atac"].X, cells)


def test_damage_is_found_where_it_is_read(tmp_path, data):
    path = tmp_path / "x.h5ad"
    data["rna"].write_h5ad(path)
    with h5py.File(path, "a") as file:
        file["X/indices"][3] = GENES
    rows = inputs.open_dataset(path, tmp_path / "s", name="x").counts[Modality.RNA].rows
    with pytest.raises(InputError, match=r"x\.h5ad.*names column 7 of 7"):
        rows.rows(0, CELLS)
    with h5py.File(path, "a") as file:
        file["X/indptr"][3] = 10**6
    with pytest.raises(InputError, match=r"x\.h5ad.*indptr of /?X does not fit"):
        inputs.open_dataset(path, tmp_path / "s", name="x")


def test_values_are_named_by_cell_and_feature():
    cells, features = pd.Index(["one", "two"]), pd.Index(["a", "b", "c"])
    matrix = sp.csr_matrix([[1.0, 0, 2], [0, 3.5, 0]])
    for kind in (sp.csr_matrix, sp.csc_matrix):
        with pytest.raises(InputError, match=r"3\.5 of feature 'b' in cell 'two'"):
            counts.clean_rows(kind(matrix), cells, features, "x")


def test_spilled_entries_add_up(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "_ROWS_PER_FILE", 3)
    rng = np.random.default_rng(0)
    parts = [Entries(*rng.integers(0, 8, (3, 50))) for _ in range(4)]
    expected = np.zeros((8, 8), int)
    for part in parts:
        np.add.at(expected, (part.rows, part.columns), part.counts)
    rows = spill.spill(iter(parts), (8, 8), tmp_path / "s")
    for start, stop in [(0, 8), (2, 3), (2, 7), (8, 8)]:
        assert (
            rows.rows(start, stop).toarray().tolist() == expected[start:stop].tolist()
        )


def test_fragments_become_cells_by_peaks(tmp_path):
    (tmp_path / "f.tsv").write_text("chr1\t105\t190\tA\t1\nchr1\t300\t460\tB\t2\n")
    (tmp_path / "p.bed").write_text("chr1\t100\t200\nchr1\t450\t500\n")
    (tmp_path / "b.txt").write_text("B\nA\n")
    dataset = inputs.open_fragments_file(
        tmp_path / "f.tsv",
        tmp_path / "s",
        name="f",
        peaks=tmp_path / "p.bed",
        barcodes=tmp_path / "b.txt",
        counts="insertions",
    )
    found = dataset.counts[Modality.ATAC].rows.rows(0, 2).toarray()
    assert dataset.obs.index.tolist() == ["B", "A"]
    assert found.tolist() == [[0, 1], [2, 0]]
    assert dataset.counted == "insertions"
    assert dataset.facts["fragments_file"]["fragments"] == 2

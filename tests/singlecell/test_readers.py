"""Files in, good and bad."""

import warnings

import anndata
import h5py
import mudata
import numpy as np
import pytest
import scipy.sparse as sp

from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell.readers import join_modalities, read, split_modalities
from tests.builders import annotated

PEAKS = ["chr1:5-20", "chr1:30-50", "chr2:5-20"]


def _rna(**settings):
    return annotated([[1, 2, 0], [0, 3, 1]], ["A", "B", "C"], **settings)


def _atac(**settings):
    return annotated([[1, 0, 1], [0, 2, 1]], PEAKS, **settings)


def _write(folder, parts):
    path = folder / "cells.h5mu"
    with mudata.set_options(pull_on_update=False):
        join_modalities(parts).write(path)
    return path


@pytest.mark.parametrize(
    ("rna_key", "atac_key"),
    [("rna", "atac"), ("GEX", "Peaks"), ("Gene Expression", "ATAC-seq")],
)
def test_h5mu_under_the_usual_keys(tmp_path, rna_key, atac_key):
    path = _write(tmp_path, {atac_key: _atac(), rna_key: _rna()})
    mdata = read(path)
    assert list(mdata.mod) == ["rna", "atac"]
    assert mdata["rna"].X.toarray().tolist() == [[1, 2, 0], [0, 3, 1]]
    assert mdata["rna"].X.dtype == np.int32
    assert mdata["atac"].var["end"].tolist() == [20, 50, 20]


def test_cells_of_one_modality_and_global_columns_survive(tmp_path):
    path = tmp_path / "cells.h5mu"
    with mudata.set_options(pull_on_update=False):
        mdata = join_modalities(
            {"rna": _rna(cells=["a", "b"]), "atac": _atac(cells=["b", "c"])}
        )
        mdata.obs["type"] = ["x", "y", "z"]
        mdata.uns["simulated"] = {"seed": 3}
        mdata.write(path)
    result = read(path)
    assert result.obs["type"].to_dict() == {"a": "x", "b": "y", "c": "z"}
    assert result.uns["simulated"]["seed"] == 3


def test_h5ad_of_each_kind(tmp_path):
    path = tmp_path / "cells.h5ad"
    _rna().write_h5ad(path)
    assert list(read(path).mod) == ["rna"]
    assert list(read(path, modality="rna").mod) == ["rna"]
    _atac().write_h5ad(path)
    assert list(read(path).mod) == ["atac"]


def test_h5ad_with_both_kinds_of_features(tmp_path):
    adata = anndata.concat([_rna(), _atac()], axis=1)
    adata.var["feature_types"] = ["Gene Expression"] * 3 + ["Peaks"] * 3
    path = tmp_path / "cells.h5ad"
    adata.write_h5ad(path)
    mdata = read(path)
    assert mdata["rna"].var_names.tolist() == ["A", "B", "C"]
    assert mdata["atac"].X.toarray().tolist() == [[1, 0, 1], [0, 2, 1]]


def test_counts_in_a_layer(tmp_path):
    rna = _rna()
    rna.layers["counts"] = rna.X.copy()
    rna.X = rna.X * 0.3
    path = tmp_path / "cells.h5ad"
    rna.write_h5ad(path)
    with pytest.raises(InputError, match="layer 'counts' holds such"):
        read(path)
    assert read(path, layer="counts")["rna"].X.toarray()[1].tolist() == [0, 3, 1]
    with pytest.raises(InputError, match=r"no layer 'raw'.*\['counts'\]"):
        read(path, layer="raw")


def test_modalities_by_name():
    assert list(split_modalities(_atac())) == [Modality.ATAC]
    with pytest.raises(InputError, match=r"neither RNA nor ATAC.*\['prot'\]"):
        split_modalities(join_modalities({"prot": _rna()}))
    twice = join_modalities({"rna": _rna(), "gex": _rna()})
    with pytest.raises(InputError, match="has rna twice"):
        split_modalities(twice)


def _error(path, **settings):
    with pytest.raises(InputError) as error:
        read(path, **settings)
    message = str(error.value)
    assert path.name in message or settings
    assert "\n" not in message
    return message


def test_wrong_kinds_of_file(tmp_path):
    assert "does not exist" in _error(tmp_path / "absent.h5ad")
    table = tmp_path / "table.docx"
    table.write_text("a,b")
    assert "is a .docx file" in _error(table)
    text = tmp_path / "text.h5ad"
    text.write_text("not HDF5")
    assert "no complete HDF5 file" in _error(text)
    other = tmp_path / "other.h5ad"
    with h5py.File(other, "w") as file:
        file["x"] = 1
    assert "cannot be read" in _error(other)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_truncated_files(tmp_path, share):
    path = _write(tmp_path, {"rna": _rna(), "atac": _atac()})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "no complete HDF5 file" in _error(path)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("mod/atac/X/indices", 1_000_000, "sparse matrix is broken"),
        ("mod/atac/X/indptr", 77, ""),
        ("mod/rna/X/data", -3, "[rna]: value -3 of feature"),
    ],
)
def test_changed_entries(tmp_path, entry, value, message):
    path = _write(tmp_path, {"rna": _rna(), "atac": _atac()})
    with h5py.File(path, "r+") as file:
        file[entry][1] = value
    assert message in _error(path)


def test_a_broken_matrix_is_found_before_it_is_split(tmp_path):
    adata = anndata.concat([_rna(), _atac()], axis=1)
    adata.var["feature_types"] = ["Gene Expression"] * 3 + ["Peaks"] * 3
    path = tmp_path / "cells.h5ad"
    adata.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["X/indices"][0] = 2**30
    assert "sparse matrix is broken" in _error(path)


def test_names_that_occur_twice_and_peaks_that_are_none(tmp_path):
    path = tmp_path / "cells.h5ad"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        annotated([[1, 2]], ["A", "A"]).write_h5ad(path)
    assert "feature name 'A' occurs 2 times" in _error(path)
    _rna().write_h5ad(path)
    assert "peak name 'A' is not an interval" in _error(path, modality="atac")
    assert "'dna' is unknown" in _error(path, modality="dna")


def test_names_and_feature_types_decide_over_what_is_asked(tmp_path):
    path = tmp_path / "cells.h5ad"
    genes = [f"ENSG{i:011d}" for i in range(3)]
    annotated([[1, 2, 0]], genes).write_h5ad(path)
    assert "is to be atac, and its features are genes" in _error(path, modality="atac")
    _atac().write_h5ad(path)
    assert "is to be rna, and its features are peaks" in _error(path, modality="rna")
    both = annotated([[1, 2, 0, 1, 0, 1], [0, 0, 3, 0, 2, 1]], [*genes, *PEAKS])
    both.var["feature_types"] = ["Gene Expression"] * 3 + ["Peaks"] * 3
    both.write_h5ad(path)
    for modality, names in (("rna", genes), ("atac", PEAKS)):
        assert read(path, modality=modality)[modality].var_names.tolist() == names
    both[:, :3].copy().write_h5ad(path)
    assert "holds no atac" in _error(path, modality="atac")


def test_what_a_file_claims_is_not_believed(tmp_path):
    path = tmp_path / "cells.h5ad"
    _rna().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file.create_dataset("layers/big", (2, 2**33), "i4", chunks=(1, 1024))
    assert "declares 17179869184 values that the file cannot hold" in _error(path)
    _rna().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["layers/other"] = h5py.ExternalLink("secret.h5", "/x")
    assert "is a link to another file" in _error(path)


def test_an_empty_modality(tmp_path):
    empty = annotated(sp.csr_matrix((2, 3)), ["A", "B", "C"])
    path = _write(tmp_path, {"rna": empty, "atac": _atac()})
    assert "[rna]: holds no counts at all" in _error(path)


def test_real_files(data_folder):
    a = read(data_folder / "bmmc_multiome/bmmc_multiome_A.h5mu")
    assert a["rna"].shape == (500, 1134)
    assert a["atac"].var.iloc[0].tolist() == ["chr1", 1677585, 1678477]
    b = read(data_folder / "bmmc_multiome/bmmc_atac_only_B.h5ad")
    assert list(b.mod) == ["atac"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # written by an old muon
        muon = read(data_folder / "multiome_muon_fragments/test_rna_atac.h5mu")
    assert muon["atac"].var["start"].iloc[0] == 100_350_982

"""Which cells are kept."""

import numpy as np
import pytest

from scmultimodal import datasets
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.filtering import filter_cells
from scmultimodal.singlecell.readers import join_modalities
from tests.builders import annotated


def _cells(nonzeros, cells, features=100):
    matrix = (np.arange(features) < np.array(nonzeros)[:, None]).astype(int)
    return annotated(matrix, [f"f{i}" for i in range(features)], cells)


def test_the_threshold_itself_passes():
    adata = _cells([6, 7, 8, 0], ["a", "b", "c", "d"])
    kept = filter_cells(adata, min_feature_fraction=0.07)
    assert kept.obs_names.tolist() == ["b", "c"]
    assert kept.uns["cell_filter"]["before"] == 4
    assert kept.uns["cell_filter"]["after"] == 2
    assert adata.n_obs == 4
    assert "cell_filter" not in adata.uns


def test_stored_zeros_are_zeros():
    adata = _cells([5, 5], ["a", "b"])
    adata.X.data[:5] = 0
    assert filter_cells(adata).obs_names.tolist() == ["b"]


def test_a_cell_must_pass_in_each_modality_it_has():
    rna = _cells([9, 9, 0, 9], ["both", "poor atac", "poor rna", "rna only"])
    atac = _cells([0, 9, 9, 9], ["poor atac", "both", "poor rna", "atac only"])
    atac.var_names = [f"p{i}" for i in range(100)]
    kept = filter_cells(join_modalities({"rna": rna, "atac": atac}))
    assert sorted(kept.obs_names) == ["atac only", "both", "rna only"]
    assert sorted(kept["rna"].obs_names) == ["both", "rna only"]
    assert sorted(kept["atac"].obs_names) == ["atac only", "both"]
    assert kept.uns["cell_filter"]["failed"] == {"rna": 1, "atac": 1}


def test_nothing_left():
    with pytest.raises(
        InputError, match=r"cells: no cell of 2 has 50\.00% of its features"
    ):
        filter_cells(_cells([1, 2], ["a", "b"]), min_feature_fraction=0.5)


def test_of_raw_peaks_few_cells_have_enough(data_folder):
    """SPEC 2.2.5: so the filter comes after peaks have become values of genes."""
    assert filter_cells(datasets.mouse_cortex()).n_obs == 287

"""Reads to fragments."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.singlecell.fragments import (
    detect_counts,
    reads_to_fragments,
    to_fragments,
)
from tests.builders import annotated

READS = [[0, 1, 2, 3], [4, 5, 2, 0]]
FRAGMENTS = [[0, 1, 1, 2], [2, 3, 1, 0]]
PEAKS = ["p0", "p1", "p2", "p3"]


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.float32])
@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_matrix, np.array])
def test_by_hand_and_the_input_stays(dtype, form):
    adata = annotated(READS, PEAKS)
    adata.X = form(np.array(READS, dtype))
    result = reads_to_fragments(adata).X
    assert type(result) is type(adata.X)
    assert result.dtype == dtype
    dense = result.toarray() if sp.issparse(result) else result
    assert dense.tolist() == FRAGMENTS
    before = adata.X.toarray() if sp.issparse(adata.X) else adata.X
    assert before.tolist() == READS


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_the_largest_count_of_a_type(dtype):
    largest = np.iinfo(dtype).max
    adata = annotated(np.array([[largest]], dtype), ["p"])
    assert reads_to_fragments(adata).X[0, 0] == largest // 2 + 1


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1))
def test_whole_fragments_come_back(fragments):
    """2f and 2f − 1 reads are f fragments, up to the largest int32."""
    fragments = np.array([fragments]) // 2
    for missing in (0, 1):
        reads = np.maximum(2 * fragments - missing, 0).astype(np.int32)
        adata = annotated(reads, [str(i) for i in range(reads.shape[1])])
        assert (reads_to_fragments(adata).X.toarray() == fragments).all()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([1, 1, 1, 2], "fragments"),
        ([1, 2, 2, 3], "reads"),
        ([4] * 95 + [1] * 5, "reads"),
        ([4] * 85 + [1] * 15, "fragments"),
        ([0, 0], "fragments"),
    ],
)
def test_detection(counts, expected):
    assert detect_counts(np.array([counts])) == expected
    assert detect_counts(sp.csr_matrix([counts])) == expected


def test_each_choice():
    reads = annotated([[2, 2, 1, 4]], PEAKS)
    fragments = annotated([[1, 1, 1, 2]], PEAKS)
    assert to_fragments(fragments)[0] is fragments
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for choice in ("auto", "reads", "insertions"):
            result, kind = to_fragments(reads, choice)
            assert kind == ("reads" if choice == "auto" else choice)
            assert result.X.toarray().tolist() == [[1, 1, 1, 2]]
    with pytest.warns(UserWarning, match=r"taken for fragments.*looks like reads"):
        assert to_fragments(reads, "fragments")[0] is reads
    with pytest.warns(UserWarning, match=r"taken for reads.*looks like fragments"):
        to_fragments(fragments, "reads")


def test_real_counts_are_told_apart(data_folder):
    import anndata

    insertions = anndata.read_h5ad(data_folder / "bmmc_multiome/bmmc_atac_only_B.h5ad")
    assert detect_counts(insertions.X) == "reads"
    with np.load(data_folder / "mouse_cortex/RxC1.npz") as parts:
        assert detect_counts(parts["data"]) == "fragments"

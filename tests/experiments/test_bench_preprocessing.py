"""What the bench of preprocessing writes, and that it compares equal things."""

import json

import numpy as np
import pytest
import scipy.sparse as sp

from experiments.bench import preprocessing

CONFIG = preprocessing.Config(cells=40, peaks=300, genes=50, density=0.1, turns=2)


def test_results_are_written_with_ratios_of_medians(tmp_path, capsys):
    config = preprocessing.Config(
        cells=40, peaks=300, genes=50, density=0.1, turns=3, out=tmp_path
    )
    preprocessing.main(config)
    found = json.loads((tmp_path / "preprocessing.json").read_text())
    seconds = {name: np.median(turns) for name, turns in found["seconds"].items()}
    expected = seconds["peaks_scipy"] / seconds["peaks_ours"]
    assert found["ratios"]["peaks_to_genes"] == pytest.approx(expected)
    assert preprocessing.NAMES["peaks_ours"] in capsys.readouterr().out
    assert (tmp_path / "preprocessing.png").stat().st_size > 1_000
    assert (
        preprocessing.NAMES["bins_ours"] in (tmp_path / "preprocessing.md").read_text()
    )


def test_sizes_are_those_asked_for():
    counts = preprocessing.random_counts(CONFIG)
    weights = preprocessing.random_links(CONFIG)
    assert counts.shape == (40, 300)
    assert weights.shape == (300, 50)
    assert counts.nnz == 1_200
    assert weights.nnz == pytest.approx(2 * 300, rel=0.3)
    assert set(np.unique(weights.data)) == {1, 2, 3}


def test_values_that_differ_are_no_result():
    counts = preprocessing.random_counts(CONFIG)
    weights = preprocessing.random_links(CONFIG)
    product = sp.csr_matrix(counts @ weights)
    ours = preprocessing.our_values(counts, weights)
    good = {"peaks_scipy": product, "peaks_ours": product, "values_ours": ours}
    preprocessing.check(good | {"values_scanpy": ours})
    other = ours.copy()
    other.data[3] += 1e-4
    with pytest.raises(AssertionError, match="from scanpy's"):
        preprocessing.check(good | {"values_scanpy": other})
    with pytest.raises(AssertionError, match="differs from scipy's"):
        preprocessing.check(good | {"peaks_ours": product * 2})

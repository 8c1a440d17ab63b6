"""The chain from counts to bins."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from scmultimodal import datasets
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import recipe
from scmultimodal.singlecell.binning import bin_values
from scmultimodal.singlecell.fragments import reads_to_fragments
from scmultimodal.singlecell.normalization import (
    column_medians,
    log1p,
    normalize_total,
)
from scmultimodal.singlecell.peaks import aggregate_peaks
from scmultimodal.singlecell.readers import join_modalities
from tests.builders import annotated, gene_table

CONFIG = recipe.RecipeConfig()


@pytest.fixture(scope="module")
def simulated():
    return datasets.simulate_multiome(num_cells=60, num_genes=40, seed=1)


def _small():
    """RNA and ATAC in different orders, each with a cell of its own."""
    genes = gene_table(
        ("a", "chr1", 100_000, 101_000, "+"), ("b", "chr1", 300_000, 301_000, "-")
    )
    rna = annotated([[1, 2, 5], [3, 4, 0], [5, 6, 1]], ["b", "a", "x"], ["r", "s", "t"])
    peaks = ["chr1:100000-100500", "chr1:315000-315500"]
    atac = annotated([[2, 4], [6, 2], [8, 2]], peaks, ["t", "u", "s"])
    return rna, atac, genes


def test_cells_of_both_modalities_are_brought_into_one_order():
    rna, atac, genes = _small()
    mdata = join_modalities({"rna": rna, "atac": atac})
    genes = pd.concat([genes.iloc[[1, 0]], gene_table(("x", "", -1, -1, "."))])
    cells = recipe.align_to_genes(mdata, genes, CONFIG)
    order = cells.obs.index.tolist()
    assert order == mdata.obs_names.tolist()
    assert sorted(order) == ["r", "s", "t", "u"]
    assert cells.genes["gene_id"].tolist() == ["b", "a", "x"]
    rows = dict(zip(order, cells.rna.toarray().tolist(), strict=True))
    assert rows == {"r": [1, 2, 5], "s": [3, 4, 0], "t": [5, 6, 1], "u": [0, 0, 0]}
    # Reads 2 and 4 are 1 and 2 fragments; a has its peak in band 1 (3 units), b in 2.
    rows = dict(zip(order, cells.atac.toarray().tolist(), strict=True))
    assert rows == {"r": [0, 0, 0], "s": [2, 12, 0], "t": [4, 3, 0], "u": [2, 9, 0]}
    assert cells.atac_unit == 1 / 6
    present = {k: dict(zip(order, v, strict=True)) for k, v in cells.present.items()}
    assert present["rna"] == {"r": True, "s": True, "t": True, "u": False}
    assert present["atac"] == {"r": False, "s": True, "t": True, "u": True}
    assert cells.report["counts"] == {"asked": "auto", "taken_for": "reads"}
    json.dumps(cells.report)


def test_counts_are_checked_under_the_names_of_the_data():
    rna, atac, genes = _small()
    align = recipe.align_to_genes
    rna.X[2, 2] = -1
    with pytest.raises(InputError, match="rna: value -1 of feature 'x' in cell 't'"):
        align(rna, genes, CONFIG)
    atac.obs_names = ["c", "c", "d"]
    with pytest.raises(InputError, match="atac: cell name 'c' occurs 2 times"):
        align(atac, genes, CONFIG)
    rna.X.indices[0] = 2**30
    with pytest.raises(InputError, match="rna: a sparse matrix is broken"):
        align(rna, genes, CONFIG)


def test_one_modality_alone():
    rna, atac, genes = _small()
    cells = recipe.align_to_genes(rna, genes, CONFIG)
    assert cells.atac is None
    assert not cells.present["atac"].any()
    cells = recipe.align_to_genes(atac, genes, CONFIG)
    assert cells.rna is None
    assert cells.genes["gene_id"].tolist() == ["a", "b"]


def test_new_data_keep_their_cells_and_take_the_order_of_the_vocabulary():
    rna, atac, genes = _small()
    rna.X[0] = 0
    others = gene_table(("x", "", -1, -1, "."), ("lost", "", -1, -1, "."))
    table = pd.concat([others[:1], genes.iloc[::-1], others[1:]], ignore_index=True)
    cells = recipe.align_to_genes(rna, table, CONFIG)
    assert cells.obs.index.tolist() == ["r", "s", "t"]
    assert cells.rna.toarray().tolist() == [[0] * 4, [0, 3, 4, 0], [1, 5, 6, 0]]
    report = cells.report["gene_alignment"]
    assert (report["found"], report["missing"]) == (3, 1)
    assert report["first_missing"] == ["lost"]
    cells = recipe.align_to_genes(atac, table, CONFIG)
    assert cells.obs.index.tolist() == ["t", "u", "s"]
    assert cells.atac.toarray().tolist()[0] == [0, 4, 3, 0]


def test_a_gene_that_new_data_have_twice_is_taken_for_missing():
    rna, _, genes = _small()
    rna.var["gene_name"] = ["a", "a", "b"]
    rna.var_names = ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003"]
    cells = recipe.align_to_genes(rna, genes, CONFIG)
    assert cells.rna.toarray().tolist() == [[0, 5], [0, 0], [0, 1]]
    assert cells.report["gene_alignment"]["first_missing"] == ["a"]


def test_new_data_without_the_genes_of_the_model():
    rna, _, genes = _small()
    rna.var_names = ["n1", "n2", "n3"]
    with pytest.raises(InputError, match="only 0 of 3 genes"):
        recipe.align_to_genes(rna, genes, CONFIG)
    wide = gene_table(*[(f"g{i}", "chr1", 5, 9, "+") for i in range(20)])
    rna.var_names = ["g3", "g5", "n3"]
    with pytest.warns(UserWarning, match="only 2 of the model's 20 genes"):
        cells = recipe.align_to_genes(rna, wide, CONFIG)
    assert cells.rna[:, 5].toarray().ravel().tolist() == [2, 4, 6]


def test_the_chain_is_the_sum_of_its_steps(simulated):
    genes = datasets.simulated_genes(simulated)
    mdata = join_modalities({"rna": simulated["rna"], "atac": simulated["atac"].copy()})
    mdata["atac"].X = 2 * mdata["atac"].X  # every fragment read at both ends
    cells = recipe.align_to_genes(mdata, genes, CONFIG)

    level = aggregate_peaks(reads_to_fragments(mdata["atac"]), genes)
    np.testing.assert_allclose(cells.atac.toarray() / 6, level.X.toarray(), rtol=1e-6)
    values = log1p(normalize_total(level, target_sum=CONFIG.target_sum))
    logged = recipe.log_normalize(cells.atac, CONFIG.target_sum, cells.atac_unit)
    np.testing.assert_allclose(logged.toarray(), values.X.toarray(), rtol=1e-5)
    medians = column_medians(logged)
    bins = recipe.bin_counts(
        cells.atac,
        unit=cells.atac_unit,
        target_sum=CONFIG.target_sum,
        medians=medians,
        strategy="gene_normalized",
        num_bins=5,
    )
    values.X = logged
    assert (bins != bin_values(values, medians=medians).X).nnz == 0
    assert set(bins.data) == {1, 2, 3, 4, 5}


def test_medians_even_out_the_bins_of_a_gene(simulated):
    """Step 7: without it a frequent gene is in the top bin nearly everywhere."""
    genes = datasets.simulated_genes(simulated)
    cells = recipe.align_to_genes(simulated, genes, CONFIG)
    logged = recipe.log_normalize(cells.rna, CONFIG.target_sum)
    settings = {"unit": 1.0, "target_sum": CONFIG.target_sum, "num_bins": 5}
    spread = {}
    for strategy in ("quantile", "gene_normalized"):
        bins = recipe.bin_counts(
            cells.rna,
            medians=column_medians(logged),
            strategy=strategy,
            **settings,
        )
        sums, nonzeros = bins.sum(axis=0), (bins > 0).sum(axis=0)
        spread[strategy] = np.std(np.asarray(sums / nonzeros))
    assert spread["gene_normalized"] < 0.5 * spread["quantile"]


def test_counts_are_their_own_bins():
    """In units of the gene-level value, whatever the depth of the cell."""
    counts = annotated([[6, 3, 0, 40], [1, 0, 0, 0]], list("abcd")).X
    settings = {"strategy": "counts", "num_bins": 5, "target_sum": 100.0}
    bins = recipe.bin_counts(
        counts, unit=1 / 6, medians=np.full(4, 0.1, np.float32), **settings
    )
    assert bins.toarray().tolist() == [[1, 1, 0, 5], [1, 0, 0, 0]]
    assert bins.dtype == np.uint8


def test_a_unit_matters_only_without_a_common_total():
    counts = annotated([[6, 3]], ["a", "b"]).X
    one = recipe.log_normalize(counts, 100.0).toarray()
    assert (recipe.log_normalize(counts, 100.0, 1 / 6).toarray() == one).all()
    raw = recipe.log_normalize(counts, None, 1 / 6).toarray()
    np.testing.assert_allclose(raw, np.log1p([[1.0, 0.5]]), rtol=1e-6)


def test_settings_out_of_range():
    with pytest.raises(InputError, match="target_sum 0"):
        recipe.RecipeConfig(target_sum=0.0)
    with pytest.raises(InputError, match=r"min_feature_fraction 1\.0"):
        recipe.RecipeConfig(min_feature_fraction=1.0)
    with pytest.raises(InputError, match="num_bins"):
        recipe.RecipeConfig(num_bins=0)


def test_unknown_choices():
    """Outside the tests no type checker stands before the check."""
    code = """
import numpy as np
from anndata import AnnData
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import recipe
for call in (
    lambda: recipe.RecipeConfig(strategy="rank"),
    lambda: recipe.PeakAggregation(anchor="rank"),
    lambda: recipe.to_fragments(AnnData(X=np.ones((1, 1))), "rank"),
):
    try:
        call()
    except InputError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    lines = run.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["strategy", "anchor", "counts"]
    assert all("'rank' is unknown. Use one of" in line for line in lines), run.stderr

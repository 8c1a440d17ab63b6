"""The chain from counts to bins."""

import subprocess
import sys

import numpy as np
import pytest

from scmultimodal import datasets
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
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
from tests import builders
from tests.builders import annotated

CONFIG = recipe.RecipeConfig()


@pytest.fixture(scope="module")
def simulated():
    return datasets.simulate_multiome(num_cells=60, num_genes=40, seed=1)


def test_the_chain_is_the_sum_of_its_steps(simulated):
    genes = datasets.simulated_genes(simulated)
    mdata = join_modalities({"rna": simulated["rna"], "atac": simulated["atac"].copy()})
    mdata["atac"].X = 2 * mdata["atac"].X  # every fragment read at both ends
    cells = builders.aligned(mdata, genes)
    gene_level = cells.counts(Modality.ATAC, slice(0, 60))

    level = aggregate_peaks(reads_to_fragments(mdata["atac"]), genes)
    np.testing.assert_allclose(gene_level.toarray() / 6, level.X.toarray(), rtol=1e-6)
    values = log1p(normalize_total(level, target_sum=CONFIG.target_sum))
    logged = recipe.log_normalize(gene_level, CONFIG.target_sum, 1 / 6)
    np.testing.assert_allclose(logged.toarray(), values.X.toarray(), rtol=1e-5)
    medians = column_medians(logged)
    bins = recipe.bin_counts(
        gene_level,
        unit=1 / 6,
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
    counts = builders.aligned(simulated, genes).counts(Modality.RNA, slice(0, 60))
    logged = recipe.log_normalize(counts, CONFIG.target_sum)
    settings = {"unit": 1.0, "target_sum": CONFIG.target_sum, "num_bins": 5}
    spread = {}
    for strategy in ("quantile", "gene_normalized"):
        bins = recipe.bin_counts(
            counts,
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
from scmultimodal.singlecell import fragments, recipe
for call in (
    lambda: recipe.RecipeConfig(strategy="rank"),
    lambda: recipe.PeakAggregation(anchor="rank"),
    lambda: fragments.to_fragments(AnnData(X=np.ones((1, 1))), "rank"),
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

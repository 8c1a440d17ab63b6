"""Plans of a preparation: how far peaks are from genes."""

import numpy as np
import pytest
import scipy.sparse as sp

from scmultimodal.singlecell.inputs import from_data
from scmultimodal.singlecell.peaks import PeakAggregation
from scmultimodal.workflows import prepare_plan
from tests import builders

BANDS = (10_000, 20_000, 50_000)


def test_links_are_counted_by_distance():
    """A peak in gene A, 15 kb from gene B and 60 kb from C; one near nothing."""
    genes = builders.gene_table(
        ("A", "chr1", 100_000, 101_000, "+"),
        ("B", "chr1", 116_000, 117_000, "+"),
        ("C", "chr1", 161_000, 162_000, "+"),
        ("nowhere", "", -1, -1, "."),
    )
    peaks = ["chr1:100500-101000", "chr1:900000-900500"]
    atac = from_data(builders.annotated([[2, 4]], peaks), "made up").counts["atac"]
    places = prepare_plan.place_peaks(atac, None)
    plan = prepare_plan.align_atac(atac, places, genes, PeakAggregation())
    assert plan.report["links"] == {
        "within_bp": list(BANDS),
        "peaks_per_gene": [[2, 1], [1, 2], [1, 2]],
        "genes_per_peak": [[1, 1], [1, 0, 1], [1, 0, 1]],
    }


@pytest.mark.parametrize("seed", range(3))
def test_counted_links_add_up(seed):
    """Against one gene and one peak at a time; the last number is of all beyond."""
    rng = np.random.default_rng(seed)
    bands = rng.integers(0, 4, (150, 8)) * (rng.random((150, 8)) < 0.9)
    bands[:, 0] = 1
    placed = rng.random(8) < 0.7
    counted = prepare_plan.count_links(sp.coo_matrix(bands), placed, BANDS)
    most = prepare_plan.MOST_LINKS
    for place, band in enumerate((1, 2, 3)):
        near = (bands > 0) & (bands <= band)
        per_gene = [min(int(n), most) for n in near.sum(0)[placed]]
        per_peak = [min(int(n), most) for n in near.sum(1)]
        for name, numbers in (
            ("peaks_per_gene", per_gene),
            ("genes_per_peak", per_peak),
        ):
            expected = [numbers.count(n) for n in range(max(numbers) + 1)]
            assert counted[name][place] == expected

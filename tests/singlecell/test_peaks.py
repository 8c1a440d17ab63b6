"""Peaks to genes: by hand, and against a double loop on real peaks."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.peaks import (
    PeakAggregation,
    aggregate_peaks,
    integer_weights,
    link_peaks,
    peak_intervals,
)
from tests.builders import annotated, gene_table

ANCHORS = ("tss_and_body", "body", "tss")
PLUS = ("g", "chr1", 100_000, 130_000, "+")
MINUS = ("g", "chr1", 70_000, 100_000, "-")


def _band(gene, start, end, anchor):
    """Band of one peak of one gene; 0 = no link."""
    peaks = pd.DataFrame({"chrom": ["chr1"], "start": [start], "end": [end]})
    links = link_peaks(peaks, gene_table(gene), PeakAggregation(anchor=anchor))
    return int(links[0, 0])


@pytest.mark.parametrize(
    ("start", "tss", "tss_and_body", "body"),
    [
        # Downstream of the start at 100,000, in the body until 130,000.
        (100_000, 1, 1, 1),
        (109_999, 1, 1, 1),
        (110_000, 2, 1, 1),
        (119_999, 2, 1, 1),
        (120_000, 3, 1, 1),
        (129_999, 3, 1, 1),
        (130_000, 3, 3, 1),
        (139_999, 3, 3, 1),
        (140_000, 3, 3, 2),
        (149_999, 3, 3, 2),
        (150_000, 0, 0, 3),
        (179_999, 0, 0, 3),
        (180_000, 0, 0, 0),
        # Upstream: the peak's end is the nearest edge.
        (100_000 - 500, 1, 1, 1),
        (100_000 - 500 - 9_999, 1, 1, 1),
        (100_000 - 500 - 10_000, 2, 2, 2),
        (100_000 - 500 - 19_999, 2, 2, 2),
        (100_000 - 500 - 20_000, 3, 3, 3),
        (100_000 - 500 - 49_999, 3, 3, 3),
        (100_000 - 500 - 50_000, 0, 0, 0),
    ],
)
def test_bands_by_hand_on_both_strands(start, tss, tss_and_body, body):
    expected = {"tss": tss, "tss_and_body": tss_and_body, "body": body}
    for anchor, band in expected.items():
        assert _band(PLUS, start, start + 500, anchor) == band
        # The mirror image at 100,000 of gene and peak.
        mirrored = 200_000 - start
        assert _band(MINUS, mirrored - 500, mirrored, anchor) == band


def test_a_peak_across_a_boundary_belongs_to_the_nearest_band():
    assert _band(PLUS, 85_000, 95_000, "tss") == 1
    assert _band(PLUS, 40_000, 89_000, "tss") == 2
    assert _band(PLUS, 10_000, 190_000, "tss") == 1


def test_the_body_of_a_long_gene_counts_as_the_first_band():
    long = ("g", "chr1", 100_000, 900_000, "+")
    assert _band(long, 800_000, 800_500, "tss_and_body") == 1
    assert _band(long, 899_999, 900_500, "tss_and_body") == 1
    assert _band(long, 900_000, 900_500, "tss_and_body") == 0
    assert _band(long, 800_000, 800_500, "tss") == 0


def test_values_and_coverage_by_hand():
    genes = gene_table(
        ("a", "chr1", 100_000, 101_000, "+"),
        ("b", "chr1", 120_000, 125_000, "-"),
        ("nowhere", "", -1, -1, "."),
        ("c", "chr2", 100_000, 101_000, "+"),
    )
    peaks = ["chr1:99000-99500", "chr1:112000-112500", "chr2:40000-40500"]
    peaks += ["chr3:100-200"]
    atac = annotated([[2, 3, 7, 1], [0, 1, 0, 0]], peaks)
    result = aggregate_peaks(atac, genes)
    # Peak 0: a, 500 bp; b (start 125,000), 25,500 bp. Peak 1: a and b in 10-20 kb.
    # Peak 2: c, 59,500 bp. Peak 3: no gene on its chromosome.
    six = [[3 * 2 + 2 * 3, 2 + 2 * 3, 0, 0], [2, 2, 0, 0]]
    np.testing.assert_allclose(result.X.toarray() * 6, six, rtol=1e-6)
    assert result.X.dtype == np.float32
    assert result.var_names.tolist() == ["a", "b", "nowhere", "c"]
    report = result.uns["peak_aggregation"]
    assert report["unit"] == 1 / 6
    assert report["peaks_per_band"] == [1, 1, 0]
    assert report["peaks_outside"] == 2
    assert report["fragments_per_band"] == [2, 4, 0]
    assert report["fragments_outside"] == 8
    assert report["links_per_band"] == [1, 2, 1]
    assert report["genes_without_peak"] == 2
    assert atac.X.toarray().tolist() == [[2, 3, 7, 1], [0, 1, 0, 0]]


def test_chromosome_names_are_brought_together():
    genes = gene_table(PLUS)
    plain = gene_table(("g", "1", 100_000, 130_000, "+"))
    for table, peak in ((genes, "1:100000-100500"), (plain, "chr1:100000-100500")):
        assert aggregate_peaks(annotated([[6]], [peak]), table).X[0, 0] == 3
    with pytest.raises(InputError, match="peaks: chromosomes are named in two ways"):
        aggregate_peaks(annotated([[6, 1]], ["1:5-9", "chr2:5-9"]), genes)
    with pytest.raises(InputError, match="share no chromosome with the genes"):
        aggregate_peaks(annotated([[6]], ["chr7:5-9"]), genes)


def test_a_peak_without_chromosome_serves_no_gene_without_place():
    genes = gene_table(PLUS, ("nowhere", "", -1, -1, "."))
    atac = annotated([[6, 6]], ["p", "q"])
    atac.var["chrom"], atac.var["start"], atac.var["end"] = (
        ["chr1", ""],
        100_000,
        100_009,
    )
    assert aggregate_peaks(atac, genes).X.toarray().tolist() == [[3, 0]]
    atac.var["start"], atac.var["end"] = 5, 9
    assert aggregate_peaks(atac, genes).X.nnz == 0


def test_integer_weights():
    assert integer_weights((1 / 2, 1 / 3, 1 / 6)) == ((3, 2, 1), 1 / 6)
    assert integer_weights((1.0, 0.5, 0.25)) == ((4, 2, 1), 0.25)
    assert integer_weights((2.0, 4.0)) == ((1, 2), 2.0)
    with pytest.raises(InputError, match="no simple fractions"):
        integer_weights((np.pi,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands_bp": (20_000, 10_000), "weights": (1.0, 0.5)}, "do not increase"),
        ({"bands_bp": (), "weights": ()}, "do not increase"),
        ({"weights": (1.0, 0.5)}, "for 3 bands"),
        ({"weights": (1.0, 0.5, 0.0)}, "one positive weight per band"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(InputError, match=message):
        PeakAggregation(**settings)


def test_intervals_from_columns_win_over_names():
    atac = annotated([[1, 1]], ["chr1_6_9", "x"])
    atac.var["Chr"] = pd.Categorical(["chr1", "chr2"])
    atac.var["chromStart"] = ["5", "7"]
    atac.var["chromEnd"] = [9.0, 8.0]
    peaks = peak_intervals(atac)
    assert peaks.values.tolist() == [["chr1", 5, 9], ["chr2", 7, 8]]
    atac.var["chromEnd"] = [9.5, 8.0]
    with pytest.raises(InputError, match="'chromEnd' holds values that are not whole"):
        peak_intervals(atac)
    atac.var["chromEnd"] = [9, 7]
    with pytest.raises(InputError, match="'x' spans 7 to 7 bp"):
        peak_intervals(atac)


def _brute_force(counts, peaks, genes, anchor):
    """Gene-level values as the text of SPEC 2.2.4 says, one pair at a time."""
    values = np.zeros((counts.shape[0], len(genes)))
    for g, gene in enumerate(genes.itertuples()):
        tss = gene.start if gene.strand == "+" else gene.end
        for p, peak in enumerate(peaks.itertuples()):
            if peak.chrom != gene.chrom:
                continue
            if peak.start <= tss <= peak.end:
                from_tss = 0
            else:
                from_tss = min(abs(peak.start - tss), abs(peak.end - tss))
            if peak.start < gene.end and gene.start < peak.end:
                from_body = 0
            else:
                from_body = min(abs(peak.start - gene.end), abs(gene.start - peak.end))
            if anchor == "tss":
                distance = from_tss
            elif anchor == "body":
                distance = from_body
            else:
                overlaps = peak.start < gene.end and gene.start < peak.end
                distance = 0 if overlaps else from_tss
            if distance < 10_000:
                values[:, g] += counts[:, p] / 2
            elif distance < 20_000:
                values[:, g] += counts[:, p] / 3
            elif distance < 50_000:
                values[:, g] += counts[:, p] / 6
    return values


@pytest.mark.parametrize("anchor", ANCHORS)
def test_equals_a_double_loop_on_real_peaks(data_folder, anchor):
    from scmultimodal import datasets

    mdata, genes = datasets.mouse_cortex(), datasets.mouse_cortex_genes()
    atac = mdata["atac"]
    # 60 genes of each of five chromosomes, with all peaks of these.
    chroms = ["chr1", "chr7", "chr16", "chr19", "chrX"]
    used = genes[genes["symbol"].isin(mdata["rna"].var_names)]
    used = used[used["chrom"].isin(chroms)].groupby("chrom").head(60)
    atac = atac[:100, atac.var["chrom"].isin(chroms)].copy()
    result = aggregate_peaks(atac, used, anchor=anchor)
    expected = _brute_force(atac.X.toarray(), atac.var, used, anchor)
    assert len(used) > 200
    assert np.count_nonzero(expected) > 500
    np.testing.assert_allclose(result.X.toarray(), expected, rtol=1e-6)


def test_every_anchor_on_crowded_random_intervals():
    rng = np.random.default_rng(1)
    start = rng.integers(0, 300_000, 150)
    peaks = pd.DataFrame({"chrom": rng.choice(["chr1", "chr2"], 150), "start": start})
    peaks["end"] = start + rng.choice([1, 500, 20_000, 150_000], 150)
    names = [f"{p.chrom}:{p.start}-{p.end}" for p in peaks.itertuples()]
    rows = []
    for i in range(40):
        begin = int(rng.integers(0, 300_000))
        length = int(rng.choice([1, 2_000, 120_000]))
        strand = str(rng.choice(["+", "-"]))
        rows.append((f"g{i}", f"chr{1 + i % 3}", begin, begin + length, strand))
    genes = gene_table(*rows)
    counts = rng.poisson(1.0, (5, 150))
    for anchor in ANCHORS:
        found = aggregate_peaks(annotated(counts, names), genes, anchor=anchor)
        expected = _brute_force(counts, peaks, genes, anchor)
        np.testing.assert_allclose(found.X.toarray(), expected, rtol=1e-6)


def test_a_gene_index_serves_as_well_as_a_column():
    genes = gene_table(PLUS).set_index("gene_id")
    result = aggregate_peaks(annotated([[6]], ["chr1:100000-100500"]), genes)
    assert result.var_names.tolist() == ["g"]
    assert sp.issparse(result.X)

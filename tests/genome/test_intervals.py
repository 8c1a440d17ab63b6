"""Peak names, chromosome names and overlaps."""

import bioframe
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.genome import intervals
from scmultimodal.schemas.errors import InputError


@pytest.mark.parametrize(
    ("name", "chrom"),
    [
        ("chr1:5-20", "chr1"),
        ("chr1-5-20", "chr1"),
        ("chr1_5_20", "chr1"),
        ("1:5-20", "1"),
        ("chr14_GL000009v2_random_5_20", "chr14_GL000009v2_random"),
        ("chr14_GL000009v2_random:5-20", "chr14_GL000009v2_random"),
        ("GL000194.1-5-20", "GL000194.1"),
        ("HLA-A-5-20", "HLA-A"),
    ],
)
def test_peak_names(name, chrom):
    peaks = intervals.parse_peak_names([name])
    assert peaks.values.tolist() == [[chrom, 5, 20]]
    assert peaks["start"].dtype == np.int64


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GAPDH", "peak name 'GAPDH' is not an interval"),
        ("chr1:5", "not an interval"),
        ("chr1:20-20", "'chr1:20-20' spans 20 to 20 bp"),
        ("chr1:20-5", "spans 20 to 5 bp"),
    ],
)
def test_wrong_peak_names(name, message):
    with pytest.raises(InputError, match=message):
        intervals.parse_peak_names(["chr1:1-2", name])


def test_share_of_peak_names():
    names = ["chr1:1-2", "chr1-9-2", "GAPDH", "AC004-1.2"]
    assert intervals.share_of_peak_names(names) == 0.25
    assert intervals.share_of_peak_names([]) == 0.0


def test_chromosome_styles():
    assert intervals.chromosome_style(["chr1", "chrUn_GL1", "GL000194.1"], "x") == "chr"
    assert intervals.chromosome_style(["1", "MT", "GL000194.1"], "x") == "plain"
    assert intervals.chromosome_style({"1": 248_956_422, "2": 24}, "x") == "plain"
    with pytest.raises(InputError, match=r"peaks\.bed.*'chr2' and 'X'"):
        intervals.chromosome_style(["chr2", "X"], "peaks.bed")


def test_renaming_goes_both_ways():
    plain = pd.Series(["1", "X", "MT", "GL000194.1"])
    prefixed = pd.Series(["chr1", "chrX", "chrM", "GL000194.1"])
    assert intervals.rename_chromosomes(plain, "chr").equals(prefixed)
    assert intervals.rename_chromosomes(prefixed, "plain").equals(plain)
    assert intervals.rename_chromosomes(prefixed, "chr").equals(prefixed)


_tables = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 30), st.integers(1, 12)),
    max_size=25,
).map(
    lambda rows: pd.DataFrame(
        [(chrom, start, start + length) for chrom, start, length in rows],
        columns=["chrom", "start", "end"],
    ).astype({"chrom": object, "start": np.int64, "end": np.int64})
)


@given(_tables, _tables)
def test_overlaps_are_those_of_a_double_loop(left, right):
    expected = [
        (i, j)
        for i, a in enumerate(left.itertuples())
        for j, b in enumerate(right.itertuples())
        if a.chrom == b.chrom and a.start < b.end and b.start < a.end
    ]
    first, second = intervals.overlapping(left, right)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == expected


def test_overlaps_are_those_of_bioframe(rng_tables):
    left, right = rng_tables
    found = bioframe.overlap(left, right, how="inner", return_index=True)
    expected = sorted(zip(found["index"], found["index_"], strict=True))
    first, second = intervals.overlapping(left, right)
    assert list(zip(first, second, strict=True)) == expected
    assert len(expected) > 1_000


@pytest.fixture
def rng_tables():
    """Two tables of 2,000 intervals on three chromosomes."""
    rng = np.random.default_rng(0)
    tables = []
    for _ in range(2):
        start = rng.integers(0, 1_000_000, 2_000)
        end = start + rng.integers(1, 2_000, 2_000)
        chrom = rng.choice(["chr1", "chr2", "chr3"], 2_000)
        tables.append(pd.DataFrame({"chrom": chrom, "start": start, "end": end}))
    return tables

"""Peaks of several datasets as one set: merged, tiled, and found again."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import peak_sets


def peaks(*places):
    """From "chr1:10-20"."""
    split = [p.replace(":", "-").split("-") for p in places]
    return pd.DataFrame(
        [(c, int(s), int(e)) for c, s, e in split], columns=["chrom", "start", "end"]
    )


def names(frame):
    return [f"{c}:{s}-{e}" for c, s, e in frame.itertuples(index=False)]


def test_peaks_that_overlap_become_one_and_those_that_touch_do_not():
    one = peaks("chr1:10-20", "chr1:30-40", "chr2:5-9")
    two = peaks("1:18-25", "1:40-50", "X:1-3")
    assert sorted(names(peak_sets.consensus([one, two]))) == [
        "chr1:10-25", "chr1:30-40", "chr1:40-50", "chr2:5-9", "chrX:1-3",
    ]  # fmt: skip


def test_tiles_hold_the_middle_of_a_peak():
    found = peak_sets.tiles([peaks("chr1:90-112", "chr1:101-103", "chr2:0-10")], 100)
    assert names(found) == ["chr1:100-200", "chr2:0-100"]
    with pytest.raises(InputError, match="tile_bp: is 0"):
        peak_sets.tiles([peaks("chr1:1-2")], 0)


def test_a_peak_is_the_one_it_shares_most_with():
    reference = peaks("chr1:0-100", "chr1:100-300", "chr2:0-50")
    own = peaks("chr1:90-120", "chr1:80-120", "chr1:300-310", "chr2:49-80")
    found = peak_sets.match(own, reference)
    assert found.toarray().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert found.dtype == np.int32
    facts = peak_sets.kept(found, 15, 8)
    assert facts == {
        "peaks": 4, "peaks_kept": 3, "fragments": 15, "fragments_kept": 8,
        "tokens": 3, "tokens_found": 3,
    }  # fmt: skip


def test_names_of_chromosomes_do_not_matter():
    found = peak_sets.match(peaks("MT:1-5", "1:1-5"), peaks("chr1:2-9", "chrM:0-3"))
    assert found.toarray().tolist() == [[0, 1], [1, 0]]


def test_nothing_in_common_is_an_error_with_a_remedy():
    with pytest.raises(InputError, match=r"my\.h5ad: none of its 1 peaks .* --chain"):
        peak_sets.match(peaks("chr1:1-5"), peaks("chr1:5-9"), "my.h5ad")


SPANS = st.lists(
    st.tuples(
        st.sampled_from(["chr1", "chr2"]),
        st.integers(0, 300),
        st.integers(1, 40),
    ).map(lambda p: f"{p[0]}:{p[1]}-{p[1] + p[2]}"),
    min_size=1, max_size=20, unique=True,
)  # fmt: skip


@given(SPANS, SPANS)
def test_every_peak_is_one_of_the_consensus(one, two):
    """Merged peaks never overlap, cover what they are made of, and no base more."""
    tables = [peaks(*one), peaks(*two)]
    merged = peak_sets.consensus(tables)

    def bases(frame):
        return {
            (c, b) for c, s, e in frame.itertuples(index=False) for b in range(s, e)
        }

    assert bases(merged) == bases(pd.concat(tables))
    assert (merged["end"] - merged["start"]).sum() == len(bases(merged))
    for table in tables:
        assert (peak_sets.match(table, merged).sum(1) == 1).all()


@given(SPANS, SPANS)
def test_the_match_by_hand(own, reference):
    own, reference = peaks(*own), peaks(*reference)
    expected = np.zeros((len(own), len(reference)), int)
    for row, (c, s, e) in enumerate(own.itertuples(index=False)):
        shared = [
            max(0, min(e, f) - max(s, r)) if c == d else 0
            for d, r, f in reference.itertuples(index=False)
        ]
        if max(shared):
            expected[row, int(np.argmax(shared))] = 1
    if not expected.any():
        with pytest.raises(InputError, match="none of its"):
            peak_sets.match(own, reference)
    else:
        assert (peak_sets.match(own, reference).toarray() == expected).all()

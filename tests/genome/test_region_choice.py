"""Two open regions and a closed one: the draw itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scmultimodal.genome.region_choice import Draws, choose
from scmultimodal.genome.spans import Pieces, SpanConfig


def drawn(*rows, gap=((0, 0),), lengths=(300.0, 0.0), seed=0, **config):
    """The choice from pieces of (window, start, end, value)."""
    table = np.array([r[:3] for r in rows], np.int64).reshape(-1, 3)
    windows = np.unique(table[:, 0])
    return choose(
        Pieces(np.arange(len(rows)), *table.T),
        np.array([r[3] for r in rows], np.float64),
        windows=windows,
        gap=np.array(gap, np.int64).reshape(-1, 2)[: len(windows)],
        lengths=lengths,
        config=SpanConfig(**config),
        draws=Draws(seed, "chr1", 0, "T", 0),
    )


# Random numbers.


def test_numbers_depend_on_every_word_of_the_key():
    keys = [(0, "chr1", 0), (1, "chr1", 0), (0, "chr2", 0), (0, "chr1", 1)]
    numbers = [Draws(*key).uniform(4) for key in keys]
    assert len({n.tobytes() for n in numbers}) == len(keys)
    for key, number in zip(keys, numbers, strict=True):
        np.testing.assert_array_equal(Draws(*key).uniform(4), number)


def test_numbers_of_today_are_those_of_tomorrow():
    """A seed means the same data for good. New numbers: a new version of the store."""
    np.testing.assert_array_equal(
        Draws(7, "chr1", 0, "T cell", 300).uniform(2, 2),
        [
            [0.12315378660049825, 0.10449363319527316],
            [0.6289397750493432, 0.023310215890938846],
        ],
    )


def test_numbers_are_uniform_and_normal():
    uniform, normal = Draws(1).uniform(20_000), Draws(2).normal(20_000)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert stats.kstest(uniform, "uniform").pvalue > 0.01
    assert stats.kstest(normal, "norm").pvalue > 0.01
    assert np.isfinite(normal).all()


# Choice.


def test_by_hand():
    found = drawn((4, 10, 20, 2.0), (4, 30, 40, 0.0), (4, 50, 60, 1.0))
    assert found.window.tolist() == [4]
    assert sorted(found.intervals[0, :2].tolist()) == [[10, 20], [50, 60]]
    assert sorted(found.values[0, :2].tolist()) == [1, 2]
    assert found.intervals[0, 2].tolist() == [30, 40]
    assert found.values[0, 2] == 0
    assert (found.gap_too_short, found.windows_overlap) == (0, 0)


@pytest.mark.parametrize(
    "values", [[], [0.0], [1.0], [1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
)
def test_fewer_than_two_open_pieces_make_no_span(values):
    rows = [(0, 10 * i, 10 * i + 5, value) for i, value in enumerate(values)]
    found = drawn(*rows, gap=(500, 3_000))
    assert len(found.window) == found.gap_too_short == 0


def test_every_open_pair_and_every_closed_piece_is_as_likely():
    rows = [
        (w, 10 * i, 10 * i + 5, float(i < 4)) for w in range(6_000) for i in range(7)
    ]
    found = drawn(*rows, gap=[(100, 3_000)] * 6_000)
    assert len(found.window) == 6_000
    chosen = found.intervals[:, :, 0] // 10
    pairs = np.sort(chosen[:, :2], axis=1) @ [10, 1]
    _, counts = np.unique(pairs, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 0.01
    assert stats.chisquare(np.bincount(chosen[:, 2])[4:]).pvalue > 0.01
    assert chosen[:, 2].min() == 4


OPEN = [(0, 0, 10, 1.0), (0, 20, 30, 2.0)]


@settings(max_examples=60)
@given(
    st.integers(30, 2_000),
    st.integers(0, 900),
    st.floats(0, 1_500),
    st.floats(0, 500),
    st.integers(1, 300),
    st.integers(0, 50),
)
def test_a_gap_gives_a_stretch_or_is_too_short(low, room, mean, sd, least, seed):
    gap = (low, low + room)
    found = drawn(*OPEN, gap=gap, lengths=(mean, sd), min_gap_bp=least, seed=seed)
    if room < least:
        assert (len(found.window), found.gap_too_short) == (0, 1)
        return
    start, end = found.intervals[0, 2]
    assert low <= start < end <= low + room
    assert least <= end - start
    assert found.gap_too_short == 0


@pytest.mark.parametrize(
    ("mean", "gap", "length"),
    [(300, 900, 300), (50, 900, 100), (1_000, 900, 900), (50, 100, 100)],
)
def test_lengths_are_clamped(mean, gap, length):
    found = drawn(*OPEN, gap=(1_000, 1_000 + gap), lengths=(float(mean), 0.0))
    start, end = found.intervals[0, 2]
    assert end - start == length


def test_the_place_in_a_gap_is_random_up_to_both_ends():
    rows = [(w, *row[1:]) for w in range(2_000) for row in OPEN]
    found = drawn(*rows, gap=[(100, 109)] * 2_000, lengths=(5.0, 0.0), min_gap_bp=1)
    counts = np.bincount(found.intervals[:, 2, 0] - 100)
    assert len(counts) == 5
    assert stats.chisquare(counts).pvalue > 0.01


def test_windows_of_fixed_length_that_overlap_are_dropped_and_counted():
    rows = [(0, 0, 10, 1.0), (0, 9, 19, 2.0), (1, 60, 70, 1.0), (1, 70, 80, 2.0)]
    found = drawn(*rows, gap=[(30, 40), (85, 94)], fixed_length=10)
    # The gap of the second window is a base too short.
    assert len(found.window) == 0
    assert (found.windows_overlap, found.gap_too_short) == (1, 1)
    found = drawn(*rows, gap=[(30, 40), (85, 95)], fixed_length=10)
    assert found.window.tolist() == [1]
    assert found.intervals[0, 2].tolist() == [85, 95]

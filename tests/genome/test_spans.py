"""Cutting at the boundaries of windows, against one base at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.genome import spans
from scmultimodal.genome.spans import SpanConfig
from scmultimodal.schemas.errors import InputError

LENGTH = 200


@st.composite
def intervals(draw, *, disjoint=True):
    """Starts and ends within LENGTH; disjoint ones are sorted and may touch."""
    size = draw(st.integers(0, 8))
    points = st.integers(0, LENGTH)
    if not disjoint:
        pairs = draw(st.lists(st.tuples(points, points), min_size=size, max_size=size))
        pairs = [(min(p), max(p) + 1) for p in pairs]
    else:
        ends = draw(st.lists(points, min_size=2 * size, max_size=2 * size, unique=True))
        ends = sorted(ends)
        pairs = list(zip(ends[::2], ends[1::2], strict=True))
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def bases(start, end):
    """The bases that intervals hold, one set."""
    return {b for s, e in zip(start, end, strict=True) for b in range(s, e)}


def test_cut_by_hand():
    start, end = np.array([2, 95]), np.array([5, 131])
    pieces = spans.cut(start, end, offset=10, span_bp=50)
    assert pieces.source.tolist() == [0, 1, 1]
    assert pieces.window.tolist() == [-1, 1, 2]
    assert pieces.start.tolist() == [2, 95, 110]
    assert pieces.end.tolist() == [5, 110, 131]


@given(intervals(), st.integers(0, 39), st.integers(1, 40))
def test_cutting_loses_no_base_and_crosses_no_boundary(places, offset, span_bp):
    start, end = places
    pieces = spans.cut(start, end, offset=offset, span_bp=span_bp)
    for row in range(len(start)):
        mine = pieces.where(pieces.source == row)
        assert bases(mine.start, mine.end) == set(range(start[row], end[row]))
        assert (mine.end - mine.start).sum() == end[row] - start[row]
    for window, low, high in zip(*pieces[1:], strict=True):
        assert {(base - offset) // span_bp for base in range(low, high)} == {window}


@given(intervals(), st.integers(0, 29), st.integers(1, 10))
def test_windows_of_fixed_length_lie_within_a_span(places, offset, length):
    start, end = places
    centre = (start + end) // 2
    found = spans.centred(centre, length=length, offset=offset, span_bp=30)
    expected = []
    for row, place in enumerate(centre.tolist()):
        first = place - length // 2
        if (first - offset) // 30 == (first + length - 1 - offset) // 30:
            expected.append((row, (first - offset) // 30, first, first + length))
    assert list(zip(*(c.tolist() for c in found), strict=True)) == expected


@given(intervals(disjoint=False))
def test_union_holds_the_same_bases_once(places):
    start, end = spans.union(*places)
    assert bases(start, end) == bases(*places)
    assert (start[1:] > end[:-1]).all()


@given(intervals(disjoint=False), st.integers(0, 50), st.integers(51, LENGTH))
def test_gaps_are_what_is_left(places, low, high):
    start, end = spans.gaps(*places, low=low, high=high)
    assert bases(start, end) == set(range(low, high)) - bases(*places)
    assert (start[1:] > end[:-1]).all()


@given(intervals(), st.integers(0, 29))
def test_longest_gap_of_each_window(places, offset):
    pieces = spans.cut(*places, offset=offset, span_bp=30)
    windows = np.arange(-1, LENGTH // 30 + 1)
    found = spans.longest(pieces, windows)
    for window, (low, high) in zip(windows, found, strict=True):
        mine = pieces.where(pieces.window == window)
        lengths = mine.end - mine.start
        assert high - low == lengths.max(initial=0)
        if len(lengths):
            first = int(np.argmax(lengths))
            assert (low, high) == (mine.start[first], mine.end[first])


@given(intervals(), intervals())
def test_free_of(pieces, others):
    pieces = spans.Pieces(np.arange(len(pieces[0])), np.arange(len(pieces[0])), *pieces)
    taken = bases(*others)
    expected = [
        not taken & set(range(s, e))
        for s, e in zip(pieces.start, pieces.end, strict=True)
    ]
    assert spans.free_of(pieces, *others).tolist() == expected


def test_shifts_of_the_study():
    assert SpanConfig().offsets == tuple(range(0, 3_000, 300))
    assert SpanConfig(shift_factor=1).offsets == (0,)


@given(st.integers(1, 3_000))
def test_any_factor_gives_as_many_different_shifts(factor):
    offsets = SpanConfig(shift_factor=factor).offsets
    assert len(set(offsets)) == factor
    assert offsets[0] == 0
    assert max(offsets) < 3_000
    steps = np.diff([*offsets, 3_000])
    assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize(
    "fields",
    [
        {"span_bp": 2},
        {"shift_factor": 0},
        {"shift_factor": 3_001},
        {"min_gap_bp": 0},
        {"min_gap_bp": 3_001},
        {"fixed_length": 0},
        {"fixed_length": 1_001},
        {"seed": -1},
    ],
)
def test_numbers_that_make_no_span(fields):
    with pytest.raises(InputError, match=next(iter(fields))):
        SpanConfig(**fields)

"""The spans of a chromosome: what SPEC 3.1 asks of them, checked base by base."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scmultimodal.genome import span_table
from scmultimodal.genome.region_splits import SPLITS, Territories
from scmultimodal.genome.regions import RegionTable
from scmultimodal.genome.spans import SpanConfig
from tests import builders

SMALL = SpanConfig(span_bp=60, shift_factor=3, min_gap_bp=4)
LENGTH = 900
TABLES = st.tuples(st.integers(2, 40), st.integers(0, 2**20))
"""Number of regions, seed."""


def chromosome(tables, config, *, territories=((0, LENGTH, 0, 0),)):
    columns = np.array(territories, np.int64).T
    return span_table.Chromosome(
        name="chr1",
        index=0,
        territories=Territories(*columns),
        layers=span_table.layers(tables, "chr1"),
        config=config,
    )


def find(tables, config, **fields):
    return span_table.find_spans(chromosome(tables, config, **fields))


def make(size_and_seed, samples=2):
    """Small regions on chr1, and what is closed to gaps beside them."""
    size, seed = size_and_seed
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.choice(LENGTH, 2 * size, replace=False)).reshape(-1, 2)
    keep = ends[:, 1] - ends[:, 0] < 50
    keep[:2] = True
    values = rng.gamma(1, 1, (size, samples)) * (rng.random((size, samples)) < 0.7)
    frame = pd.DataFrame({"chrom": "chr1", "start": ends[:, 0], "end": ends[:, 1]})
    names = [f"s{number}" for number in range(samples)]
    return RegionTable.build(
        "t", frame[keep], values[keep], names, closed_to_gaps=frame[~keep]
    )


def bases(start, end):
    return set(range(start, end))


def covered(frame):
    return set().union(
        *(bases(s, e) for s, e in zip(frame["start"], frame["end"], strict=True))
    )


def spans_of(found):
    """Each span as (start, sample, offset, [(start, end, value), …])."""
    t = found.table
    for row in range(len(t)):
        regions = [(*t.intervals[row, i].tolist(), t.values[row, i]) for i in range(3)]
        yield int(t.start[row]), int(t.sample_index[row]), int(t.offset[row]), regions


@settings(max_examples=40)
@given(TABLES, st.integers(1, 60))
def test_cutting_and_shifting_keep_every_count(table, factor):
    """Before any span is dropped: nothing is lost, at any offset."""
    table = make(table)
    config = dataclasses.replace(SMALL, shift_factor=factor)
    # Room for the spans that reach over both ends of the chromosome.
    whole = chromosome([table], config, territories=[(-60, LENGTH + 60, 0, 0)])
    (layer,) = whole.layers
    nowhere = np.empty(0, np.int64), np.empty(0, np.int64)
    for offset in config.offsets:
        here = span_table.Cut.of(layer, nowhere, whole, offset)
        shares = here.share[:, None] * layer.values[here.pieces.source]
        total = np.zeros_like(layer.values, float)
        np.add.at(total, here.pieces.source, shares)
        np.testing.assert_allclose(total, layer.values, rtol=1e-12)


@settings(max_examples=40)
@given(TABLES, st.sampled_from(["v1", "v2"]), st.integers(1, 7), st.booleans())
def test_every_span_has_two_open_regions_and_a_closed_one(
    table, version, factor, density
):
    table = make(table)
    config = dataclasses.replace(
        SMALL, version=version, shift_factor=factor, density=density
    )
    frame, values = table.regions, table.values
    for start, sample, offset, regions in spans_of(find([table], config)):
        assert (start - offset) % 60 == 0
        assert offset in config.offsets
        assert start >= 0
        assert start + 60 <= LENGTH
        opened = [r for r in regions if r[2] > 0]
        (closed,) = (r for r in regions if r[2] == 0)
        assert len(opened) == 2
        for low, high, value in opened:
            # The one region that it is a piece of, and its share of the value.
            (row,) = np.flatnonzero((frame["start"] <= low) & (frame["end"] >= high))
            whole = bases(frame["start"][row], frame["end"][row])
            assert bases(low, high) == whole & bases(start, start + 60)
            share = 1_000 if density else high - low
            expected = values[row, sample] * share / len(whole)
            assert value == pytest.approx(expected, rel=1e-6)
        low, high, _ = closed
        assert start <= low < high <= start + 60
        is_open = values[:, sample] > 0
        assert not bases(low, high) & covered(frame[is_open])
        if bases(low, high) & covered(frame):  # a closed region, cut at the boundary
            (row,) = np.flatnonzero((frame["start"] <= low) & (frame["end"] >= high))
            whole = bases(frame["start"][row], frame["end"][row])
            assert bases(low, high) == whole & bases(start, start + 60)
        else:
            assert not bases(low, high) & covered(table.closed_to_gaps)
            assert high - low >= config.min_gap_bp


@settings(max_examples=40)
@given(TABLES)
def test_every_span_that_can_be_made_is_made(table):
    table = make(table, samples=1)
    config = dataclasses.replace(SMALL, version="v1", shift_factor=2)
    frame, is_open = table.regions, table.values[:, 0] > 0
    taken = covered(frame) | covered(table.closed_to_gaps)
    expected, too_short = set(), 0
    for offset in (0, 30):
        for start in range(offset, LENGTH - 59, 60):
            inside = (frame["start"] < start + 60) & (frame["end"] > start)
            if (inside & is_open).sum() < 2:
                continue
            run = longest_run(bases(start, start + 60) - taken)
            if (inside & ~is_open).any() or run >= 4:
                expected.add((start, offset))
            else:
                too_short += 1
    found = find([table], config)
    made = [(start, offset) for start, _, offset, _ in spans_of(found)]
    assert set(made) == expected
    assert len(made) == len(expected)
    assert found.dropped.tolist() == [[too_short, 0, 0]]


def longest_run(free):
    best = run = 0
    for base in range(LENGTH):
        run = run + 1 if base in free else 0
        best = max(best, run)
    return best


@settings(max_examples=40)
@given(TABLES, TABLES, st.integers(1, 6), st.sampled_from([None, 12]))
def test_no_base_is_used_twice_in_v2(one, other, factor, fixed):
    one, other = make(one), make(other, samples=1)
    config = dataclasses.replace(SMALL, shift_factor=factor, fixed_length=fixed)
    used = np.zeros(LENGTH, int)
    found = find([one, other], config)
    for *_, regions in spans_of(found):
        for low, high, _ in regions:
            used[low:high] += 1
    assert used.max(initial=0) <= 1
    # Only what v1 would make is dropped, and all of it is accounted for.
    all_of_them = find([one, other], dataclasses.replace(config, version="v1"))
    used_before = int(found.dropped[:, 2].sum())
    assert len(found.table) + used_before == len(all_of_them.table)
    assert found.dropped[:, :2].tolist() == all_of_them.dropped[:, :2].tolist()


@settings(max_examples=40)
@given(TABLES, st.integers(1, 20), st.sampled_from(["v1", "v2"]))
def test_windows_of_fixed_length(table, length, version):
    table = make(table)
    config = dataclasses.replace(SMALL, fixed_length=length, version=version)
    frame, values = table.regions, table.values
    frame["summit"] = (2 * frame["start"] + frame["end"]) // 3
    for start, sample, _, regions in spans_of(find([table], config)):
        windows = [bases(low, high) for low, high, _ in regions]
        assert [len(w) for w in windows] == [length] * 3
        assert len(set().union(*windows)) == 3 * length
        assert set().union(*windows) <= bases(start, start + 60)
        for low, _, value in (r for r in regions if r[2] > 0):
            rows = np.flatnonzero(frame["summit"] - length // 2 == low)
            assert value in values[rows, sample].tolist()
        (closed,) = (bases(low, high) for low, high, v in regions if v == 0)
        assert not closed & covered(frame[values[:, sample] > 0])


def test_v2_keeps_what_comes_first_by_sample_and_shift():
    rows = [("chr1", 70, 80, 1.0), ("chr1", 90, 100, 2.0), ("chr1", 300, 310, 0.0)]
    table = builders.region_table(*rows)
    twice = dataclasses.replace(
        table, values=np.repeat(table.values, 2, axis=1), samples=("b", "a")
    )
    found = find([twice], SMALL)
    assert found.table.sample_index.tolist() == [0]
    assert found.table.offset.tolist() == [0]
    assert found.dropped[:, 2].tolist() == [1, 2]


def test_spans_depend_on_the_seed_and_on_nothing_else():
    table = builders.open_regions(60_000)
    config = SpanConfig(version="v1", shift_factor=3)

    def made(**fields):
        where = [(0, 60_000, 0, 0)]
        config_ = dataclasses.replace(config, **fields)
        return find([table], config_, territories=where).table.columns()

    first, second, other = made(), made(), made(seed=1)
    for name, column in first.items():
        np.testing.assert_array_equal(column, second[name])
    assert len(first["start"]) > 50
    assert (first["intervals"] != other["intervals"]).any()
    # A sample's spans do not change where another one is left out.
    alone = dataclasses.replace(table, values=table.values[:, 1:], samples=("type1",))
    mine = find([alone], config, territories=[(0, 60_000, 0, 0)]).table
    of_it = first["sample_index"] == 1
    np.testing.assert_array_equal(mine.intervals, first["intervals"][of_it])


def test_the_order_of_the_regions_tells_nothing():
    table = builders.open_regions(3_000_000, gap=300)
    config = SpanConfig(version="v1", shift_factor=2)
    found = find([table], config, territories=[(0, 3_000_000, 0, 0)]).table
    share = np.bincount((found.values == 0).argmax(axis=1)) / len(found)
    assert len(found) > 2_000
    np.testing.assert_allclose(share, 1 / 3, atol=0.04)
    by_place = np.argsort(found.intervals[:, :, 0], axis=1)
    share = np.bincount(by_place[:, 0]) / len(found)
    np.testing.assert_allclose(share, 1 / 3, atol=0.04)


def test_zero_regions_of_a_gap_have_the_lengths_of_regions():
    rng = np.random.default_rng(0)
    start = np.arange(0, 3_000_000, 3_000)[:, None] + np.array([0, 2_500])
    length = np.clip(rng.normal(300, 50, start.shape), 150, 480).astype(int)
    frame = pd.DataFrame(
        {"chrom": "chr1", "start": start.ravel(), "end": (start + length).ravel()}
    )
    table = RegionTable.build("t", frame, np.ones((len(frame), 1)), ["s"])
    config = SpanConfig(version="v1", shift_factor=1)
    found = find([table], config, territories=[(0, 3_000_000, 0, 0)]).table
    place = found.intervals[found.values == 0]
    lengths = place[:, 1] - place[:, 0]
    mean, deviation = table.lengths()
    assert len(found) == 1_000
    assert lengths.mean() == pytest.approx(mean, abs=6)
    assert lengths.std() == pytest.approx(deviation, abs=6)
    # At a random place of the gap: as often to the left of its middle as to the right.
    gap = np.stack([start[:, 0] + length[:, 0], start[:, 1]], axis=1)
    share = (place[:, 0] - gap[:, 0]) / (np.diff(gap)[:, 0] - lengths)
    assert share.mean() == pytest.approx(0.5, abs=0.04)
    assert share.min() >= 0
    assert share.max() <= 1


def test_lengths_are_clamped_to_the_gap():
    rows = [("chr1", 0, 1_400, 1.0), ("chr1", 1_600, 3_000, 2.0)]
    table = builders.region_table(*rows)
    config = SpanConfig(version="v1", shift_factor=1)
    found = find([table], config, territories=[(0, 3_000, 0, 0)]).table
    assert found.intervals[found.values == 0].tolist() == [[1_400, 1_600]]


def test_spans_lie_in_a_territory_and_take_its_split():
    table = builders.open_regions(90_000)
    territories = [(0, 20_000, 7, 0), (20_000, 41_000, 3, 2), (50_000, 90_000, 5, 1)]
    config = SpanConfig(version="v1", shift_factor=10)
    found = find([table], config, territories=territories).table
    code = {group: (low, high, split) for low, high, group, split in territories}
    assert set(found.group.tolist()) == {7, 3, 5}
    for start, group, split in zip(found.start, found.group, found.split, strict=True):
        low, high, expected = code[int(group)]
        assert low <= start
        assert start + 3_000 <= high
        assert SPLITS[split] == SPLITS[expected]


def test_a_chromosome_without_spans():
    found = find([builders.region_table(("chr1", 10, 20, 1.0))], SMALL)
    assert len(found.table) == 0
    assert found.table.intervals.shape == (0, 3, 2)

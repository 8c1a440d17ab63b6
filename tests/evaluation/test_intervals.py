"""Intervals clustered by group."""

import numpy as np
import pytest
import scipy.stats

from scmultimodal.evaluation import intervals
from scmultimodal.schemas.errors import InputError


def test_mean_weighs_values_and_bounds_are_those_of_whole_groups():
    values = np.array([1.0, 1, 1, 0, np.nan])
    found = intervals.cluster_interval(values, np.array([7, 7, 7, 9, 9]))
    assert found.mean == 0.75
    assert (found.num_values, found.num_groups) == (4, 2)
    # Two groups of equal values: a quarter of the draws has one of them alone.
    assert (found.low, found.high) == (0, 1)
    narrow = intervals.cluster_interval(values, np.array([7, 7, 7, 9, 9]), level=0.4)
    assert (narrow.low, narrow.high) == (0.75, 0.75)


def test_groups_of_one_value_give_the_ordinary_bootstrap():
    values = np.random.default_rng(0).normal(size=80)
    found = intervals.cluster_interval(values, np.arange(80))
    expected = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, rng=1
    ).confidence_interval
    np.testing.assert_allclose((found.low, found.high), expected, atol=0.01)


def test_values_that_repeat_within_a_group_make_no_interval_narrower():
    values = np.random.default_rng(0).normal(size=40)
    once = intervals.cluster_interval(values, np.arange(40))
    often = intervals.cluster_interval(np.repeat(values, 9), np.repeat(range(40), 9))
    np.testing.assert_allclose((often.low, often.high), (once.low, once.high))
    apart = intervals.cluster_interval(np.repeat(values, 9), np.arange(360))
    assert apart.high - apart.low < (once.high - once.low) / 2


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(30), 4)
    covered = []
    for _ in range(300):
        values = np.repeat(rng.normal(size=30), 4) + rng.normal(size=120)
        found = intervals.cluster_interval(values, groups, level=0.9, num_resamples=400)
        covered.append(found.low <= 0 <= found.high)
    assert 0.83 < np.mean(covered) < 0.94


def test_pairing_takes_out_what_both_share():
    rng = np.random.default_rng(0)
    difficulty = rng.normal(size=200)
    first, second = difficulty + 0.1, difficulty + rng.normal(0, 0.01, 200)
    second[3] = np.nan
    groups = np.repeat(np.arange(20), 10)
    found = intervals.paired_difference(first, second, groups)
    assert 0.09 < found.low < found.mean < found.high < 0.11
    assert found.num_values == 199
    alone = intervals.cluster_interval(first, groups)
    assert alone.high - alone.low > 10 * (found.high - found.low)


def test_the_same_seed_draws_the_same(monkeypatch):
    values, groups = np.arange(50.0), np.arange(50) // 5
    found = intervals.cluster_interval(values, groups, seed=4)
    assert found == intervals.cluster_interval(values, groups, seed=4)
    assert found != intervals.cluster_interval(values, groups, seed=5)
    monkeypatch.setattr(intervals, "_BLOCK", 70)  # 7 draws at a time
    assert found == intervals.cluster_interval(values, groups, seed=4)


def test_a_single_group_has_a_mean_and_no_bounds():
    found = intervals.cluster_interval(np.array([0.0, 1]), np.array([2, 2]))
    assert found.mean == 0.5
    assert np.isnan([found.low, found.high]).all()


def test_nothing_to_average_is_refused():
    with pytest.raises(InputError, match="no value"):
        intervals.cluster_interval(np.array([np.nan]), np.array([0]))

"""The grid that grows, and the subsample it may be tried on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.evaluation import tuning
from scmultimodal.evaluation.classification import ClassificationScores
from scmultimodal.schemas.errors import InputError


def trial(value, accuracy, macro_f1=0.0):
    scores = ClassificationScores(
        accuracy=accuracy, mcc=0.0, macro_f1=macro_f1, weighted_f1=0.0
    )
    return tuning.Trial(value=value, validation=scores)


@given(st.floats(-6, 6))
def test_the_best_value_is_never_at_an_end(peak):
    """Whatever side of the grid the best value lies on, and however far."""
    trials, best = tuning.search(
        lambda value: trial(value, -abs(np.log10(value) - peak)), (0.01, 0.1, 1.0)
    )
    values = [t.value for t in trials]
    assert values == sorted(values)
    assert values[0] < best.value < values[-1]
    assert abs(np.log10(best.value) - peak) <= 0.5 + 1e-9


def test_macro_f1_decides_between_equal_accuracies():
    f1 = {0.1: 0.1, 1.0: 0.2, 10.0: 0.3, 100.0: 0.1}
    _, best = tuning.search(lambda v: trial(v, 0.5, f1[round(v, 6)]), (0.1, 1.0, 10.0))
    assert best.value == 10.0


def test_a_plateau_is_left_after_one_step():
    trials, best = tuning.search(lambda value: trial(value, 0.5), (0.1, 1.0))
    assert [t.value for t in trials] == pytest.approx([0.01, 0.1, 1.0])
    assert best.value == 0.1


@pytest.mark.parametrize("grid", [(1.0,), (1.0, 0.1), (1.0, 1.0)])
def test_a_grid_must_ascend(grid):
    with pytest.raises(InputError, match="ascending"):
        tuning.search(lambda value: trial(value, 0.5), grid)


def test_subsample_keeps_proportions_and_rare_classes():
    labels = np.repeat([0, 1, 2], [600, 390, 10])
    rows = np.arange(0, 1000)
    sample = tuning.stratified_subsample(labels, rows, 50, seed=3)
    assert np.bincount(labels[sample]).tolist() == [30, 20, 1]
    assert np.unique(sample).size == sample.size
    again = tuning.stratified_subsample(labels, rows, 50, seed=3)
    other = tuning.stratified_subsample(labels, rows, 50, seed=4)
    assert np.array_equal(sample, again)
    assert not np.array_equal(sample, other)


def test_a_small_set_is_taken_whole():
    rows = np.array([4, 2, 9])
    sample = tuning.stratified_subsample(np.zeros(10, int), rows, 3, seed=0)
    assert sample.tolist() == [4, 2, 9]

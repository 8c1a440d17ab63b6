"""Choosing one free parameter on validation cells."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int, Integer

from scmultimodal.evaluation.classification import ClassificationScores
from scmultimodal.schemas.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One value of the free parameter and its scores on validation cells."""

    value: float
    validation: ClassificationScores


def search(
    try_value: Callable[[float], Trial], grid: Sequence[float]
) -> tuple[tuple[Trial, ...], Trial]:
    """Tries a grid and lengthens it until the best value is not at an end.

    Args:
        try_value: fits and scores one value.
        grid: at least two values, ascending; the outer ratios lengthen it.

    Returns:
        All trials in ascending order, and the best of them.
    """
    if len(grid) < 2 or any(b <= a for a, b in itertools.pairwise(grid)):
        raise InputError("grid", f"{tuple(grid)}", "Give two or more ascending values")
    trials = [try_value(value) for value in grid]
    best = max(trials, key=_goodness)
    while best is trials[0] or best is trials[-1]:
        if best is trials[0]:
            trial = try_value(trials[0].value ** 2 / trials[1].value)
            trials.insert(0, trial)
        else:
            trial = try_value(trials[-1].value ** 2 / trials[-2].value)
            trials.append(trial)
        best = max(best, trial, key=_goodness)
    return tuple(trials), best


def stratified_subsample(
    labels: Integer[np.ndarray, " cells"],
    rows: Int[np.ndarray, " rows"],
    size: int,
    seed: int,
) -> Int[np.ndarray, " sample"]:
    """Draws about `size` of the rows, each class in proportion and at least once."""
    if rows.size <= size:
        return rows
    random = np.random.default_rng(seed)
    kept = []
    for label in np.unique(labels[rows]):
        members = rows[labels[rows] == label]
        share = max(1, round(members.size * size / rows.size))
        kept.append(random.choice(members, share, replace=False))
    return np.sort(np.concatenate(kept))


def _goodness(trial: Trial) -> tuple[float, float]:
    return trial.validation.accuracy, trial.validation.macro_f1

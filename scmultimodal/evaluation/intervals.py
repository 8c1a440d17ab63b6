"""Bootstrap intervals of means whose values come in groups.

Spans of one chromosome, or windows of one region, resemble each other: whole groups
are drawn again, with replacement, not single values.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Integer

from scmultimodal.schemas.errors import InputError

_BLOCK = 10**7
"""Numbers drawn at a time: bounds the memory."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and where it may lie.

    Attributes:
        mean: of all values.
        low: lower bound; NaN where a single group says nothing of the spread.
        high: upper bound, likewise.
        level: share of the resampled means within the bounds.
        num_values: values averaged.
        num_groups: groups they come from.
    """

    mean: float
    low: float
    high: float
    level: float
    num_values: int
    num_groups: int


def cluster_interval(
    values: Float[np.ndarray, " values"],
    groups: Integer[np.ndarray, " values"],
    *,
    level: float = 0.95,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of the mean, resampling groups.

    Args:
        values: one per span, such as 1 for a right order; NaN is left out.
        groups: the chromosome or region of each.
        level: of the interval.
        num_resamples: how often the groups are drawn.
        seed: of the drawing; the same groups are drawn whatever the values are.

    Raises:
        InputError: there is no value that is not NaN.
    """
    known = ~np.isnan(values)
    if not known.any():
        raise InputError("values", "no value to average", "Score at least one span")
    _, index = np.unique(groups[known], return_inverse=True)
    sums, counts = np.bincount(index, values[known]), np.bincount(index)
    low = high = float("nan")
    if len(sums) > 1:
        means = _resampled_means(sums, counts, num_resamples, seed)
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(
        mean=float(sums.sum() / counts.sum()),
        low=low,
        high=high,
        level=level,
        num_values=int(counts.sum()),
        num_groups=len(sums),
    )


def paired_difference(
    first: Float[np.ndarray, " values"],
    second: Float[np.ndarray, " values"],
    groups: Integer[np.ndarray, " values"],
    *,
    level: float = 0.95,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Interval of the mean of `first − second`, both measured on the same spans.

    Its low bound above zero says that `first` is better beyond the luck of the groups.
    """
    return cluster_interval(
        first - second, groups, level=level, num_resamples=num_resamples, seed=seed
    )


def _resampled_means(
    sums: Float[np.ndarray, " groups"],
    counts: Integer[np.ndarray, " groups"],
    num_resamples: int,
    seed: int,
) -> Float[np.ndarray, " resamples"]:
    rng, num_groups = np.random.default_rng(seed), len(sums)
    block = max(1, _BLOCK // num_groups)
    means = []
    for start in range(0, num_resamples, block):
        size = min(block, num_resamples - start)
        drawn = rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size)
        means.append((drawn @ sums) / (drawn @ counts))
    return np.concatenate(means)

"""How well scores order the regions of a span (SPEC 3.3), in plain numpy.

Results are per span, so that intervals and paired differences (`evaluation.intervals`)
can be clustered. A span in which two regions have equal *values* has no right order:
its metrics are NaN. Equal *scores* are wrong, whatever the order of presentation.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Integer

from scmultimodal.schemas.errors import InputError

CHANCE = 1 / 6
"""Full-order accuracy of guessing, with three regions a span."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankingScores:
    """Means over the spans that have a right order.

    Attributes:
        full_order: share of spans whose regions are all in the right order.
        pairwise: share of pairs in the right order.
        ndcg: normalised discounted cumulative gain; gain 2^relevance − 1.
        mrr: 1 / rank of the most accessible region.
        num_spans: spans scored.
        num_ties: spans left out because two of their regions have equal values.
    """

    full_order: float
    pairwise: float
    ndcg: float
    mrr: float
    num_spans: int
    num_ties: int


def score(
    scores: Float[np.ndarray, "spans regions"],
    values: Float[np.ndarray, "spans regions"],
) -> RankingScores:
    """Scores an order against the values it should follow.

    Raises:
        InputError: shapes differ, a value is not finite, or every span is tied.
    """
    per_span = span_metrics(scores, values)
    scored = ~np.isnan(per_span["full_order"])
    if not scored.any():
        raise InputError(
            "values", "no span has three different values", "Score at least one"
        )
    means = {name: float(metric[scored].mean()) for name, metric in per_span.items()}
    return RankingScores(
        **means, num_spans=int(scored.sum()), num_ties=int((~scored).sum())
    )


def span_metrics(
    scores: Float[np.ndarray, "spans regions"],
    values: Float[np.ndarray, "spans regions"],
) -> dict[str, Float[np.ndarray, " spans"]]:
    """full_order, pairwise, ndcg and mrr of each span; NaN where values tie.

    Raises:
        InputError: shapes differ, or a value is not finite.
    """
    _check(scores, values)
    lower, outscored = _below(values), _below(scores)
    relevance = lower.sum(-1)
    rank = (~outscored).sum(-1)  # the worst of those of equal score
    gain = 2.0**relevance - 1
    ideal = np.log2(values.shape[1] - relevance + 1)
    best = values == values.max(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        pairwise = (lower & outscored).sum((1, 2)) / lower.sum((1, 2))
        metrics = {
            "full_order": (pairwise == 1).astype(float),
            "pairwise": pairwise,
            "ndcg": (gain / np.log2(rank + 1)).sum(-1) / (gain / ideal).sum(-1),
            "mrr": (best / rank).max(-1),
        }
    tied = ties(values)
    return {name: np.where(tied, np.nan, metric) for name, metric in metrics.items()}


def full_order(
    scores: Float[np.ndarray, "spans regions"],
    values: Float[np.ndarray, "spans regions"],
    *,
    equal_scores: Literal["wrong", "chance"] = "wrong",
) -> Float[np.ndarray, " spans"]:
    """1 where all regions of a span are in the right order, 0 elsewhere; NaN at ties.

    Args:
        scores: what orders the regions.
        values: what they should be ordered by.
        equal_scores: "wrong", or "chance": the share of the orders of equally scored
            regions that is right. A coarse feature, such as a CpG count, gets its due
            by this where it stands as a guard beside a model.
    """
    if equal_scores == "wrong":
        return span_metrics(scores, values)["full_order"]
    _check(scores, values)
    contradicts = (_below(values) & ~_below(scores, or_equal=True)).any((1, 2))
    equal = scores[:, :, None] == scores[:, None, :]
    orders = np.tril(equal).sum(-1).prod(-1)  # 1 · 2 · … within each group of equals
    chance = np.where(contradicts, 0, 1 / np.maximum(orders, 1))
    return np.where(ties(values), np.nan, chance)


def full_order_accuracy(
    scores: Float[np.ndarray, "spans regions"],
    values: Float[np.ndarray, "spans regions"],
    *,
    equal_scores: Literal["wrong", "chance"] = "wrong",
) -> float:
    """Mean of `full_order` over the spans that have a right order; NaN if none has."""
    right = full_order(scores, values, equal_scores=equal_scores)
    right = right[~np.isnan(right)]
    return float(right.mean()) if right.size else float("nan")


def ties(values: Float[np.ndarray, "spans regions"]) -> Bool[np.ndarray, " spans"]:
    """Spans in which two regions have equal values."""
    return (np.diff(np.sort(values)) == 0).any(-1)


def one_feature_rankers(
    features: Float[np.ndarray, "spans regions features"],
    values: Float[np.ndarray, "spans regions"],
    names: Sequence[str],
    *,
    fit_on: Integer[np.ndarray, " rows"] | Bool[np.ndarray, " spans"],
) -> dict[str, Float[np.ndarray, "spans regions"]]:
    """Scores that are one feature each: what a model must beat to have learnt more.

    Args:
        features: such as length, GC, CpG count and N share of each region.
        values: what the regions are to be ordered by.
        names: of the features.
        fit_on: the training spans. More may mean more or less accessible: the sign
            under which more of their pairs are in order is taken.

    Returns:
        {name: scores of all spans}, to be judged as a model's scores are.
    """
    signed = np.sign(values[fit_on, :, None] - values[fit_on, None, :])
    rankers = {}
    for name, feature in zip(names, np.moveaxis(features, -1, 0), strict=True):
        chosen = feature[fit_on]
        agreement = np.sign(chosen[:, :, None] - chosen[:, None, :]) * signed
        rankers[name] = feature if agreement.sum() >= 0 else -feature
    return rankers


def _below(
    numbers: Float[np.ndarray, "spans regions"], *, or_equal: bool = False
) -> Bool[np.ndarray, "spans regions regions"]:
    """[s, i, j]: j is below i. Nothing is below a NaN, nor a NaN below anything."""
    compare = np.less_equal if or_equal else np.less
    return compare(numbers[:, None, :], numbers[:, :, None])


def _check(scores: np.ndarray, values: np.ndarray) -> None:
    if scores.shape != values.shape:
        raise InputError(
            "scores",
            f"shape {scores.shape} against values of {values.shape}",
            "Give one score per region, spans first",
        )
    if not np.isfinite(values).all():
        span = int(np.flatnonzero(~np.isfinite(values).all(-1))[0])
        raise InputError(
            "values", f"span {span} has {values[span]}", "Leave such spans out"
        )

"""Rankers side by side: intervals by group, and gains on the same spans."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from scmultimodal.evaluation import intervals, ranking, text_table
from scmultimodal.evaluation.intervals import Interval
from scmultimodal.evaluation.ranking import RankingScores

Scores = Float[np.ndarray, "spans regions"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankerResult:
    """What one ranker reached.

    Attributes:
        name: of the ranker.
        scores: means over the spans; equal scores are wrong.
        full_order: share of spans in the right order, equal scores guessed between.
        gains: paired difference of that share to each ranker named.
    """

    name: str
    scores: RankingScores
    full_order: Interval
    gains: dict[str, Interval]

    def as_row(self) -> dict[str, Any]:
        """As JSON holds it: a bound that is unknown is None."""
        return {
            "name": self.name,
            "scores": dataclasses.asdict(self.scores),
            "full_order": _row(self.full_order),
            "gains": {name: _row(gain) for name, gain in self.gains.items()},
        }


def judge(
    rankers: Mapping[str, Scores],
    values: Scores,
    groups: Integer[np.ndarray, " spans"],
    *,
    over: Sequence[str] = (),
) -> list[RankerResult]:
    """Judges rankers on the same spans; intervals by resampling groups.

    Regions of equal score count by what guessing between them would get right: a
    coarse feature, such as a CpG count, gets its due, and a constant is worth chance.

    Args:
        rankers: name -> scores of all spans.
        values: what the regions should be ordered by.
        groups: of the spans: chromosome or region.
        over: rankers whose gain over them is asked of every other.
    """
    right = {
        name: ranking.full_order(scores, values, equal_scores="chance")
        for name, scores in rankers.items()
    }
    results = []
    for name, scores in rankers.items():
        gains = {
            other: intervals.paired_difference(right[name], right[other], groups)
            for other in over
            if other != name
        }
        results.append(
            RankerResult(
                name=name,
                scores=ranking.score(scores, values),
                full_order=intervals.cluster_interval(right[name], groups),
                gains=gains,
            )
        )
    return results


def format_table(results: Sequence[RankerResult]) -> str:
    """Rankers as rows, for a terminal."""
    over = list(dict.fromkeys(name for r in results for name in r.gains))
    rows = [["ranker", "full order", "95 %", "pairwise", "ndcg", "mrr"]]
    rows[0] += [f"gain over {name}" for name in over]
    for result in results:
        share, scores = result.full_order, result.scores
        row = [result.name, f"{share.mean:.3f}", _bounds(share)]
        row += [f"{x:.3f}" for x in (scores.pairwise, scores.ndcg, scores.mrr)]
        for name in over:
            gain = result.gains.get(name)
            row.append("" if gain is None else f"{gain.mean:+.3f} {_bounds(gain)}")
        rows.append(row)
    rows.append(["chance", f"{ranking.CHANCE:.3f}", *[""] * (len(rows[0]) - 2)])
    return text_table.aligned(rows, ruled=True)


def _row(interval: Interval) -> dict[str, Any]:
    fields = dataclasses.asdict(interval)
    return {k: None if np.isnan(v) else v for k, v in fields.items()}


def _bounds(interval: Interval) -> str:
    return f"[{interval.low:.3f}, {interval.high:.3f}]"

"""How well bases are told apart: MCC, F1 and AUPRC by element, from counts (SPEC 3.4).

Counts come from `ops.segmentation`; any common factor of them leaves the results as
they are, so that means do as well as sums.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from scmultimodal.genome.elements import ELEMENTS

COUNTS = ("confusion", "score_counts")
"""What `tasks.segmentation` counts, by the names of its metrics."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ElementResult:
    """What was measured of one element. NaN where it cannot be judged.

    Attributes:
        name: of the element.
        share: of the judged bases that are of it; NaN where none was judged.
        mcc: Matthews correlation coefficient, yes being above one half.
        f1: harmonic mean of precision and recall.
        auprc: average precision; a guess has `share`.
    """

    name: str
    share: float
    mcc: float
    f1: float
    auprc: float

    @property
    def is_judged(self) -> bool:
        """Whether some of the judged bases are of it, and some are not."""
        return 0 < self.share < 1


def judge(
    confusion: Float[np.ndarray, "elements 4"],
    score_counts: Float[np.ndarray, "elements 2 steps"],
    names: Sequence[str] = ELEMENTS,
) -> tuple[ElementResult, ...]:
    """Results of every element.

    Args:
        confusion: true and false yes, false and true no.
        score_counts: by rising score, of bases that are not of the element, and are.
        names: of the elements.
    """
    right, wrong, missed, _ = np.moveaxis(np.asarray(confusion, float), -1, 0)
    with np.errstate(invalid="ignore"):
        share = (right + missed) / confusion.sum(-1)
        f1 = 2 * right / (2 * right + wrong + missed)
    f1 = np.where((share > 0) & (share < 1), f1, np.nan)
    columns = share, mcc(confusion), f1, average_precision(score_counts)
    fields = ("share", "mcc", "f1", "auprc")
    return tuple(
        ElementResult(name=name, **dict(zip(fields, map(float, row), strict=True)))
        for name, *row in zip(names, *columns, strict=True)
    )


def mcc(counts: Float[np.ndarray, "... 4"]) -> Float[np.ndarray, "..."]:
    """Matthews correlation coefficient of true and false yes, false and true no.

    0 where one answer is never given; NaN where only one would be right.
    """
    right, wrong, missed, rest = np.moveaxis(np.asarray(counts, float), -1, 0)
    product = (right + wrong) * (right + missed) * (rest + wrong) * (rest + missed)
    root = np.sqrt(np.where(product > 0, product, 1.0))
    found = np.where(product > 0, (right * rest - wrong * missed) / root, 0.0)
    return np.where((right + missed > 0) & (wrong + rest > 0), found, np.nan)


def average_precision(
    counts: Float[np.ndarray, "... 2 steps"],
) -> Float[np.ndarray, "..."]:
    """Σ precision × gain in recall, from the highest score down.

    Args:
        counts: by rising score, of what is not of the class, and of what is. NaN comes
            of counts that lack either.
    """
    negatives, positives = np.moveaxis(np.asarray(counts, float)[..., ::-1], -2, 0)
    right, wrong = np.cumsum(positives, -1), np.cumsum(negatives, -1)
    said = np.maximum(right + wrong, np.finfo(float).tiny)
    total = right[..., -1]
    area = np.sum(right / said * positives, -1) / np.where(total > 0, total, 1.0)
    return np.where((total > 0) & (wrong[..., -1] > 0), area, np.nan)


def mean(results: Sequence[ElementResult], metric: str) -> float:
    """Mean of a metric over the elements that are judged; NaN where none is."""
    values = [getattr(r, metric) for r in results if r.is_judged]
    return float(np.mean(values)) if values else math.nan


def numbers(means: Mapping[str, Any]) -> dict[str, float]:
    """MCC, F1 and AUPRC: means over the elements, and MCC of each, by name."""
    results = judge(*(means[name] for name in COUNTS))
    found = {metric: mean(results, metric) for metric in ("mcc", "f1", "auprc")}
    return found | {f"mcc {r.name}": r.mcc for r in results if r.is_judged}


def format_table(results: Sequence[ElementResult]) -> str:
    """A row for each element; those that cannot be judged are named below."""
    width = max(len(name) for name in ELEMENTS)
    lines = [f"{'element':<{width}}   share of bp     MCC      F1   AUPRC"]
    lines += [
        f"{r.name:<{width}}  {r.share:>12.3%}  {r.mcc:>6.3f}  {r.f1:>6.3f}  "
        f"{r.auprc:>6.3f}"
        for r in results
        if r.is_judged
    ]
    means = "  ".join(f"{mean(results, m):>6.3f}" for m in ("mcc", "f1", "auprc"))
    lines.append(f"{'mean':<{width}}  {'':>12}  {means}")
    if left := [r.name for r in results if not r.is_judged]:
        lines.append(f"no base to judge by: {', '.join(left)}")
    return "\n".join(lines)


def as_rows(results: Sequence[ElementResult]) -> list[dict[str, Any]]:
    """The results as JSON has them: null where there is none."""
    return [
        {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in dataclasses.asdict(result).items()
        }
        for result in results
    ]

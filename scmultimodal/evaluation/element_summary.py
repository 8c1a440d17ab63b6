"""Encoders side by side in segmentation: MCC by element, with intervals by region."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from scmultimodal.genome.elements import ELEMENTS

MEAN = "mean"
_RESAMPLES = 2_000
_SHARE = 0.95
"""Of the best metric of a training, at which it counts as converged."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """What a model said of the bases of each region, see `ops.segmentation`."""

    confusion: Float[np.ndarray, "groups elements 4"]
    score_counts: Float[np.ndarray, "groups elements 2 steps"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EncoderResult:
    """Trainings that began with one encoder.

    Attributes:
        name: of the encoder.
        counts: of each seed, on the same regions.
        converged: step of each seed.
    """

    name: str
    counts: Sequence[Counts]
    converged: Sequence[int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ElementInterval:
    """MCC of an element: the mean over seeds, and where it lies by resampled regions.

    Attributes:
        mcc: mean over the seeds, of all regions together; NaN where nothing is judged.
        low, high: 95 % of the means when regions are drawn anew.
        spread: standard deviation over the seeds.
        gain: mean of the paired difference to the encoder that is compared with.
        gain_low, gain_high: its interval.
    """

    mcc: float
    low: float
    high: float
    spread: float
    gain: float = math.nan
    gain_low: float = math.nan
    gain_high: float = math.nan


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderSummary:
    """What one encoder reached.

    Attributes:
        name: of the encoder.
        elements: by name, and "mean" over those that are judged.
        converged: step of each seed.
    """

    name: str
    elements: dict[str, ElementInterval]
    converged: list[int]


def judge(
    results: Sequence[EncoderResult], *, over: str = "pretrained", seed: int = 0
) -> list[EncoderSummary]:
    """MCC of every element and encoder, with intervals.

    Args:
        results: on the same regions.
        over: encoder that the others are compared with, where it is among them.
        seed: of the resampling; all encoders have the same draws.
    """
    groups = len(results[0].counts[0].confusion)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(groups, np.full(groups, 1 / groups), _RESAMPLES) * 1.0
    whole = np.ones((1, groups))
    at_all = {r.name: _mcc(r, whole) for r in results}  # [1, seeds, elements]
    drawn = {r.name: _mcc(r, draws).mean(1) for r in results}
    return [
        EncoderSummary(
            name=result.name,
            elements={
                name: _interval(
                    at_all[result.name][0, :, index],
                    drawn[result.name][:, index],
                    None if over not in at_all else at_all[over][0, :, index],
                    None if over not in drawn else drawn[over][:, index],
                )
                for index, name in enumerate((*ELEMENTS, MEAN))
            },
            converged=list(result.converged),
        )
        for result in results
    ]


def converged(records: Iterable[Mapping[str, Any]], metric: str = "mcc") -> int:
    """First step of a validation with 95 % of the best; 0 where there is none."""
    points = [
        (record["step"], record[metric])
        for record in records
        if record["split"] == "validation" and record.get(metric) is not None
    ]
    best = max((value for _, value in points), default=math.nan)
    return next((step for step, value in points if value >= _SHARE * best), 0)


def format_table(summaries: Sequence[EncoderSummary]) -> str:
    """A row for each element that is judged, a column for each encoder."""
    width = max(map(len, ELEMENTS))
    lines = [f"{'MCC':<{width}}" + "".join(f"{s.name:>22}" for s in summaries)]
    for name in (*ELEMENTS, MEAN):
        found = [s.elements[name] for s in summaries]
        if any(math.isnan(f.mcc) for f in found):
            continue
        cells = [f"{f.mcc:.3f} [{f.low:.3f}, {f.high:.3f}]" for f in found]
        lines.append(f"{name:<{width}}" + "".join(f"{c:>22}" for c in cells))
    spread = [f"{s.elements[MEAN].spread:.3f}" for s in summaries]
    lines.append(f"{'SD over seeds, mean':<{width}}" + _columns(spread))
    gains = [s.elements[MEAN] for s in summaries]
    cells = [
        "–" if not g.gain else f"{g.gain:+.3f} [{g.gain_low:+.3f}, {g.gain_high:+.3f}]"
        for g in gains
    ]
    lines.append(f"{'gain, mean':<{width}}" + _columns(cells))
    steps = [" ".join(map(str, s.converged)) for s in summaries]
    lines.append(f"{'converged, steps':<{width}}" + _columns(steps))
    left = [n for n in ELEMENTS if math.isnan(summaries[0].elements[n].mcc)]
    if left:
        lines.append(f"no base to judge by: {', '.join(left)}")
    return "\n".join(lines)


def as_json(summaries: Sequence[EncoderSummary]) -> list[dict[str, Any]]:
    """The summaries; null where there is no number."""
    rows = [dataclasses.asdict(summary) for summary in summaries]
    for row in rows:
        row["elements"] = {
            name: {k: None if math.isnan(v) else v for k, v in values.items()}
            for name, values in row["elements"].items()
        }
    return rows


def _columns(cells: Sequence[str]) -> str:
    return "".join(f"{cell:>22}" for cell in cells)


def _mcc(
    result: EncoderResult, weights: Float[np.ndarray, "draws groups"]
) -> Float[np.ndarray, "draws seeds names"]:
    """MCC of each element, and their mean, with each region so many times."""
    seeds = []
    for counts in result.counts:
        total = np.einsum("dg,gec->dec", weights, counts.confusion)
        right, wrong, missed, rest = np.moveaxis(total, -1, 0)
        product = (right + wrong) * (right + missed) * (rest + wrong) * (rest + missed)
        with np.errstate(invalid="ignore", divide="ignore"):
            mcc = (right * rest - wrong * missed) / np.sqrt(product)
        is_judged = (right + missed > 0) & (wrong + rest > 0)
        mcc = np.where(is_judged, np.where(product > 0, mcc, 0.0), np.nan)
        # A draw without an element leaves it out of the mean.
        with np.errstate(invalid="ignore"):
            mean = np.nansum(mcc, 1) / np.isfinite(mcc).sum(1)
        seeds.append(np.concatenate([mcc, mean[:, None]], axis=1))
    return np.stack(seeds, axis=1)


def _interval(
    seeds: Float[np.ndarray, " seeds"],
    drawn: Float[np.ndarray, " draws"],
    base_seeds: Float[np.ndarray, " seeds"] | None,
    base_drawn: Float[np.ndarray, " draws"] | None,
) -> ElementInterval:
    low, high = _bounds(drawn)
    found = ElementInterval(
        mcc=float(seeds.mean()), low=low, high=high, spread=float(seeds.std())
    )
    if base_seeds is None or base_drawn is None:
        return found
    low, high = _bounds(drawn - base_drawn)
    return dataclasses.replace(
        found,
        gain=float(seeds.mean() - base_seeds.mean()),
        gain_low=low,
        gain_high=high,
    )


def _bounds(values: Float[np.ndarray, " draws"]) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, [0.025, 0.975]).tolist()
    return low, high

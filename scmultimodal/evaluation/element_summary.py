"""Encoders side by side in segmentation: by element, with intervals by region."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from scmultimodal.evaluation import segmentation
from scmultimodal.genome.elements import ELEMENTS

MEAN = "mean"
METRICS = ("mcc", "auprc")
_RESAMPLES, _AT_ONCE = 2_000, 100
_WIDTH = max(map(len, ELEMENTS))
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
    """A metric of an element: mean over seeds, and where it lies by resampled regions.

    Attributes:
        value: mean over the seeds, of all regions together; NaN without any to judge.
        low, high: 95 % of the means when regions are drawn anew.
        spread: standard deviation over the seeds.
        gain: mean of the paired difference to the encoder that is compared with.
        gain_low, gain_high: its interval.
    """

    value: float
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
        metrics: of `METRICS`, by element, and "mean" over those that are judged.
        converged: step of each seed.
    """

    name: str
    metrics: dict[str, dict[str, ElementInterval]]
    converged: list[int]


def judge(
    results: Sequence[EncoderResult], *, over: str = "pretrained", seed: int = 0
) -> list[EncoderSummary]:
    """MCC and AUPRC of every element and encoder, with intervals.

    Args:
        results: on the same regions.
        over: encoder that the others are compared with, where it is among them.
        seed: of the resampling; all encoders have the same draws.
    """
    groups = len(results[0].counts[0].confusion)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(groups, np.full(groups, 1 / groups), _RESAMPLES) * 1.0
    whole = np.ones((1, groups))
    at_all = {r.name: _metrics(r, whole) for r in results}
    drawn = {r.name: _metrics(r, draws) for r in results}

    def of(name: str, metric: str) -> dict[str, ElementInterval]:
        base = over if over in at_all else None
        return {
            element: _interval(
                at_all[name][metric][0, :, index],
                drawn[name][metric][:, :, index].mean(1),
                None if base is None else at_all[base][metric][0, :, index],
                None if base is None else drawn[base][metric][:, :, index].mean(1),
            )
            for index, element in enumerate((*ELEMENTS, MEAN))
        }

    return [
        EncoderSummary(
            name=result.name,
            metrics={metric: of(result.name, metric) for metric in METRICS},
            converged=list(result.converged),
        )
        for result in results
    ]


def converged(records: Iterable[Mapping[str, Any]], metric: str = "mcc") -> int:
    """First step of a validation with 95 % of the best; 0 if none is above zero."""
    points = [
        (record["step"], record[metric])
        for record in records
        if record["split"] == "validation" and record.get(metric) is not None
    ]
    best = max((value for _, value in points), default=0.0)
    reached = (step for step, value in points if 0 < _SHARE * best <= value)
    return next(reached, 0)


def format_table(summaries: Sequence[EncoderSummary]) -> str:
    """For each metric a row for each element that is judged, a column an encoder."""
    blocks = [_block(summaries, metric) for metric in METRICS]
    steps = [" ".join(map(str, s.converged)) for s in summaries]
    lines = [*blocks, f"{'converged, steps':<{_WIDTH}}" + _columns(steps)]
    known = summaries[0].metrics["mcc"]
    if left := [n for n in ELEMENTS if math.isnan(known[n].value)]:
        lines.append(f"no base to judge by: {', '.join(left)}")
    return "\n".join(lines)


def _block(summaries: Sequence[EncoderSummary], metric: str) -> str:
    of = [summary.metrics[metric] for summary in summaries]
    lines = [f"{metric.upper():<{_WIDTH}}" + _columns([s.name for s in summaries])]
    for name in (*ELEMENTS, MEAN):
        found = [values[name] for values in of]
        if not any(math.isnan(f.value) for f in found):
            cells = [f"{f.value:.3f} [{f.low:.3f}, {f.high:.3f}]" for f in found]
            lines.append(f"{name:<{_WIDTH}}" + _columns(cells))
    means = [values[MEAN] for values in of]
    spread = [f"{m.spread:.3f}" for m in means]
    lines.append(f"{'SD of mean over seeds':<{_WIDTH}}" + _columns(spread))
    gains = [
        "–"
        if math.isnan(m.gain) or m.gain_low == m.gain_high
        else f"{m.gain:+.3f} [{m.gain_low:+.3f}, {m.gain_high:+.3f}]"
        for m in means
    ]
    lines.append(f"{'gain of mean':<{_WIDTH}}" + _columns(gains))
    return "\n".join([*lines, ""])


def as_json(summaries: Sequence[EncoderSummary]) -> list[dict[str, Any]]:
    """The summaries; null where there is no number."""
    rows = [dataclasses.asdict(summary) for summary in summaries]
    for row in rows:
        row["metrics"] = {
            metric: {
                name: {k: None if math.isnan(v) else v for k, v in values.items()}
                for name, values in elements.items()
            }
            for metric, elements in row["metrics"].items()
        }
    return rows


def _columns(cells: Sequence[str]) -> str:
    return "".join(f"{cell:>25}" for cell in cells)


def _metrics(
    result: EncoderResult, weights: Float[np.ndarray, "draws groups"]
) -> dict[str, Float[np.ndarray, "draws seeds names"]]:
    """Metrics of each element, and their mean, with each region so many times."""
    found: dict[str, list[np.ndarray]] = {metric: [] for metric in METRICS}
    for counts in result.counts:
        for metric, compute, source in (
            ("mcc", segmentation.mcc, counts.confusion),
            ("auprc", segmentation.average_precision, counts.score_counts),
        ):
            parts = [
                compute(np.einsum("dg,g...->d...", part, source))
                for part in np.array_split(weights, -(-len(weights) // _AT_ONCE))
            ]
            found[metric].append(_with_mean(np.concatenate(parts)))
    return {metric: np.stack(values, axis=1) for metric, values in found.items()}


def _with_mean(
    values: Float[np.ndarray, "draws elements"],
) -> Float[np.ndarray, "draws names"]:
    """And their mean; a draw that lacks an element leaves it out of that."""
    known = np.isfinite(values).sum(1, keepdims=True)
    mean = np.nansum(values, 1, keepdims=True) / np.maximum(known, 1)
    return np.concatenate([values, mean], axis=1)


def _interval(
    seeds: Float[np.ndarray, " seeds"],
    drawn: Float[np.ndarray, " draws"],
    base_seeds: Float[np.ndarray, " base_seeds"] | None,
    base_drawn: Float[np.ndarray, " draws"] | None,
) -> ElementInterval:
    low, high = _bounds(drawn)
    found = ElementInterval(
        value=float(seeds.mean()), low=low, high=high, spread=float(seeds.std())
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

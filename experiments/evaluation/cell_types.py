"""Cell types: ours, its controls and what is simple, over several splits.

Every row is judged on the test cells of each split, once; whatever was chosen was
chosen on validation cells. Splits are paired: a difference is taken within each.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from experiments.evaluation import classifiers, jobs, sets
from experiments.evaluation.classifiers import Case, Voice
from experiments.evaluation.jobs import Job
from experiments.evaluation.sets import SetName
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows.presets import BEST

SECTION = "cell_types"
METRICS = ("accuracy", "macro_f1")
REFERENCE = "logistic_regression"
MEMBERS = 5
"""Networks of an ensemble, with seeds of their own."""
BASELINES = (
    "logistic_regression",
    "svd_logistic_regression",
    "nearest_neighbours",
    "naive_bayes",
)
PEAKS = ("peaks_naive_bayes", "peaks_svd_logistic_regression")
"""Of ATAC, on the peaks themselves."""
_VOICES = {
    Regime.RNA: ("naive_bayes", "logistic_regression"),
    Regime.ATAC: ("naive_bayes", *PEAKS),
}
ATTENDING = dataclasses.replace(
    BEST,
    pretrain=dataclasses.replace(
        BEST.pretrain, path=dataclasses.replace(BEST.pretrain.path, num_layers=1)
    ),
)
"""`best` with a layer of attention: what it gains, or does not."""

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """A row of the table, in one split.

    Attributes:
        name: of the row.
        job: that measures it.
        within: where a job measures several: which of its results.
    """

    name: str
    job: Job
    within: str | None = None


def models(case: Case, folder: Path) -> list[Model]:
    """All that is judged on the cells of a split."""
    if case.regime is Regime.MULTIOME:
        return _fused(case, folder)
    simple = classifiers.simple(case, BEST, folder)
    baselines = (*BASELINES, *(PEAKS if case.regime is Regime.ATAC else ()))
    start = classifiers.pretraining(case, BEST, folder)
    members = _members(case, folder)
    together = classifiers.ensemble(
        case,
        BEST,
        folder,
        members=members,
        voices=[
            Voice(name=name, job=simple, folder=name) for name in _VOICES[case.regime]
        ],
    )
    return [
        Model(name="best", job=members[0]),
        Model(
            name="best, pre-trained",
            job=classifiers.trained(case, BEST, folder, start=start),
        ),
        Model(
            name="best, with attention",
            job=classifiers.trained(case, ATTENDING, folder),
        ),
        Model(name="best-ensemble", job=together),
        *(Model(name=name, job=simple, within=name) for name in baselines),
    ]


def _fused(case: Case, folder: Path) -> list[Model]:
    """Of cells with both: the paths of one network, and networks of each fused late."""
    simple = classifiers.simple(case, BEST, folder)
    parts = {
        regime: _members(dataclasses.replace(case, regime=regime), folder)
        for regime in (Regime.RNA, Regime.ATAC)
    }
    atac = classifiers.ensemble(
        dataclasses.replace(case, regime=Regime.ATAC),
        BEST,
        folder,
        members=parts[Regime.ATAC],
    )
    late = classifiers.ensemble(
        case,
        BEST,
        folder,
        members=parts[Regime.RNA],
        voices=[Voice(name="atac", job=atac)],
    )
    alone = classifiers.ensemble(case, BEST, folder, members=parts[Regime.RNA])
    return [
        Model(name="best", job=classifiers.trained(case, BEST, folder)),
        Model(name="RNA networks alone", job=alone),
        Model(name="RNA and ATAC networks, fused late", job=late),
        *(Model(name=name, job=simple, within=name) for name in BASELINES),
    ]


def _members(case: Case, folder: Path) -> list[Job]:
    return [
        classifiers.trained(case, BEST, folder, member=member)
        for member in range(MEMBERS)
    ]


def run(
    names: Sequence[SetName],
    regimes: Sequence[Regime],
    seeds: Sequence[int],
    folder: Path,
) -> list[Row]:
    """Measures what is not measured yet; a row for each set, modality and model."""
    asked: dict[tuple[str, str, str], list[Model]] = {}
    for name in names:
        for regime in regimes:
            if regime not in sets.regimes(name):
                continue
            for seed in seeds:
                case = Case(name=name, regime=regime, seed=seed)
                for model in models(case, folder):
                    asked.setdefault((name, str(regime), model.name), []).append(model)
    wanted = {m.job.key: m.job for group in asked.values() for m in group}
    records = dict(zip(wanted, jobs.run(list(wanted.values()), folder), strict=True))
    found: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = {}
    for (name, regime, model), group in asked.items():
        results = [records[m.job.key]["result"] for m in group]
        own = [
            r if m.within is None else r[m.within]
            for r, m in zip(results, group, strict=True)
        ]
        found.setdefault((name, regime), {})[model] = own
    return [
        _row(name, regime, model, own, group.get(REFERENCE, own))
        for (name, regime), group in found.items()
        for model, own in group.items()
    ]


def _row(
    name: str,
    regime: str,
    model: str,
    own: Sequence[Mapping[str, Any]],
    reference: Sequence[Mapping[str, Any]],
) -> Row:
    row: Row = {"set": name, "modality": regime, "model": model, "seeds": len(own)}
    for metric in (*METRICS, "mcc", "calibration_error"):
        values = [result["test"][metric] for result in own]
        row[metric] = statistics.mean(values)
        row[f"{metric}_by_seed"] = values
    for metric in METRICS:
        pairs = zip(row[f"{metric}_by_seed"], reference, strict=True)
        gains = [value - other["test"][metric] for value, other in pairs]
        row[f"{metric}_gain"] = statistics.mean(gains)
        row[f"{metric}_gain_half_width"] = half_width(gains)
    return row


def half_width(values: Sequence[float], *, level: float = 0.95) -> float | None:
    """Of the interval of a mean by Student's t; None for a single value."""
    if len(values) < 2:
        return None
    t = float(stats.t.ppf((1 + level) / 2, len(values) - 1))
    return t * statistics.stdev(values) / math.sqrt(len(values))


def table(rows: Sequence[Row]) -> str:
    """As Markdown: means over splits, and the paired gain over logistic regression."""
    lines = [
        "| set | modality | model | accuracy | gain | macro-F1 | gain |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    last = None
    for row in rows:
        block = (row["set"], row["modality"])
        shown = block if block != last else ("", "")
        last = block
        cells = [*shown, row["model"].replace("_", " ")]
        for metric in METRICS:
            cells += [_share(row[metric]), _gain(row, metric)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _gain(row: Row, metric: str) -> str:
    if row["model"] == REFERENCE:
        return ""
    half = row[f"{metric}_gain_half_width"]
    sign = "+" if row[f"{metric}_gain"] >= 0 else "−"
    text = sign + _share(abs(row[f"{metric}_gain"]))
    return text if half is None else f"{text} ± {_share(half)}"

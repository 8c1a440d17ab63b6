"""What runs reached: scores by part of the data, from the files that runs leave.

A reader takes the name of the run and the content of the file.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from scmultimodal.evaluation.comparison import Score
from scmultimodal.evaluation.segmentation import ElementResult, mean
from scmultimodal.genome.composition import FEATURES

OURS = "the model"
"""The one model of a run, whatever its run calls it."""
NO_MEASURES = {
    *("step", "split", "seconds", "learning_rate", "grad_norm"),
    # Of an adversary: what is better for it is worse for the model.
    *("batch_accuracy", "adversary_loss"),
}
_SCORES = ("accuracy", "mcc", "macro_f1", "weighted_f1")


def cell_types(run: str, summary: Any) -> dict[str, list[Score]]:
    """Of `summary.json`: a part for each modality."""
    found: dict[str, list[Score]] = {}
    for row in summary["results"]:
        found.setdefault(row["modality"], []).append(
            Score(
                run=run,
                model=row["model"],
                values=_floats(row, _SCORES),
                is_baseline=not row["model"].startswith("scmultimodal"),
            )
        )
    return found


def rankings(run: str, summary: Any) -> dict[str, list[Score]]:
    """Of `summary.json`: a part for each split."""
    found = {}
    for part, rows in summary.items():
        baselines = [
            row["name"] in FEATURES or row["name"].startswith("ridge") for row in rows
        ]
        ours = OURS if baselines.count(False) == 1 else None
        found[part] = [
            Score(
                run=run,
                model=row["name"] if is_baseline else ours or row["name"],
                values={
                    "full_order": float(row["full_order"]["mean"]),
                    **_floats(row["scores"], ("pairwise", "ndcg", "mrr")),
                },
                is_baseline=is_baseline,
                notes={"full order, 95 %": _interval(row["full_order"])},
            )
            for row, is_baseline in zip(rows, baselines, strict=True)
        ]
    return found


def segmentation(run: str, summary: Any) -> dict[str, list[Score]]:
    """Of `summary.json`: a part for each split, means over elements."""
    found: dict[str, list[Score]] = {}
    metrics = ("mcc", "f1", "auprc")
    for title, rows in summary.items():
        part, _, baseline = title.partition(", ")
        results = [
            ElementResult(name=row["name"], **_floats(row, ("share", *metrics)))
            for row in rows
        ]
        found.setdefault(part, []).append(
            Score(
                run=run,
                model="logistic_regression" if baseline else OURS,
                values={metric: mean(results, metric) for metric in metrics},
                is_baseline=bool(baseline),
                by_class={
                    row["name"]: _floats(row, ("share", *metrics))
                    for row, result in zip(rows, results, strict=True)
                    if result.is_judged
                },
            )
        )
    return found


def encoders(run: str, summary: Any) -> dict[str, list[Score]]:
    """Of `summary.json` of the study of encoders: test, over seeds."""

    def score(row: Any) -> Score:
        of = row["metrics"]
        elements = {n: v for n, v in of["auprc"].items() if v["value"] is not None}
        return Score(
            run=run,
            model=row["name"],
            values={m: _number(of[m]["mean"]["value"]) for m in ("mcc", "auprc")},
            is_baseline=row["name"] == "logistic_regression",
            notes={"AUPRC, 95 %": _interval(of["auprc"]["mean"])},
            by_class={
                name: {m: _number(of[m][name]["value"]) for m in ("mcc", "auprc")}
                for name in elements
                if name != "mean"
            },
        )

    return {"test": [score(row) for row in summary]}


def gene_values(run: str, summary: Any) -> dict[str, list[Score]]:
    """Of `summary.json`: a part for each split."""
    return {
        part: [
            Score(
                run=run,
                model=row["model"],
                values=_floats(row, ("mse", "gene_pearson")),
                is_baseline=not row["model"].startswith("scmultimodal"),
            )
            for row in rows
        ]
        for part, rows in summary.items()
    }


def integration(run: str, summary: Any) -> dict[str, list[Score]]:
    """Of `summary.json`: vectors of test cells."""
    return {
        "test": [
            Score(
                run=run,
                model=name,
                values=_floats(row, ("biology", "batches", "total")),
                is_baseline=name == "components",
            )
            for name, row in summary.items()
        ]
    }


def kmer_losses(run: str, losses: Any) -> dict[str, list[Score]]:
    """Of `losses.json`: held-out windows."""
    return {
        "validation": [
            Score(
                run=run,
                model=OURS if name == "model" else name,
                values={"loss": float(loss)},
                is_baseline=name != "model",
            )
            for name, loss in losses.items()
        ]
    }


def nothing(run: str, summary: Any) -> dict[str, list[Score]]:
    """Of a run that leaves no such file."""
    return {}


def last_validations(
    run: str, trainings: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, list[Score]]:
    """Where nothing else was judged: what each training was validated on at last."""
    scores = []
    for name, records in trainings.items():
        of_validation = [r for r in records if r.get("split") == "validation"]
        if of_validation:
            values = {
                key: _number(value)
                for key, value in of_validation[-1].items()
                if is_measure(key)
            }
            scores.append(Score(run=run, model=name, values=values))
    return {"validation": scores} if scores else {}


def is_measure(name: str) -> bool:
    """Whether a field of a record is a metric of all examples."""
    return name not in NO_MEASURES and " " not in name and "fingerprint" not in name


def classes(facts: Any) -> dict[str, dict[str, dict[str, float]]]:
    """What `judged.json` tells of a part: model -> class -> metrics."""
    return {
        model: {name: _floats(values, values) for name, values in of_model.items()}
        for model, of_model in facts.get("by_class", {}).items()
    }


def with_classes(
    scores: Sequence[Score], by_model: Mapping[str, Mapping[str, Any]]
) -> list[Score]:
    """Scores with what `classes` tells of their models."""
    return [
        dataclasses.replace(score, by_class=by_model.get(score.model, score.by_class))
        for score in scores
    ]


def _floats(row: Mapping[str, Any], names: Any) -> dict[str, float]:
    return {name: _number(row[name]) for name in names}


def _number(value: float | int | None) -> float:
    return math.nan if value is None else float(value)


def _interval(row: Mapping[str, Any]) -> str:
    if row["low"] is None or row["high"] is None:
        return "–"
    return f"[{row['low']:.3f}, {row['high']:.3f}]"

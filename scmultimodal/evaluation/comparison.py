"""Runs side by side: what differs in their settings, and in what they reached.

Values are compared where they come of the same examples, and nowhere else.
"""

import dataclasses
import functools
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from scmultimodal.evaluation.report import Table

NAMES = {
    "mcc": "MCC",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "f1": "F1",
    "auprc": "AUPRC",
    "ndcg": "NDCG",
    "mrr": "MRR",
}
"""How metrics are written; others by their own name, spaces for underscores."""
SIZES = {"support": int, "share": float}
"""What a class tells of itself, the same for every model."""
DIGITS = 3
"""Decimals that are shown, and that the best is told by."""
_WIDTH = 72
"""Letters of a setting that are shown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """What one model of one run reached.

    Attributes:
        run: name of the run.
        model: name of the model, the same in every run that has it.
        values: by metric; NaN where there is none. Lower is better of what ends in
            "loss", higher of all else.
        is_baseline: whether the model is one that the others must beat.
        notes: further columns, by title.
        by_class: class -> metrics of it, and its size by one of `SIZES`.
    """

    run: str
    model: str
    values: Mapping[str, float]
    is_baseline: bool = False
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    by_class: Mapping[str, Mapping[str, float]] = dataclasses.field(
        default_factory=dict
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """Scores on one part of the data: the test cells of a modality, or a split.

    Attributes:
        name: of the part.
        scores: of all runs, run by run.
        examples: sha256 of what each run was judged on; None where it is not known.
    """

    name: str
    scores: Sequence[Score]
    examples: Mapping[str, str | None]

    @functools.cached_property
    def runs(self) -> tuple[str, ...]:
        """The runs that have scores, in order."""
        return tuple(dict.fromkeys(score.run for score in self.scores))

    @functools.cached_property
    def comparable(self) -> tuple[str, ...]:
        """The first run, and those that were judged on the same examples."""
        first, *others = self.runs
        known = self.examples.get(first)
        same = (r for r in others if known and self.examples.get(r) == known)
        return (first, *same)

    @functools.cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that some score has, in order."""
        return tuple(dict.fromkeys(m for s in self.scores for m in s.values))

    def difference(self, score: Score, metric: str) -> float:
        """To the same model of the first run; NaN where that says nothing."""
        if score.run == self.runs[0] or score.run not in self.comparable:
            return math.nan
        first = (s for s in self.scores if s.run == self.runs[0])
        same = next((s for s in first if s.model == score.model), None)
        if same is None:
            return math.nan
        return score.values.get(metric, math.nan) - same.values.get(metric, math.nan)

    def best(self, metric: str) -> float:
        """Of the runs that can be compared, rounded as it is shown; NaN if none."""
        values = [
            round(score.values.get(metric, math.nan), DIGITS)
            for score in self.scores
            if score.run in self.comparable
        ]
        return _best(values, metric)


def warnings(parts: Sequence[Part]) -> list[str]:
    """Which runs cannot be compared with the first, on which parts, and why."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for part in parts:
        first = part.runs[0]
        others = [run for run in part.runs if run not in part.comparable]
        known = all(part.examples.get(run) for run in (first, *others))
        why = (
            "judged on other examples than"
            if known
            else "perhaps not judged on the same examples as"
        )
        if others:
            found.setdefault((", ".join(others), why, first), []).append(part.name)
    return [
        f"Not comparable ({', '.join(names)}): {others}, {why} {first}. No difference "
        "is taken between them, and the best is marked among the others."
        for (others, why, first), names in found.items()
    ]


def scores_table(part: Part) -> Table:
    """Model by model, the runs: metrics, and their differences to the first run.

    A model that reached the same in all runs that can be compared has one row. The best
    of a metric is bold, baselines are shaded.
    """
    rows, bold, marked = [], set(), set()
    first = part.comparable[0]
    compared = part.metrics if len(part.comparable) > 1 else ()
    notes = dict.fromkeys(title for score in part.scores for title in score.notes)
    for name, score in _rows(part):
        row: dict[str, Any] = {"model": score.model}
        if len(part.runs) > 1:
            row["run"] = name
        for metric in part.metrics:
            value = score.values.get(metric, math.nan)
            is_best = round(value, DIGITS) == part.best(metric)
            if is_best and score.run in part.comparable:
                bold.add((len(rows), len(row)))
            row[title_of(metric)] = value
        for metric in compared:
            row[f"± {title_of(metric)}"] = part.difference(score, metric)
        row |= {title: score.notes.get(title, "") for title in notes}
        if score.is_baseline:
            marked.add(len(rows))
        rows.append(row)
    frame = pd.DataFrame(rows)
    return Table(
        frame=frame,
        caption=part.name + (f"; ± is the difference to {first}" if compared else ""),
        bold=frozenset(bold),
        marked=frozenset(marked),
        signed=frozenset(c for c in frame.columns if c.startswith("± ")),
    )


def class_scores(part: Part, metric: str) -> dict[str, Score]:
    """What to show class by class: name -> a score of a run that can be compared.

    The models of all such runs, and the first baseline of the first; those alone whose
    classes are the same as the first's.
    """
    baselines = [s for s in part.scores if s.is_baseline and s.run == part.runs[0]]
    found = [
        score
        for score in part.scores
        if score.run in part.comparable
        and (not score.is_baseline or score in baselines[:1])
        and any(metric in values for values in score.by_class.values())
    ]
    found = [s for s in found if s.by_class.keys() == found[0].by_class.keys()]
    found.sort(key=lambda score: score.is_baseline)
    ours = {score.model for score in found if not score.is_baseline}
    runs = {score.run for score in found}

    def name(score: Score) -> str:
        if score.is_baseline or len(runs) == 1:
            return score.model
        return score.run if len(ours) == 1 else f"{score.run}: {score.model}"

    return {name(score): score for score in found}


def class_table(part: Part, metric: str) -> Table:
    """A row for each class, a column for each of `class_scores`, the best bold.

    A column "±" has the difference to the same model of the first run.
    """
    shown = class_scores(part, metric)
    first = next(iter(shown.values()))
    same = {s.model: s for s in shown.values() if s.run == part.runs[0]}
    rows, bold = [], set()
    for number, (label, facts) in enumerate(first.by_class.items()):
        row: dict[str, Any] = {n: of(facts[n]) for n, of in SIZES.items() if n in facts}
        values = {n: _value(s, label, metric) for n, s in shown.items()}
        best = _best([round(v, DIGITS) for v in values.values()], metric)
        for name, score in shown.items():
            if round(values[name], DIGITS) == best:
                bold.add((number, len(row)))
            row[name] = values[name]
            if score.run != part.runs[0] and score.model in same:
                before = _value(same[score.model], label, metric)
                row[f"± {name}"] = values[name] - before
        rows.append(row)
    frame = pd.DataFrame(rows, index=pd.Index(list(first.by_class), name="class"))
    return Table(
        frame=frame,
        caption=f"{part.name}: {title_of(metric)} by class",
        bold=frozenset(bold),
        signed=frozenset(c for c in frame.columns if c.startswith("± ")),
    )


def differing(
    settings: Mapping[str, Mapping[str, Any]], prefix: str = ""
) -> dict[str, dict[str, Any]]:
    """Settings that are not the same in all runs.

    Args:
        settings: run -> nested settings, as JSON has them.
        prefix: of their names.

    Returns:
        Dotted name -> run -> value; a run that does not have it is left out. A group
        of settings that some run lacks is one setting.
    """
    found = {}
    for name in dict.fromkeys(name for of_run in settings.values() for name in of_run):
        values = {run: s[name] for run, s in settings.items() if name in s}
        everyone, some = len(values) == len(settings), next(iter(values.values()))
        if everyone and all(isinstance(value, Mapping) for value in values.values()):
            found |= differing(values, f"{prefix}{name}.")
        elif not everyone or any(value != some for value in values.values()):
            found[prefix + name] = values
    return found


def settings_table(
    found: Mapping[str, Mapping[str, Any]], runs: Sequence[str]
) -> Table:
    """What `differing` found: a row for each setting, a column for each run."""
    rows = [
        {run: _text(values[run]) if run in values else "–" for run in runs}
        for values in found.values()
    ]
    names = pd.Index(list(found), name="setting")
    return Table(frame=pd.DataFrame(rows, index=names), caption="Settings that differ")


def as_json(part: Part) -> dict[str, Any]:
    """The part as JSON has it: null where there is no number."""
    return {
        "part": part.name,
        "examples": {run: part.examples.get(run) for run in part.runs},
        "comparable": list(part.comparable),
        "scores": [
            {
                "run": score.run,
                "model": score.model,
                "is_baseline": score.is_baseline,
                "values": _numbers(score.values),
                "difference_to_first": _numbers(
                    {m: part.difference(score, m) for m in part.metrics}
                ),
                "notes": dict(score.notes),
                "by_class": {c: _numbers(v) for c, v in score.by_class.items()},
            }
            for score in part.scores
        ],
    }


def title_of(metric: str) -> str:
    """A metric as it is written."""
    return NAMES.get(metric, metric.replace("_", " "))


def lower_is_better(metric: str) -> bool:
    """Whether the least of a metric is its best."""
    return metric.endswith(("loss", "nats_per_count"))


def _rows(part: Part) -> list[tuple[str, Score]]:
    """The rows of a part: names of runs, and what they reached."""
    rows = []
    for model in dict.fromkeys(score.model for score in part.scores):
        scores = [score for score in part.scores if score.model == model]
        same = [s for s in scores if s.run in part.comparable]
        others = [s for s in scores if s.run not in part.comparable]
        if len(same) > 1 and all(s.values == same[0].values for s in same):
            everyone = len(same) == len(part.runs)
            name = "all" if everyone else " = ".join(s.run for s in same)
            rows.append((name, same[0]))
        else:
            rows += [(score.run, score) for score in same]
        rows += [(score.run, score) for score in others]
    return rows


def _best(values: Sequence[float], metric: str) -> float:
    known = [value for value in values if not math.isnan(value)]
    return (min if lower_is_better(metric) else max)(known, default=math.nan)


def _value(score: Score, label: str, metric: str) -> float:
    return score.by_class[label].get(metric, math.nan)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return textwrap.shorten(text, _WIDTH, placeholder=" …") if text else "–"


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {
        name: value if math.isfinite(value) else None for name, value in values.items()
    }

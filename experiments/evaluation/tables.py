"""A section of the evaluation: what is measured in each case, and the table of it.

Splits are paired: a gain over the reference is taken within each, then averaged.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from experiments.evaluation import jobs, sets
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job
from scmultimodal.schemas.modality import Regime

Row = dict[str, Any]
"""What makes the row, then METRIC, METRIC_by_seed, METRIC_half_width, and METRIC_gains
by reference, each with mean and half_width (None where it was not measured), and the
revisions of the code that measured it."""

Texts = tuple[list[str], list[tuple[str, ...]]]
"""Heads, and rows of cells."""
SCORES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
"""Of classifiers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """What stands in a row of the table, in one split.

    Attributes:
        row: what makes the row beside set and modality; "model" among it.
        job: that measures it.
        within: keys that lead to its metrics in the result of the job.
        published: by others, on one split of theirs: paired with nothing of ours.
    """

    row: Mapping[str, Any]
    job: Job
    within: tuple[str, ...] = ("test",)
    published: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A table.

    Attributes:
        about: a line for people.
        entries: of a case.
        regimes: of the cases that it has entries for.
        metrics: what is shown, with the heads of its columns.
        extra: metrics that are kept and not shown.
        keys: what of a row is shown.
        references: the models that gains are taken over.
        pivot: the part of a row that has a column for each of its values.
        head: of such a column.
        cells: of each set, drawn by the seed, unless told otherwise; None takes all.
        across_batches: for sets alone that have batches to split by.
    """

    about: str
    entries: Callable[[Case, Path], Sequence[Entry]]
    regimes: tuple[Regime, ...] = tuple(Regime)
    metrics: Mapping[str, str] = dataclasses.field(default_factory=lambda: SCORES)
    extra: tuple[str, ...] = ()
    keys: tuple[str, ...] = ("set", "modality", "model")
    references: tuple[str, ...] = ()
    pivot: str | None = None
    head: Callable[[Any], str] = str
    cells: int | None = None
    across_batches: bool = False


def measure(section: Section, cases: Sequence[Case], folder: Path) -> list[Row]:
    """Does what is not done yet; a row for each set, modality and model.

    Rows whose cells cannot be judged so are left out.
    """
    asked: dict[tuple[tuple[str, Any], ...], list[Entry]] = {}
    for case in cases:
        if case.regime not in section.regimes:
            continue
        if section.across_batches and not sets.has_batches(case.name):
            continue
        for entry in section.entries(case, folder):
            row = {"set": case.name, "modality": str(case.regime), **entry.row}
            asked.setdefault(tuple(row.items()), []).append(entry)
    wanted = {e.job.key: e.job for group in asked.values() for e in group}
    records = dict(zip(wanted, jobs.run(list(wanted.values()), folder), strict=True))
    asked = {
        key: group
        for key, group in asked.items()
        if all(records[e.job.key]["result"] is not None for e in group)
    }
    published = {key for key, group in asked.items() if group[0].published}
    asked = {k: group[:1] if k in published else group for k, group in asked.items()}
    found = {
        key: [_at(records[e.job.key]["result"], e.within) for e in group]
        for key, group in asked.items()
    }
    revisions = {
        key: sorted({str(records[e.job.key].get("revision")) for e in group})
        for key, group in asked.items()
    }
    return [
        _row(section, key, found, () if key in published else section.references)
        | {"revisions": [] if key in published else revisions[key]}
        for key in found
    ]


def _at(result: Mapping[str, Any], within: Sequence[str]) -> Mapping[str, Any]:
    for key in within:
        result = result[key]
    return result


def _row(
    section: Section,
    key: tuple[tuple[str, Any], ...],
    found: Mapping[tuple[tuple[str, Any], ...], Sequence[Mapping[str, Any]]],
    references: Sequence[str],
) -> Row:
    row: Row = {**dict(key), "seeds": len(found[key])}
    for metric in (*section.metrics, *section.extra):
        values = [result.get(metric) for result in found[key]]
        gains = {}
        for reference in references:
            beside = tuple((n, reference if n == "model" else v) for n, v in key)
            others = [result.get(metric) for result in found.get(beside, ())]
            gains[reference] = _mean(
                [
                    value - other
                    for value, other in zip(values, others, strict=False)
                    if value is not None and other is not None
                ]
            )
        own = _mean([] if None in values else values)
        row |= {
            metric: own["mean"],
            f"{metric}_by_seed": values,
            f"{metric}_half_width": own["half_width"],
            f"{metric}_gains": gains,
        }
    return row


def _mean(values: Sequence[float]) -> dict[str, float | None]:
    mean = statistics.mean(values) if values else None
    return {"mean": mean, "half_width": half_width(values)}


def half_width(values: Sequence[float], *, level: float = 0.95) -> float | None:
    """Of the interval of a mean by Student's t; None for a single value."""
    if len(values) < 2:
        return None
    t = float(stats.t.ppf((1 + level) / 2, len(values) - 1))
    return t * statistics.stdev(values) / math.sqrt(len(values))


def markdown(section: Section, rows: Sequence[Row]) -> str:
    """The table for people: means over splits, with gains where there is a reference.

    A row that begins as the one above it leaves that out.
    """
    heads, body = cells(section, rows)
    named = len(section.keys)
    rules = ["---"] * named + ["---:"] * (len(heads) - named)
    lines = [f"| {' | '.join(heads)} |", f"|{'|'.join(rules)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in body)])


def cells(section: Section, rows: Sequence[Row]) -> Texts:
    """The heads of the table, and its cells."""
    return (_wide if section.pivot else _long)(section, rows)


def _long(section: Section, rows: Sequence[Row]) -> Texts:
    columns: dict[tuple[str, str], list[str]] = {}
    for metric, title in section.metrics.items():
        columns[metric, title] = [_value(row[metric]) for row in rows]
        for name in section.references:
            gains = [_gain(row, metric, name) for row in rows]
            if any(gains):
                columns[metric, f"over {_words(name)}"] = gains
    heads = [*section.keys, *(head for _, head in columns)]
    cells = zip(*columns.values(), strict=True)
    body = [(_names(section, r), one) for r, one in zip(rows, cells, strict=True)]
    return heads, _without_repeats(body)


def _wide(section: Section, rows: Sequence[Row]) -> Texts:
    assert section.pivot is not None
    columns = list(dict.fromkeys(row[section.pivot] for row in rows))
    heads = [*section.keys, *map(section.head, columns)]
    groups: dict[tuple[str, ...], dict[Any, str]] = {}
    for row in rows:
        text = " / ".join(_value(row[metric]) for metric in section.metrics)
        groups.setdefault(_names(section, row), {})[row[section.pivot]] = text
    body = [(n, [found.get(c, "") for c in columns]) for n, found in groups.items()]
    return heads, _without_repeats(body)


def _names(section: Section, row: Row) -> tuple[str, ...]:
    return tuple(_words(row[key]) for key in section.keys)


def _words(value: Any) -> str:
    return str(value).replace("_", " ")


def _without_repeats(
    body: Sequence[tuple[tuple[str, ...], Sequence[str]]],
) -> list[tuple[str, ...]]:
    found, above = [], ()
    for names, values in body:
        same = bool(above) and names[:-1] == above
        shown = ("",) * len(above) + names[-1:] if same else names
        found.append((*shown, *values))
        above = names[:-1]
    return found


def _value(value: float | None) -> str:
    """Three digits, as `.785`."""
    if value is None:
        return ""
    sign = "−" if value < 0 else ""
    return sign + f"{abs(value):.3f}".removeprefix("0")


def _gain(row: Row, metric: str, reference: str) -> str:
    nothing = {"mean": None, "half_width": None}
    found = row[f"{metric}_gains"].get(reference, nothing)
    gain, half = found["mean"], found["half_width"]
    if row["model"] == reference or gain is None:
        return ""
    text = ("+" if gain >= 0 else "−") + _value(abs(gain))
    return text if half is None else f"{text} ± {_value(half)}"

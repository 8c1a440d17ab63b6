"""Rows of tables: their arithmetic, and SECTION.json, which keeps those of all calls.

    ROW   what makes it, such as set, modality and model
          seeds      how many splits
          METRIC, METRIC_by_seed, METRIC_half_width    by ascending seed
          METRIC_gains    by reference, paired by seed: mean and half_width
          measured   which seeds, by which jobs of OUT, of how many cells (null: all),
                     by which revision of the code, and which command wrote them; empty
                     of published figures

Splits are paired: a gain over the reference is taken within each, then averaged.
"""

import dataclasses
import json
import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from scmultimodal.schemas.errors import InputError

Row = dict[str, Any]
Key = tuple[tuple[str, Any], ...]
"""What makes a row: names and values."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the result of a split comes from.

    Attributes:
        job: the hash that it is kept under; None where it was not told.
        cells: so many of the set; None takes all.
        revision: of the code that measured it.
        command: that wrote it into the table.
    """

    job: str | None
    cells: int | None
    revision: str
    command: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A row before its arithmetic.

    Attributes:
        key: what makes it.
        by_seed: metrics of each split; of published figures, which have none, of 0.
        origins: of each split that was measured.
    """

    key: Key
    by_seed: Mapping[int, Mapping[str, Any]]
    origins: Mapping[int, Origin]


def to_rows(
    lines: Sequence[Line], metrics: Iterable[str], references: Sequence[str]
) -> list[Row]:
    """Means over splits, and gains over the lines that differ in their model alone."""
    beside = {frozenset(line.key): line.by_seed for line in lines}
    metrics = tuple(metrics)
    rows = []
    for line in lines:
        others = {
            reference: beside.get(
                frozenset({**dict(line.key), "model": reference}.items()), {}
            )
            for reference in (references if line.origins else ())
        }
        row: Row = {**dict(line.key), "seeds": len(line.by_seed)}
        for metric in metrics:
            row |= _of_metric(metric, line.by_seed, others)
        rows.append(row | {"measured": _measured(line)})
    return rows


def _of_metric(
    metric: str,
    by_seed: Mapping[int, Mapping[str, Any]],
    others: Mapping[str, Mapping[int, Mapping[str, Any]]],
) -> Row:
    values = {seed: by_seed[seed].get(metric) for seed in sorted(by_seed)}
    gains = {}
    for reference, other in others.items():
        pairs = [(v, other[s].get(metric)) for s, v in values.items() if s in other]
        gains[reference] = _mean(
            [a - b for a, b in pairs if a is not None and b is not None]
        )
    own = _mean([] if None in values.values() else list(values.values()))
    return {
        metric: own["mean"],
        f"{metric}_by_seed": list(values.values()),
        f"{metric}_half_width": own["half_width"],
        f"{metric}_gains": gains,
    }


def _mean(values: Sequence[float]) -> dict[str, float | None]:
    mean = statistics.mean(values) if values else None
    return {"mean": mean, "half_width": half_width(values)}


def half_width(values: Sequence[float], *, level: float = 0.95) -> float | None:
    """Of the interval of a mean by Student's t; None for a single value."""
    if len(values) < 2:
        return None
    t = float(stats.t.ppf((1 + level) / 2, len(values) - 1))
    return t * statistics.stdev(values) / math.sqrt(len(values))


def _measured(line: Line) -> list[dict[str, Any]]:
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for seed in sorted(line.origins):
        origin = line.origins[seed]
        same = {n: v for n, v in dataclasses.asdict(origin).items() if n != "job"}
        group = found.setdefault(tuple(same.values()), {"seeds": [], "jobs": []} | same)
        group["seeds"].append(seed)
        group["jobs"].append(origin.job)
    return list(found.values())


def to_line(row: Row, names: Collection[str], metrics: Iterable[str]) -> Line:
    """What `to_rows` made a row of.

    Args:
        row: as it stands in SECTION.json.
        names: of what makes a row.
        metrics: whose values are taken; None of those that the row lacks.
    """
    origins = {
        seed: Origin(
            job=job,
            cells=group["cells"],
            revision=group["revision"],
            command=group["command"],
        )
        for group in row["measured"]
        for seed, job in zip(group["seeds"], group["jobs"], strict=True)
    }
    seeds = sorted(origins) or [0]
    nothing = [None] * len(seeds)
    values = {metric: row.get(f"{metric}_by_seed", nothing) for metric in metrics}
    return Line(
        key=tuple((name, row[name]) for name in row if name in names),
        by_seed={
            seed: {metric: values[metric][place] for metric in values}
            for place, seed in enumerate(seeds)
        },
        origins=origins,
    )


def merge(
    kept: Sequence[Line],
    new: Sequence[Line],
    asked: Collection[tuple[str, str]],
    order: Sequence[tuple[str, str]],
    known: Mapping[tuple[frozenset[tuple[str, Any]], int], str],
) -> list[Line]:
    """Lines of this call, and those of others that it has not measured anew.

    Of a set and modality that was not asked for all lines stay. Of one that was, lines
    are those of this call; seeds that it did not measure stay with them, where their
    jobs are still the same: a mean is of one configuration.

    Args:
        kept: of SECTION.json.
        new: of this call.
        asked: sets and modalities that this call was to measure.
        order: of all of them.
        known: key and seed -> the job that would measure it now.
    """
    before = {frozenset(line.key): line for line in kept}
    lines = [line for line in kept if _pair(line) not in asked]
    lines += [_joined(before.get(frozenset(line.key)), line, known) for line in new]
    places = {pair: place for place, pair in enumerate(order)}
    return sorted(lines, key=lambda line: places.get(_pair(line), len(places)))


def _pair(line: Line) -> tuple[str, str]:
    key = dict(line.key)
    return key["set"], key["modality"]


def _joined(
    before: Line | None,
    line: Line,
    known: Mapping[tuple[frozenset[tuple[str, Any]], int], str],
) -> Line:
    if before is None or not line.origins:
        return line
    same = {
        seed: origin
        for seed, origin in before.origins.items()
        if origin.job is not None
        and origin.job == known.get((frozenset(line.key), seed))
    }
    return dataclasses.replace(
        line,
        by_seed={**{seed: before.by_seed[seed] for seed in same}, **line.by_seed},
        origins={**same, **line.origins},
    )


def gone(kept: Sequence[Row], rows: Sequence[Row], names: Collection[str]) -> int:
    """How many results of splits stood in the table and do no longer."""

    def splits(some: Sequence[Row]) -> set[tuple[Any, int]]:
        lines = [to_line(row, names, ()) for row in some]
        return {(frozenset(x.key), seed) for x in lines for seed in x.origins}

    return len(splits(kept) - splits(rows))


def read(path: Path) -> list[Row]:
    """The rows of SECTION.json; none where it is not there.

    Raises:
        InputError: it is no such file.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        return [_with_origin(row, content["command"]) for row in content["rows"]]
    except FileNotFoundError:
        return []
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            path,
            f"is not as this command writes it ({error!r})",
            "remove it: what was measured is kept in OUT and comes back by the same "
            "command",
        ) from error


def _with_origin(row: Row, command: str) -> Row:
    """A row that told no jobs, as at first: of the first seeds, and of all cells."""
    if "measured" in row:
        return row
    row = dict(row)
    revisions = row.pop("revisions")
    origin = {"cells": None, "revision": ", ".join(revisions), "command": command}
    seeds = list(range(row["seeds"]))
    group = {"seeds": seeds, "jobs": [None] * len(seeds), **origin}
    return row | {"measured": [group] if revisions else []}

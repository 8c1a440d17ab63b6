"""A section of the evaluation: what is measured in each case, and the table of it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from experiments.evaluation import jobs, results, sets
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job
from experiments.evaluation.results import Row
from scmultimodal.schemas.modality import Regime

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
        distal: for sets alone whose links of peaks and genes are known.
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
    distal: bool = False


def measure(
    section: Section, cases: Sequence[Case], folder: Path, *, command: str = ""
) -> list[Row]:
    """Does what is not done yet; a row for each set, modality and model.

    Rows whose cells cannot be judged so are left out.

    Args:
        section: what is measured.
        cases: on which cells.
        folder: of results.
        command: that asks for it; kept with every row.
    """
    asked: dict[results.Key, dict[int, tuple[Case, Entry]]] = {}
    for case in cases:
        if not serves(section, case):
            continue
        for entry in section.entries(case, folder):
            asked.setdefault(_key(case, entry), {})[case.seed] = (case, entry)
    entries = [entry for group in asked.values() for _, entry in group.values()]
    wanted = {entry.job.key: entry.job for entry in entries}
    records = dict(zip(wanted, jobs.run(list(wanted.values()), folder), strict=True))
    lines = [
        _line(key, group, records, command)
        for key, group in asked.items()
        if all(records[e.job.key]["result"] is not None for _, e in group.values())
    ]
    return results.to_rows(lines, metrics(section), section.references)


def merge(
    section: Section,
    kept: Sequence[Row],
    new: Sequence[Row],
    cases: Sequence[Case],
    folder: Path,
) -> list[Row]:
    """The rows of SECTION.json after a call; see `results.merge`.

    Args:
        section: whose table it is.
        kept: rows that stand there.
        new: of this call.
        cases: that the call was to measure, and that the section serves.
        folder: of results.
    """
    old, own = (
        [results.to_line(row, names(section), metrics(section)) for row in rows]
        for rows in (kept, new)
    )
    seeds = {seed for line in old for seed in line.origins}
    known = {
        (frozenset(_key(case, entry)), case.seed): entry.job.key
        for case in {dataclasses.replace(c, seed=s) for c in cases for s in seeds}
        for entry in section.entries(case, folder)
    }
    lines = results.merge(
        old,
        own,
        asked={(case.name, str(case.regime)) for case in cases},
        order=[(name, str(r)) for name in get_args(sets.SetName) for r in Regime],
        known=known,
    )
    return results.to_rows(lines, metrics(section), section.references)


def _key(case: Case, entry: Entry) -> results.Key:
    """What makes the row of an entry."""
    row = {"set": case.name, "modality": str(case.regime), **entry.row}
    return tuple(row.items())


def serves(section: Section, case: Case) -> bool:
    """Whether a section has anything to judge in a case."""
    if section.across_batches and not sets.has_batches(case.name):
        return False
    if section.distal and not sets.has_distal_links(case.name):
        return False
    return case.regime in section.regimes


def metrics(section: Section) -> tuple[str, ...]:
    """What is kept of every row."""
    return (*section.metrics, *section.extra)


def names(section: Section) -> tuple[str, ...]:
    """What makes a row."""
    pivot = () if section.pivot is None else (section.pivot,)
    return tuple(dict.fromkeys(("set", "modality", *section.keys, *pivot)))


def _line(
    key: results.Key,
    group: Mapping[int, tuple[Case, Entry]],
    records: Mapping[str, Mapping[str, Any]],
    command: str,
) -> results.Line:
    found, origins = {}, {}
    for seed, (case, entry) in group.items():
        record = records[entry.job.key]
        values = _at(record["result"], entry.within)
        if entry.published:
            return results.Line(key=key, by_seed={0: values}, origins={})
        found[seed] = values
        origins[seed] = results.Origin(
            job=entry.job.key,
            cells=case.cells,
            revision=str(record.get("revision")),
            command=command,
        )
    return results.Line(key=key, by_seed=found, origins=origins)


def _at(result: Mapping[str, Any], within: Sequence[str]) -> Mapping[str, Any]:
    for key in within:
        result = result[key]
    return result

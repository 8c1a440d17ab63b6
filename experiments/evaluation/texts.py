"""Tables for people: three digits, no name twice, gains with their intervals."""

from collections.abc import Callable, Sequence
from typing import Any

from experiments.evaluation.results import Row
from experiments.evaluation.tables import Section

Texts = tuple[list[str], list[tuple[str, ...]]]
"""Heads, and rows of cells."""


def markdown(section: Section, rows: Sequence[Row]) -> str:
    """The table for people: means over splits, with gains where there is a reference.

    A row that begins as the one above it leaves that out. Where rows are of different
    numbers of splits, or of cells, a column says so.
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
    sizes = _sizes(section, rows)
    columns: dict[tuple[str, str], list[str]] = {}
    for metric, title in section.metrics.items():
        columns[metric, title] = [_value(row[metric]) for row in rows]
        for name in section.references:
            gains = [_gain(row, metric, name) for row in rows]
            if any(gains):
                columns[metric, f"over {_words(name)}"] = gains
    heads = [*section.keys, *sizes, *(head for _, head in columns)]
    cells = zip(*columns.values(), strict=True)
    body = [
        (_names(section, row), [*(told([row]) for told in sizes.values()), *one])
        for row, one in zip(rows, cells, strict=True)
    ]
    return heads, _without_repeats(body)


def _wide(section: Section, rows: Sequence[Row]) -> Texts:
    assert section.pivot is not None
    sizes = _sizes(section, rows)
    columns = list(dict.fromkeys(row[section.pivot] for row in rows))
    heads = [*section.keys, *sizes, *map(section.head, columns)]
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(_names(section, row), []).append(row)
    body = []
    for name, own in groups.items():
        texts = {
            row[section.pivot]: " / ".join(_value(row[m]) for m in section.metrics)
            for row in own
        }
        told = [told(own) for told in sizes.values()]
        body.append((name, [*told, *(texts.get(c, "") for c in columns)]))
    return heads, _without_repeats(body)


def _sizes(
    section: Section, rows: Sequence[Row]
) -> dict[str, Callable[[Sequence[Row]], str]]:
    """Columns that say of how many splits and cells rows are, where they differ."""

    def seeds(some: Sequence[Row]) -> str:
        found = sorted({row["seeds"] for row in some if row["measured"]})
        return "–".join(dict.fromkeys(map(str, [*found[:1], *found[-1:]])))

    def number(some: Sequence[Row]) -> str:
        found = {origin["cells"] for row in some for origin in row["measured"]}
        known = sorted(cells for cells in found if cells is not None)
        return ", ".join([*map("{:,}".format, known), *["all"] * (None in found)])

    told = {"splits": seeds, "cells": number}
    return {
        head: text
        for head, text in told.items()
        if len({text([row]) for row in rows if row["measured"]}) > 1
    }


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

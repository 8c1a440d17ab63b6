"""One self-contained page per run: what was run, what came out, with pictures."""

import base64
import dataclasses
import html
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scmultimodal.data import atomic
from scmultimodal.evaluation.summary import METRICS, Result, best_values
from scmultimodal.schemas.errors import InputError

REFERENCE_MODELS = (
    "logistic_regression",
    "svd_logistic_regression",
    "nearest_neighbours",
    "naive_bayes",
)
"""Models whose rows are marked as what the others must beat."""
FACTS = "report.json"
"""Beside every page that is given facts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a report.

    Attributes:
        frame: its cells; the index is the first column where it has a name. Floats
            are shown with three decimals, whole numbers with thousands apart.
        caption: a sentence above it.
        bold: (row, column) positions to print bold.
        marked: positions of the rows to shade.
        signed: names of the columns whose numbers are differences.
    """

    frame: pd.DataFrame
    caption: str = ""
    bold: frozenset[tuple[int, int]] = frozenset()
    marked: frozenset[int] = frozenset()
    signed: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG file and the sentence below it.

    Attributes:
        path: of the file.
        caption: the sentence.
        name: of the copy beside the page; the file's own if not given.
    """

    path: str | os.PathLike[str]
    caption: str = ""
    name: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, paragraphs (apart by blank lines), tables and pictures."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Picture] = ()


def write_report(
    folder: str | os.PathLike[str],
    *,
    title: str,
    summary: Mapping[str, Any],
    sections: Iterable[Section],
    banner: str = "",
    facts: Mapping[str, Any] | None = None,
    page: str = "index.html",
) -> Path:
    """Writes a page with all pictures inside, and the pictures beside it.

    Args:
        folder: where to write; made if needed.
        title: heading of the page.
        summary: what was run: command, revision, versions, seed, data and the like.
            A mapping or a sequence as a value is listed.
        sections: the body, in order.
        banner: a loud line on top, for example that the data are simulated.
        facts: what the page says, as JSON: `report.json` beside it.
        page: file name of the page.

    Returns:
        The path of the page.

    Raises:
        InputError: a picture is missing or is no PNG.
    """
    folder = Path(folder)
    body = [f"<h1>{_escape(title)}</h1>"]
    if banner:
        body.append(f'<p class="banner" role="alert">{_escape(banner)}</p>')
    body.append(summary_html(summary))
    pictures: dict[str, bytes] = {}
    for section in sections:
        body.append(section_html(section, pictures))
    for name, content in pictures.items():
        atomic.write_bytes(folder / name, content)
    style = resources.files(__package__).joinpath("report.css").read_text("utf-8")
    text = PAGE.format(title=_escape(title), style=style, body="\n".join(body))
    if facts is not None:
        content = json.dumps(facts, indent=1, allow_nan=False, default=str) + "\n"
        atomic.write_text(folder / FACTS, content)
    atomic.write_text(folder / page, text)
    return folder / page


def results_table(results: Sequence[Result], caption: str = "") -> Table:
    """Test scores by modality; the best of each column bold, baselines shaded."""
    results = sorted(results, key=_order_of_modalities(results))
    best = best_values(results)
    bold = {
        (row, 2 + column)
        for row, result in enumerate(results)
        for column, metric in enumerate(METRICS)
        if round(getattr(result.scores, metric), 3)
        == best[str(result.modality), metric]
    }
    names = {"mcc": "MCC", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}
    frame = pd.DataFrame([result.as_row() for result in results]).rename(columns=names)
    marked = {i for i, r in enumerate(results) if r.model in REFERENCE_MODELS}
    return Table(
        frame=frame, caption=caption, bold=frozenset(bold), marked=frozenset(marked)
    )


def _order_of_modalities(results: Sequence[Result]):
    order = list(dict.fromkeys(str(result.modality) for result in results))
    return lambda result: order.index(str(result.modality))


def section_html(section: Section, pictures: dict[str, bytes]) -> str:
    """A section as it stands in a page; its pictures are added to `pictures`."""
    parts = [f"<section>\n<h2>{_escape(section.title)}</h2>"]
    paragraphs = (part.strip() for part in section.text.split("\n\n"))
    parts += [f"<p>{_escape(part)}</p>" for part in paragraphs if part]
    parts += [table_html(table) for table in section.tables]
    parts += [_picture(picture, pictures) for picture in section.figures]
    return "\n".join([*parts, "</section>"])


def summary_html(summary: Mapping[str, Any]) -> str:
    """Names and values as they stand in a page, every text escaped."""
    rows = (
        f"<dt>{_escape(name)}</dt><dd>{_listing(value)}</dd>"
        for name, value in summary.items()
    )
    return f'<dl class="summary">{"".join(rows)}</dl>'


def _listing(value: Any) -> str:
    if isinstance(value, Mapping):
        if not value:
            return "none"
        return ", ".join(f"{_escape(k)} {_escape(_show(v))}" for k, v in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(_escape(_show(item)) for item in value) or "none"
    return _escape(_show(value))


def table_html(table: Table) -> str:
    """A table as it stands in a page, every text escaped."""
    frame = table.frame
    shift = int(frame.index.name is not None)
    if shift:
        frame = frame.reset_index(allow_duplicates=True)
    numeric = [pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]
    sides = ["number" if is_number else "word" for is_number in numeric]
    head = "".join(
        f'<th class="{side}" scope="col">{_escape(name)}</th>'
        for name, side in zip(frame.columns, sides, strict=True)
    )
    rows = []
    for row, values in enumerate(frame.itertuples(index=False, name=None)):
        cells = []
        for column, (value, side) in enumerate(zip(values, sides, strict=True)):
            text = _escape(_show(value, signed=frame.columns[column] in table.signed))
            if (row, column - shift) in table.bold:
                text = f"<b>{text}</b>"
            cells.append(f'<td class="{side}">{text}</td>')
        mark = ' class="marked"' if row in table.marked else ""
        rows.append(f"<tr{mark}>{''.join(cells)}</tr>")
    caption = f"<caption>{_escape(table.caption)}</caption>" if table.caption else ""
    return (
        f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>{chr(10).join(rows)}</tbody></table></div>"
    )


def _picture(picture: Picture, pictures: dict[str, bytes]) -> str:
    path = Path(picture.path)
    if not path.is_file():
        raise InputError(path, "no such picture", "Draw it before the report")
    content = path.read_bytes()
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise InputError(path, "not a PNG file", "Draw it with evaluation.figures")
    if pictures.setdefault(picture.name or path.name, content) != content:
        raise InputError(path, "two pictures share this name", "Rename one of them")
    caption = _escape(picture.caption)
    source = base64.b64encode(content).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{source}" alt="{caption}">\n'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _show(value: Any, *, signed: bool = False) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        return "–" if np.isnan(value) else f"{value:{'+' if signed else ''}.3f}"
    return "–" if value is None else str(value)


def _escape(value: Any) -> str:
    return html.escape(str(value), quote=True)


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

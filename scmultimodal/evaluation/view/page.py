"""A run's page: one file that holds all it shows and asks for nothing."""

import base64
import dataclasses
import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from scmultimodal.data import atomic
from scmultimodal.evaluation import palettes
from scmultimodal.evaluation.view.content import CellMap, Locus
from scmultimodal.evaluation.view.packing import Arrays, facts_as_html

SCRIPTS = (
    *("arrays", "dom", "colours", "points", "grid", "camera", "paint", "tip"),
    *("cells", "names", "side", "search", "confusion", "curves", "tracks", "locus"),
    *("tables", "main"),
)
"""The modules, in their order: they share one scope."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """A part of the page.

    Attributes:
        name: by which the scripts know it.
        title: on its tab.
        body: HTML in it.
        note: a sentence above what the scripts draw.
        drawn: whether the scripts draw in it.
    """

    name: str
    title: str
    body: str = ""
    note: str = ""
    drawn: bool = False

    def as_html(self, *, hidden: bool) -> str:
        """The tab panel."""
        note = f'<p class="note">{html.escape(self.note)}</p>' if self.note else ""
        mount = '<div class="mount"></div>' if self.drawn else ""
        style = "" if self.name == "cells" else ' class="page"'
        return (
            f'<section id="{self.name}" role="tabpanel"{style} '
            f'aria-label="{html.escape(self.title)}"{" hidden" if hidden else ""}>\n'
            f"{note}{mount}{self.body}</section>"
        )


def write_page(
    path: Path,
    *,
    title: str,
    subtitle: str,
    cells: CellMap | None = None,
    cells_note: str = "",
    loci: Sequence[Locus] = (),
    loci_note: str = "",
    confusions: Sequence[Mapping[str, Any]] = (),
    curves: Sequence[Mapping[str, Any]] = (),
    panels: Sequence[Panel] = (),
    banner: str = "",
) -> Path:
    """Writes the page, whole or not at all.

    Args:
        path: of the file.
        title: heads the page.
        subtitle: beside it.
        cells: map of cells.
        cells_note: said above it, or in its place.
        loci: stretches of a genome.
        loci_note: said above them, or in their place.
        confusions: {"name", "classes", "models": [{"name", "is_baseline", "counts"}]}
            for each part of the data.
        curves: {"name", "metrics", "trainings"} for each group of trainings that tell
            the same.
        panels: further parts.
        banner: a loud line on top.

    Returns:
        The path.
    """
    arrays = Arrays()
    facts = {
        "palettes": {
            "light": palettes.COLOURS,
            "dark": palettes.COLOURS_ON_DARK,
        },
        "cells": None if cells is None else cells.as_json(arrays),
        "loci": [locus.as_json(arrays) for locus in loci],
        "confusions": list(confusions),
        "curves": list(curves),
    }
    drawn = (
        ("cells", "Cells", cells is not None, cells_note),
        ("genome", "Genome", bool(loci), loci_note),
        ("confusion", "Confusion", bool(confusions), ""),
        ("curves", "Curves", bool(curves), ""),
    )
    shown = [
        Panel(name=name, title=word, note=note, drawn=there)
        for name, word, there, note in drawn
        if there or note
    ]
    text = _fill(
        title=title,
        subtitle=subtitle,
        banner=banner,
        panels=[*shown, *panels],
        facts=facts_as_html(facts),
        arrays=arrays.as_html(),
    )
    atomic.write_bytes(path, text.encode("utf-8", "replace"))
    return path


def _fill(
    *,
    title: str,
    subtitle: str,
    banner: str,
    panels: Sequence[Panel],
    facts: str,
    arrays: str,
) -> str:
    style = _read("view.css")
    inner = "\n".join(_read(f"{name}.js") for name in SCRIPTS)
    script = f'(() => {{\n"use strict";\n{inner}}})();\n'
    alarm = f'<p class="banner" role="alert">{html.escape(banner)}</p>'
    values = {
        "title": html.escape(title),
        "subtitle": html.escape(subtitle),
        "banner": alarm if banner else "",
        "tabs": "\n".join(map(_tab, panels)),
        "panels": "\n".join(
            panel.as_html(hidden=number > 0) for number, panel in enumerate(panels)
        ),
        "facts": facts,
        "arrays": arrays,
        "style": style,
        "script": script,
        "style_hash": _hash(style),
        "script_hash": _hash(script),
    }
    # In one pass: what is filled in may hold braces of its own.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _read("page.html"))


def _tab(panel: Panel) -> str:
    return (
        f'<button type="button" role="tab" data-panel="{panel.name}" '
        f'aria-controls="{panel.name}">{html.escape(panel.title)}</button>'
    )


def _hash(text: str) -> str:
    """As a content security policy names what may run."""
    found = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"sha256-{found}"


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")

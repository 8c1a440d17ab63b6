"""Pictures of the tables: every split a dot, the mean a line."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.evaluation.tables import Row, Section
from scmultimodal.evaluation import comparison
from scmultimodal.evaluation.figures import style

OURS, REFERENCE = style.COLOURS[0], style.COLOURS[1]
"""Colours of rows, and of those that gains are taken over."""
LOWER = ("foscttm",)
"""Metrics whose least is best, beside losses."""
_PANEL, _NAMES = 2.8, 2.6
"""Widths in inches: of a panel, and of the names beside the first one."""


def draw(section: Section, rows: Sequence[Row], path: Path) -> Path:
    """A line of panels for each group of rows; curves where there is a pivot."""
    return style.save(picture(section, rows), path)


def picture(section: Section, rows: Sequence[Row]) -> style.Figure:
    """What `draw` writes: for each group of rows a panel for each metric."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_group(section, row), []).append(row)
    heights = [
        2.8 if section.pivot else 0.8 + 0.24 * len(mine) for mine in groups.values()
    ]
    width = _PANEL * len(section.metrics) + _NAMES
    figure = style.canvas(width, sum(heights) + 0.3)
    panels = figure.subplots(
        len(groups),
        len(section.metrics),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    colours = _colours(section, rows)
    for line, (group, mine) in zip(panels, groups.items(), strict=True):
        (_curves if section.pivot else _dots)(section, mine, line, colours)
        # One title for the line: it may be wider than its first panel.
        line[0].set_title(group, fontsize=style.LARGE, color=style.INK, loc="left")
    figure.legend(
        handles=_legend(section, colours),
        loc="outside lower center",
        ncols=4,
        fontsize=style.SMALL,
        frameon=False,
    )
    return figure


def _group(section: Section, row: Row) -> str:
    """What is above a line of panels, such as `mouse cortex, told: rna`."""
    plain = ("set", "modality")
    keys = [key for key in section.keys if key != "model"]
    told = [("" if key in plain else f"{key}: ") + _words(row[key]) for key in keys]
    return ", ".join(told)


def _colours(section: Section, rows: Sequence[Row]) -> dict[str, str]:
    """Of each model: its own where there are curves, else whether gains are over it."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    if section.pivot:
        return dict(zip(models, style.palette(len(models)), strict=True))
    return {m: REFERENCE if m in section.references else OURS for m in models}


def _dots(
    section: Section,
    rows: Sequence[Row],
    panels: Sequence[style.Axes],
    colours: Mapping[str, str],
) -> None:
    """Models one below the other, in the order of the table."""
    for axes, metric in zip(panels, section.metrics, strict=True):
        for place, row in enumerate(rows):
            if row[metric] is None:
                continue
            colour, by_seed = colours[row["model"]], row[f"{metric}_by_seed"]
            axes.plot(
                by_seed, [place] * len(by_seed), "o", color=colour, alpha=0.4, ms=4
            )
            axes.plot(row[metric], place, "|", color=colour, ms=14, mew=2)
        style.tidy(axes, xlabel=_title(section, metric))
        names = [_words(row["model"]) if axes is panels[0] else "" for row in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=4)
        axes.grid(axis="x", color="#E6E6E6", linewidth=0.6)


def _curves(
    section: Section,
    rows: Sequence[Row],
    panels: Sequence[style.Axes],
    colours: Mapping[str, str],
) -> None:
    """A line for each model over the values of the pivot."""
    assert section.pivot is not None
    places = list(dict.fromkeys(row[section.pivot] for row in rows))
    models = list(dict.fromkeys(row["model"] for row in rows))
    for axes, metric in zip(panels, section.metrics, strict=True):
        for model in models:
            mine = {row[section.pivot]: row for row in rows if row["model"] == model}
            x = [number for number, place in enumerate(places) if place in mine]
            means = [mine[places[number]][metric] for number in x]
            y = [float("nan") if mean is None else mean for mean in means]
            axes.plot(x, y, color=colours[model], marker="o", ms=3)
        style.tidy(axes, ylabel=_title(section, metric))
        axes.set_xticks(range(len(places)), [section.head(place) for place in places])


def _legend(section: Section, colours: Mapping[str, str]) -> list[style.Line2D]:
    """What marks and colours stand for."""
    if section.pivot:
        return [
            style.mark(_words(model), colour, "o", joined=True, ms=3)
            for model, colour in colours.items()
        ]
    handles = [
        style.mark("a split", OURS, "o", joined=False, alpha=0.4, ms=4),
        style.mark("mean of splits", OURS, "|", joined=False, ms=12, mew=2),
    ]
    if REFERENCE in colours.values():
        over = "what gains are taken over"
        handles.append(style.mark(over, REFERENCE, "s", joined=False, ms=6))
    return handles


def _title(section: Section, metric: str) -> str:
    lower = metric in LOWER or comparison.lower_is_better(metric)
    return section.metrics[metric] + " (lower is better)" * lower


def _words(value: object) -> str:
    return str(value).replace("_", " ")

"""Runs side by side: their scores beside baselines, their curves, class by class."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scmultimodal.evaluation.comparison import (
    DIGITS,
    Part,
    Score,
    class_scores,
    lower_is_better,
    title_of,
)
from scmultimodal.evaluation.figures import style
from scmultimodal.evaluation.figures.curves import Record, series

_BASELINE = "#BBBBBB"
_COLUMNS = 3
"""Of panels with curves."""


def score_bars(
    parts: Sequence[Part],
    path: str | os.PathLike[str],
    *,
    metrics: Sequence[str],
    note: str = "",
) -> Path:
    """Draws a row of panels for each part, a panel for each metric.

    A colour for each run; baselines are grey, those of the first run that has them and
    of runs that were judged on other examples.

    Args:
        parts: of the data.
        path: PNG file to write.
        metrics: what to draw.
        note: line above the picture.
    """
    colours = _colours(run for part in parts for run in part.runs)
    shown = [_bars(part) for part in parts]
    heights = [0.24 * len(scores) + 0.7 for scores in shown]
    figure = style.canvas(3.6 * len(metrics) + 2.2, sum(heights) + 0.3)
    panels = figure.subplots(
        len(parts),
        len(metrics),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    for part, scores, row in zip(parts, shown, panels, strict=True):
        for metric, axes in zip(metrics, row, strict=True):
            _draw_bars(axes, scores, metric, colours, several=len(colours) > 1)
            style.tidy(axes, title=f"{part.name}: {title_of(metric)}")
        for axes in row[1:]:
            axes.set_yticklabels([])
    return style.save(figure, path, note)


def overlaid_curves(
    trainings: Mapping[str, Mapping[str, Iterable[Record]]],
    path: str | os.PathLike[str],
    *,
    metrics: Sequence[str],
    note: str = "",
) -> Path:
    """Draws validation metrics by step, a colour for each run, its best marked.

    Args:
        trainings: name of a training -> run -> records of its `metrics.jsonl`.
        path: PNG file to write.
        metrics: what to draw; a panel for each that some run has measured.
        note: line above the picture.
    """
    panels = [
        (name, metric, lines)
        for name, runs in trainings.items()
        for metric in metrics
        if (lines := _lines(runs, metric))
    ]
    columns = min(_COLUMNS, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    colours = _colours(run for runs in trainings.values() for run in runs)
    figure = style.canvas(3.5 * columns + 0.4, 2.3 * rows + 0.6)
    for place, (name, metric, lines) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        _draw_curves(axes, lines, metric, colours)
        below = place + columns > len(panels)
        style.tidy(
            axes, title=name, xlabel="step" if below else "", ylabel=title_of(metric)
        )
    handles = [Line2D([], [], color=c, label=run) for run, c in colours.items()]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=3,
        fontsize=style.SMALL,
        frameon=False,
    )
    return style.save(figure, path, note)


def class_dots(
    part: Part, metric: str, path: str | os.PathLike[str], *, note: str = ""
) -> Path:
    """Draws a metric class by class, a dot for each of `comparison.class_scores`."""
    shown = class_scores(part, metric)
    names = list(next(iter(shown.values())).by_class)
    figure = style.canvas(8.4, 0.24 * len(names) + 1.2)
    axes = figure.add_subplot()
    colours = style.palette(len(shown))
    for (name, score), colour in zip(shown.items(), colours, strict=True):
        values = [score.by_class[label].get(metric, math.nan) for label in names]
        colour = style.FAINT if score.is_baseline else colour
        face = "none" if score.is_baseline else colour
        places = range(len(names))
        axes.scatter(values, places, s=28, facecolor=face, edgecolor=colour, label=name)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    style.tidy(axes, title=f"{part.name}, by class", xlabel=title_of(metric))
    axes.legend(
        loc="upper left", bbox_to_anchor=(1, 1), fontsize=style.SMALL, frameon=False
    )
    return style.save(figure, path, note)


def _colours(runs: Iterable[str]) -> dict[str, str]:
    names = list(dict.fromkeys(runs))
    return dict(zip(names, style.palette(len(names)), strict=True))


def _bars(part: Part) -> list[Score]:
    """Ours, model by model, then the baselines that are not told twice."""
    ours = [score for score in part.scores if not score.is_baseline]
    models = list(dict.fromkeys(score.model for score in ours))
    ours.sort(key=lambda score: models.index(score.model))
    baselines: list[Score] = []
    for score in part.scores:
        told = (
            b for b in baselines if (b.model, b.values) == (score.model, score.values)
        )
        if score.is_baseline and next(told, None) is None:
            baselines.append(score)
    return [*ours, *baselines]


def _draw_bars(
    axes: Axes,
    scores: Sequence[Score],
    metric: str,
    colours: Mapping[str, str],
    *,
    several: bool,
) -> None:
    values = [score.values.get(metric, math.nan) for score in scores]
    fills = [_BASELINE if s.is_baseline else colours[s.run] for s in scores]
    bars = axes.barh(range(len(scores)), values, 0.8, color=fills)
    labels = ["" if math.isnan(v) else f"{v:.{DIGITS}f}" for v in values]
    axes.bar_label(bars, labels, padding=2, fontsize=7)
    models = [score.model for score in scores]
    names = [
        score.model.replace("_", " ")
        + f" ({score.run})"
        * (several and (not score.is_baseline or models.count(score.model) > 1))
        for score in scores
    ]
    axes.set_yticks(range(len(scores)), names)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.axvline(0, color=style.INK, linewidth=0.8)


def _lines(
    runs: Mapping[str, Iterable[Record]], metric: str
) -> dict[str, tuple[list[int], list[float]]]:
    """Steps and values of the runs that have measured a metric."""
    found = {name: series(run, "validation", metric) for name, run in runs.items()}
    return {name: line for name, line in found.items() if line[0]}


def _draw_curves(
    axes: Axes,
    lines: Mapping[str, tuple[list[int], list[float]]],
    metric: str,
    colours: Mapping[str, str],
) -> None:
    pick = min if lower_is_better(metric) else max
    for run, (steps, values) in lines.items():
        best = pick(range(len(values)), key=values.__getitem__)
        axes.plot(steps, values, color=colours[run], linewidth=1.4)
        axes.plot(steps[best], values[best], "o", color=colours[run], markersize=5)
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)

"""How a training run went."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from scmultimodal.evaluation import comparison
from scmultimodal.evaluation.figures import style

Record = Mapping[str, Any]
"""A line of `metrics.jsonl`: "step", "split" and named values."""


def learning_curves(
    runs: Mapping[str, Iterable[Record]],
    path: str | os.PathLike[str],
    *,
    metrics: Sequence[str] = ("loss", "accuracy"),
    note: str = "",
) -> Path:
    """Draws metrics against the step, one column per run.

    Training is a thin line, validation a thick one whose best value is marked (see
    `comparison.lower_is_better`).

    Args:
        runs: name of a run → the records of its `metrics.jsonl`.
        path: PNG file to write.
        metrics: what to draw, one row each; rows that no run has are left out.
        note: line above the picture.
    """
    records = {name: list(lines) for name, lines in runs.items()}
    rows = [m for m in metrics if any(m in r for run in records.values() for r in run)]
    columns = max(1, len(records))
    figure = style.canvas(max(4.6, 3.6 * columns + 0.6), 2.5 * max(1, len(rows)) + 0.4)
    for column, (name, run) in enumerate(records.items()):
        for row, metric in enumerate(rows):
            axes = figure.add_subplot(len(rows), columns, row * columns + column + 1)
            _draw(axes, run, metric)
            style.tidy(
                axes,
                title=name if row == 0 else "",
                xlabel="step" if row == len(rows) - 1 else "",
                ylabel=metric if column == 0 else "",
            )
    return style.save(figure, path, note)


def _draw(axes: Axes, run: Sequence[Record], metric: str) -> None:
    train = series(run, "train", metric)
    validation = series(run, "validation", metric)
    if train[0]:
        axes.plot(*train, color=style.COLOURS[0], linewidth=0.9, label="train")
    if validation[0]:
        colour = style.COLOURS[5]
        axes.plot(*validation, color=colour, linewidth=1.8, label="validation")
        pick = min if comparison.lower_is_better(metric) else max
        best = pick(range(len(validation[1])), key=validation[1].__getitem__)
        step, value = validation[0][best], validation[1][best]
        axes.plot(step, value, "o", color=colour, markersize=6, zorder=3)
        axes.axhline(value, color=colour, linewidth=0.7, linestyle=":")
        axes.plot([], [], " ", label=f"best {value:.3f} at step {step:,}")
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    if train[0] or validation[0]:
        axes.legend(fontsize=style.SMALL - 0.5, frameon=False)
    else:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")


def series(
    run: Iterable[Record], split: str, metric: str
) -> tuple[list[int], list[float]]:
    """Steps and finite values of one metric on one split."""
    points = [
        (int(record["step"]), float(record[metric]))
        for record in run
        if record.get("split") == split and record.get(metric) is not None
    ]
    points = [point for point in points if math.isfinite(point[1])]
    return [step for step, _ in points], [value for _, value in points]

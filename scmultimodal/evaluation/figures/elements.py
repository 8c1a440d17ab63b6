"""Segmentation: encoders side by side, element by element."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from scmultimodal.evaluation.element_summary import MEAN, METRICS, EncoderSummary
from scmultimodal.evaluation.figures import style
from scmultimodal.genome.elements import ELEMENTS


def encoder_bars(
    summaries: Sequence[EncoderSummary],
    path: str | os.PathLike[str],
    *,
    title: str,
    note: str = "",
) -> Path:
    """Draws a row for each metric: by element a bar for each encoder, with interval.

    Elements that cannot be judged are left out.

    Args:
        summaries: of the encoders.
        path: PNG file to write.
        title: above the picture.
        note: line above the title.
    """
    known = [summary.metrics[METRICS[0]] for summary in summaries]
    names = [
        name
        for name in (*ELEMENTS, MEAN)
        if not any(math.isnan(values[name].value) for values in known)
    ]
    figure = style.canvas(max(7.0, 0.95 * len(names) + 1.5), 3.2 * len(METRICS) + 0.8)
    panels = figure.subplots(len(METRICS), 1, sharex=True)
    for axes, metric in zip(panels, METRICS, strict=True):
        _draw(axes, summaries, metric, names)
        first = metric == METRICS[0]
        style.tidy(axes, title=title if first else "", ylabel=metric.upper())
    labels = [name.replace("_Tissue_", "\n").replace("_", " ") for name in names]
    panels[-1].set_xticks(range(len(names)), labels, rotation=30, ha="right")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=2,
        fontsize=style.SMALL,
        frameon=False,
    )
    return style.save(figure, path, note)


def _draw(
    axes: Axes, summaries: Sequence[EncoderSummary], metric: str, names: Sequence[str]
) -> None:
    width = 0.8 / len(summaries)
    for index, summary in enumerate(summaries):
        found = [summary.metrics[metric][name] for name in names]
        centres = np.arange(len(names)) - 0.4 + (index + 0.5) * width
        steps = ", ".join(f"{step:,}" for step in summary.converged)
        name = summary.name.replace("_", " ")
        axes.bar(
            centres,
            [f.value for f in found],
            0.92 * width,
            color=style.COLOURS[index],
            label=f"{name} (converged at {steps})" if steps else name,
        )
        low, high = [f.low for f in found], [f.high for f in found]
        axes.vlines(centres, low, high, color=style.INK, linewidth=0.9)
    axes.axhline(0, color=style.INK, linewidth=0.8)

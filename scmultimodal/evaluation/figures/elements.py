"""Segmentation: encoders side by side, element by element."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scmultimodal.evaluation.element_summary import MEAN, EncoderSummary
from scmultimodal.evaluation.figures import style
from scmultimodal.genome.elements import ELEMENTS


def encoder_bars(
    summaries: Sequence[EncoderSummary],
    path: str | os.PathLike[str],
    *,
    title: str,
    note: str = "",
) -> Path:
    """Draws MCC by element, a bar for each encoder, with its interval.

    Elements that cannot be judged are left out.

    Args:
        summaries: of the encoders.
        path: PNG file to write.
        title: above the picture.
        note: line above the title.
    """
    names = [
        name
        for name in (*ELEMENTS, MEAN)
        if not any(math.isnan(s.elements[name].mcc) for s in summaries)
    ]
    figure = style.canvas(max(7.0, 0.95 * len(names) + 1.5), 4.2)
    axes = figure.subplots()
    width = 0.8 / len(summaries)
    for index, summary in enumerate(summaries):
        found = [summary.elements[name] for name in names]
        centres = np.arange(len(names)) - 0.4 + (index + 0.5) * width
        colour = style.COLOURS[index]
        heights = [f.mcc for f in found]
        steps = ", ".join(f"{step:,}" for step in summary.converged)
        label = f"{summary.name.replace('_', ' ')} (converged at {steps})"
        axes.bar(centres, heights, 0.92 * width, color=colour, label=label)
        axes.vlines(
            centres,
            [f.low for f in found],
            [f.high for f in found],
            color=style.INK,
            linewidth=0.9,
        )
    labels = [name.replace("_Tissue_", "\n").replace("_", " ") for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=30, ha="right")
    axes.axhline(0, color=style.INK, linewidth=0.8)
    style.tidy(axes, title=title, ylabel="MCC")
    figure.legend(
        loc="outside lower center", ncols=2, fontsize=style.SMALL, frameon=False
    )
    return style.save(figure, path, note)

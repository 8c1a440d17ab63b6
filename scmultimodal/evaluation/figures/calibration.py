"""Whether a classifier knows what it does not know."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer

from scmultimodal.evaluation import calibration
from scmultimodal.evaluation.figures import style


def calibration_curves(
    probabilities: Mapping[str, Float[np.ndarray, "cells classes"]],
    labels: Integer[np.ndarray, " cells"],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    note: str = "",
) -> Path:
    """Draws accuracy against confidence, and against the share of cells that is called.

    Args:
        probabilities: of each class, by model.
        labels: the true class of each cell.
        path: PNG file to write.
        title: above the picture.
        note: line above that.
    """
    figure = style.canvas(8.4, 3.4)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color=style.FAINT, linewidth=0.8, linestyle="--")
    colours = style.palette(len(probabilities))
    for (model, chances), colour in zip(probabilities.items(), colours, strict=True):
        found = calibration.reliability(chances, labels)
        label = f"{model.replace('_', ' ')} (error {found.error:.3f})"
        known = found.cells > 0
        left.plot(
            found.confidence[known],
            found.accuracy[known],
            color=colour,
            marker="o",
            markersize=3,
            label=label,
        )
        curve = calibration.refusal_curve(chances, labels)
        right.plot(
            [point.assigned for point in curve],
            [point.accuracy for point in curve],
            color=colour,
        )
    left.legend(loc="upper left", fontsize=style.SMALL, frameon=False)
    left.set_xlim(0, 1)
    left.set_ylim(0, 1)
    style.tidy(left, title=title, xlabel="confidence", ylabel="accuracy")
    style.tidy(right, xlabel="share of cells called", ylabel="accuracy of those")
    return style.save(figure, path, note)

"""A confusion matrix as a heat map."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from scmultimodal.evaluation.classification import confusion_order
from scmultimodal.evaluation.figures import style
from scmultimodal.schemas.errors import InputError

LEAST_SHOWN = 0.05
"""Shares below this carry no number."""


def confusion(
    matrix: Integer[np.ndarray, "classes classes"],
    class_names: Sequence[str],
    path: str | os.PathLike[str],
    title: str,
    *,
    order: Sequence[int] | None = None,
    note: str = "",
) -> Path:
    """Draws a confusion matrix, each row as shares of the cells of its true class.

    Args:
        matrix: cells by true class (rows) and predicted class (columns).
        class_names: names of the classes.
        path: PNG file to write.
        title: what was judged.
        order: classes from top to bottom; by default classes confused with each
            other stand together.
        note: line above the picture.

    Raises:
        InputError: names and matrix do not match.
    """
    if len(class_names) != len(matrix):
        raise InputError(
            title,
            f"{len(class_names)} names for {len(matrix)} classes",
            "Name every class",
        )
    support = matrix.sum(1)
    shares = matrix / np.maximum(support, 1)[:, None]
    places = confusion_order(shares) if order is None else np.asarray(order)
    shares = shares[np.ix_(places, places)]
    size = len(places)
    side = max(2.6, 0.27 * size)
    figure = style.canvas(side + 2.6, side + 1.5)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    style.tidy(axes, title=title, xlabel="predicted", ylabel="true (number of cells)")
    names = [class_names[index] for index in places]
    counted = [f"{class_names[index]} ({support[index]:,})" for index in places]
    axes.set_xticks(range(size), names, rotation=90)
    axes.set_yticks(range(size), counted)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#EEEEEE", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    for row, column in np.argwhere(shares >= LEAST_SHOWN):
        share = shares[row, column]
        axes.text(
            column,
            row,
            f"{share * 100:.0f}",
            ha="center",
            va="center",
            fontsize=6.5,
            color="white" if share > 0.55 else style.INK,
        )
    bar = figure.colorbar(image, ax=axes, shrink=0.5, aspect=18, pad=0.02)
    bar.set_label("share of the true class (numbers: %)", fontsize=style.SMALL)
    bar.ax.tick_params(labelsize=style.SMALL)
    bar.outline.set_visible(False)
    return style.save(figure, path, note)

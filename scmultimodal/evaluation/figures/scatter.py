"""Cells on a plane, coloured by category."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scmultimodal.evaluation.figures import style
from scmultimodal.schemas.errors import InputError

MOST_LISTED = 30
"""Categories beyond this many are not listed in a legend."""

PLANE = 5.2
"""Width of the plane in inches."""

MOST_LETTERS = 180
"""Names of more letters in all are too many for the plane: numbers stand for them."""


def umap_scatter(
    coordinates: Float[np.ndarray, "cells 2"],
    categories: Sequence[str] | np.ndarray,
    path: str | os.PathLike[str],
    title: str,
    *,
    label: bool = True,
    note: str = "",
) -> Path:
    """Draws cells, their categories named on the plane and in a legend.

    Where the names are too long for the plane, numbers on it lead to the legend.

    Args:
        coordinates: a place for each cell, for example of `projection.umap`.
        categories: a word for each cell; colours follow the sorted words.
        path: PNG file to write.
        title: what is seen.
        label: whether to name each category at the median of its cells.
        note: line above the picture.

    Raises:
        InputError: cells and categories do not match.
    """
    figure = style.canvas(PLANE + _legend_width(categories), 5.2)
    axes = figure.add_subplot()
    _draw(axes, coordinates, categories, title, label=label)
    return style.save(figure, path, note)


def umap_grid(
    coordinates: Float[np.ndarray, "cells 2"],
    panels: Mapping[str, Sequence[str] | np.ndarray],
    path: str | os.PathLike[str],
    *,
    note: str = "",
) -> Path:
    """Draws the same cells several times, each panel with its own categories.

    Args:
        coordinates: a place for each cell.
        panels: title → a word for each cell, for example by type and by batch.
        path: PNG file to write.
        note: line above the picture.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    width = sum(PLANE + _legend_width(words) for words in panels.values())
    figure = style.canvas(width * columns / len(panels), 5.0 * rows)
    for position, (title, categories) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, position)
        _draw(axes, coordinates, categories, title, label=False)
    return style.save(figure, path, note)


def _draw(
    axes: Axes,
    coordinates: Float[np.ndarray, "cells 2"],
    categories: Sequence[str] | np.ndarray,
    title: str,
    *,
    label: bool,
) -> None:
    words = np.asarray(categories).astype(str)
    if len(words) != len(coordinates):
        raise InputError(
            title,
            f"{len(words)} categories for {len(coordinates)} cells",
            "Give one category per cell",
        )
    names, codes = np.unique(words, return_inverse=True)
    colours = style.palette(len(names))
    # Cells in a fixed random order, so that no category lies on top.
    order = np.random.default_rng(0).permutation(len(words))
    axes.scatter(
        *coordinates[order].T,
        c=[colours[code] for code in codes[order]],
        s=float(np.clip(24_000 / len(words), 1.5, 14)),
        linewidths=0,
        alpha=0.8,
    )
    style.tidy(axes, title=title, xlabel="UMAP 1", ylabel="UMAP 2")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    if len(names) > MOST_LISTED:
        return
    listed = names
    if label:
        words_on_plane = names
        if sum(map(len, names)) > MOST_LETTERS:
            words_on_plane = np.arange(1, len(names) + 1).astype(str)
            listed = np.char.add(np.char.add(words_on_plane, "  "), names)
        _name_clusters(axes, coordinates, codes, words_on_plane)
    _legend(axes, listed, colours)


def _name_clusters(
    axes: Axes,
    coordinates: Float[np.ndarray, "cells 2"],
    codes: np.ndarray,
    names: np.ndarray,
) -> None:
    """Writes each name at its cells' median, pushed apart where names collide."""
    medians = np.stack(
        [np.median(coordinates[codes == code], axis=0) for code in range(len(names))]
    )
    span = float(np.ptp(coordinates, axis=0).max())
    places = spread(medians, [len(name) for name in names], span)
    outline = [patheffects.withStroke(linewidth=2.2, foreground="white")]
    for name, median, place in zip(names, medians, places, strict=True):
        if np.linalg.norm(place - median) > 0.03 * span:
            axes.plot(*zip(median, place, strict=True), color=style.INK, linewidth=0.5)
        axes.text(
            *place,
            name,
            fontsize=7.5,
            weight="bold",
            color=style.INK,
            ha="center",
            va="center",
            path_effects=outline,
        )


def spread(
    centres: Float[np.ndarray, "names 2"], lengths: Sequence[int], span: float
) -> Float[np.ndarray, "names 2"]:
    """Moves the centres of words until their boxes no longer overlap.

    Args:
        centres: where the words would like to stand.
        lengths: letters of each word.
        span: extent of the plane: a letter is taken as 1/60 of it wide, 1/30 high.
    """
    places = centres.astype(np.float64)
    half = np.stack([np.asarray(lengths) / 120, np.full(len(lengths), 1 / 60)], 1)
    half *= span
    for _ in range(200):
        moved = False
        for i in range(len(places)):
            for j in range(i):
                apart = places[i] - places[j]
                overlap = half[i] + half[j] - np.abs(apart)
                if np.any(overlap <= 1e-9 * span):
                    continue
                axis = 1 if overlap[1] <= overlap[0] else 0
                push = overlap[axis] / 2 * (1 if apart[axis] >= 0 else -1)
                places[i, axis] += push
                places[j, axis] -= push
                moved = True
        if not moved:
            break
    return places


def _legend(axes: Axes, names: np.ndarray, colours: Sequence[str]) -> None:
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=5, color=colour, label=name)
        for name, colour in zip(names, colours, strict=True)
    ]
    axes.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        fontsize=style.SMALL,
        frameon=False,
        handletextpad=0.2,
        labelspacing=0.35,
    )


def _legend_width(categories: Sequence[str] | np.ndarray) -> float:
    """Inches that the legend takes beside the plane."""
    names = np.unique(np.asarray(categories).astype(str))
    if len(names) > MOST_LISTED:
        return 0.0
    return 0.5 + 0.085 * max(map(len, names), default=0)

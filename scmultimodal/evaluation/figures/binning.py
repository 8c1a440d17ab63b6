"""Ways to bin the same values side by side, as in Fig. B.5 of the study."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from matplotlib import colormaps, ticker
from matplotlib.axes import Axes

from scmultimodal.evaluation.figures import style

HOW = {
    "absolute": "absolute\nwhole part of the value",
    "quantile": "quantile\nrank among the cell's values",
    "gene_normalized": "gene-normalised\nrank, each gene over its median",
}
MOST_LABELS = 8
"""More bars than this have no labels of their own."""
SHOWN = 0.999
"""Share of the values within the axis."""


def strategies(
    edges: Float64[np.ndarray, " edges"],
    counts: Mapping[str, Int64[np.ndarray, "classes bins"]],
    path: str | os.PathLike[str],
    *,
    name: str = "",
    note: str = "",
) -> Path:
    """Draws which values come into which bin, and how full the bins are.

    Args:
        edges: of classes of values before binning, log1p.
        counts: by strategy, how many values of a class are in bins 1, 2, ….
        path: PNG file to write.
        name: of the data.
        note: line above the picture.
    """
    figure = style.canvas(3.3 * len(counts), 5.0)
    panels = figure.subplots(2, len(counts), squeeze=False, sharey="row")
    columns = zip(*panels, counts.items(), strict=True)
    for place, (upper, lower, (strategy, found)) in enumerate(columns):
        shares = found / max(1, found.sum())
        colours = colormaps["viridis_r"](np.linspace(0.05, 0.95, found.shape[1]))
        _draw_values(upper, edges, shares, colours)
        _draw_bins(lower, shares.sum(0), colours)
        title, share = HOW.get(strategy, strategy), "share of non-zero values"
        style.tidy(
            upper,
            title=f"{name}\n{title}" if name and not place else title,
            xlabel="value: log1p, normalised",
            ylabel="" if place else share,
        )
        style.tidy(lower, xlabel="bin (dotted: even)", ylabel="" if place else share)
    return style.save(figure, path, note)


def _draw_values(
    axes: Axes,
    edges: Float64[np.ndarray, " edges"],
    shares: Float64[np.ndarray, "classes bins"],
    colours: np.ndarray,
) -> None:
    """A histogram of values, each class divided by bin."""
    outline = np.repeat(edges, 2)[1:-1]
    axes.stackplot(outline, np.repeat(shares.T, 2, axis=1), colors=colours)
    last = np.searchsorted(np.cumsum(shares.sum(1)), SHOWN)
    axes.set_xlim(0, edges[min(last + 1, len(edges) - 1)])
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 5, 10]))


def _draw_bins(
    axes: Axes, shares: Float64[np.ndarray, " bins"], colours: np.ndarray
) -> None:
    axes.axhline(
        1 / len(shares), color=style.INK, linewidth=1, linestyle=":", zorder=0.5
    )
    bars = axes.bar(np.arange(len(shares)) + 1, shares, 0.86, color=colours, zorder=2)
    if len(shares) <= MOST_LABELS:
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        look = {"fontsize": style.SMALL, "padding": 2, "bbox": ground, "zorder": 1}
        axes.bar_label(bars, fmt="{:.0%}", **look)
        axes.set_xticks(np.arange(len(shares)) + 1)
    axes.margins(y=0.12)
    axes.yaxis.set_major_formatter("{x:.0%}")

"""What perturbed genes do: how far cells move, and which genes change."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.cluster import hierarchy

from scmultimodal.evaluation.figures import style

MOST_ROWS = 40
"""Perturbed genes that a picture shows: those that move cells most."""
MOST_COLUMNS = 40


def shift_bars(
    names: Sequence[str],
    shifts: Float[np.ndarray, " perturbed"],
    cells: Sequence[int] | np.ndarray,
    path: str | os.PathLike[str],
    *,
    title: str,
    note: str = "",
) -> Path:
    """Draws the mean shift of the cells' vectors, the largest on top.

    Args:
        names: of the perturbed genes.
        shifts: of each; NaN where no cell was changed.
        cells: how many cells each has changed.
        path: PNG file to write.
        title: what is seen.
        note: line above the picture.
    """
    order = _largest(np.nan_to_num(shifts, nan=-1))[::-1]
    figure = style.canvas(6.0, 1.2 + 0.22 * max(3, len(order)))
    axes = figure.add_subplot()
    lengths = np.nan_to_num(shifts)[order]
    bars = axes.barh(range(len(order)), lengths, 0.8, color=style.COLOURS[0])
    said = [f"{cells[i]:,} cells" if cells[i] else "no cell has it" for i in order]
    axes.bar_label(bars, said, padding=3, fontsize=7, color=style.FAINT)
    axes.set_yticks(range(len(order)), [names[i] for i in order])
    axes.margins(x=0.2)
    axes.set_xlim(left=0)
    style.tidy(axes, title=title, xlabel="mean distance of the cells' vectors")
    return style.save(figure, path, note)


def effect_map(
    names: Sequence[str],
    genes: Sequence[str],
    effects: Float[np.ndarray, "perturbed genes"],
    path: str | os.PathLike[str],
    *,
    title: str,
    note: str = "",
) -> Path:
    """Draws log fold changes as a heat map, red up and blue down.

    Rows are the perturbed genes that change others most. Columns are genes that change
    most: of each row in turn the next one, until there are enough. What is alike stands
    together.

    Args:
        names: of the perturbed genes.
        genes: of all genes.
        effects: natural log fold changes. Rows of NaN are left out, other values of
            NaN blank.
        path: PNG file to write.
        title: what is seen.
        note: line above the picture.
    """
    known = np.nan_to_num(effects)
    size = np.abs(known)
    told = np.isfinite(effects).any(1)
    rows = [row for row in _largest(size.max(1, initial=0)) if told[row]]
    if not rows:
        rows = _largest(size.max(1, initial=0))
    ranked = np.argsort(-size[rows], axis=1, kind="stable")[:, :MOST_COLUMNS]
    columns = list(dict.fromkeys(ranked.T.ravel().tolist()))[:MOST_COLUMNS]
    rows = [rows[i] for i in _alike(known[np.ix_(rows, columns)])]
    columns = [columns[i] for i in _alike(known[np.ix_(rows, columns)].T)]
    shown = effects[np.ix_(rows, columns)]
    most = float(size[np.ix_(rows, columns)].max(initial=0)) or 1.0
    figure = style.canvas(2.8 + 0.2 * len(columns), 1.9 + 0.22 * max(3, len(rows)))
    axes = figure.add_subplot()
    image = axes.imshow(
        shown,
        cmap="RdBu_r",
        vmin=-most,
        vmax=most,
        aspect="auto",
        interpolation="nearest",
    )
    axes.set_facecolor("#DDDDDD")
    style.tidy(axes, title=title, xlabel="gene that changes", ylabel="perturbed")
    axes.set_xticks(range(len(columns)), [genes[i] for i in columns], rotation=90)
    axes.set_yticks(range(len(rows)), [names[i] for i in rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label("mean log fold change", fontsize=style.SMALL)
    bar.ax.tick_params(labelsize=style.SMALL)
    bar.outline.set_visible(False)
    return style.save(figure, path, note)


def _largest(values: Float[np.ndarray, " perturbed"]) -> list[int]:
    return np.argsort(-values, kind="stable")[:MOST_ROWS].tolist()


def _alike(values: Float[np.ndarray, "rows columns"]) -> list[int]:
    """Rows in an order in which neighbours are alike."""
    if len(values) < 3:
        return list(range(len(values)))
    tree = hierarchy.linkage(values, method="average", optimal_ordering=True)
    return hierarchy.leaves_list(tree).tolist()

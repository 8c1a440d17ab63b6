"""Peaks and the genes near them, as in Fig. B.4 of the study."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, ticker
from matplotlib.axes import Axes

from scmultimodal.evaluation.figures import style

GROUPS = 25
"""Of bars, at most; the last has that many or more."""
COVERED = 0.98
"""Share of the genes or peaks that groups of their own are drawn for."""
_ANCHORS = {
    "tss": "of the gene's start",
    "body": "of the gene",
    "tss_and_body": "of the gene's start, or in it",
}


def link_counts(
    links: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    anchor: str = "tss_and_body",
    name: str = "",
    note: str = "",
) -> Path:
    """Draws how many peaks genes have, and how many genes peaks have, by distance.

    Args:
        links: "within_bp" and, for each of these, "peaks_per_gene" and
            "genes_per_peak": how many have 0, 1, 2, ….
        path: PNG file to write.
        anchor: what distance is measured from, as in `singlecell.peaks`.
        name: of the data.
        note: line above the picture.
    """
    figure = style.canvas(9.6, 3.5)
    panels = figure.subplots(1, 2)
    within = [f"{bp / 1e3:g} kb" for bp in links["within_bp"]]
    sides = (("peak", "gene", " with a known place"), ("gene", "peak", ""))
    for axes, (counted, of, which) in zip(panels, sides, strict=True):
        numbers = links[f"{counted}s_per_{of}"]
        total = sum(numbers[0])
        _draw(axes, [np.asarray(n) / max(1, total) for n in numbers], within, counted)
        axes.get_legend().set_title(f"within … {_ANCHORS[anchor]}")
        above = f"{name}\n" if name and axes is panels[0] else ""
        style.tidy(
            axes,
            title=f"{above}{total:,} {of}s{which}",
            xlabel=f"{counted}s per {of}",
            ylabel=f"share of {of}s",
        )
    return style.save(figure, path, note)


def _draw(
    axes: Axes, shares: Sequence[np.ndarray], within: Sequence[str], counted: str
) -> None:
    covered = np.flatnonzero(np.cumsum(shares[-1]) >= COVERED)
    last = int(min(GROUPS - 1, max(4, covered.min(initial=GROUPS) + 1)))
    colours = colormaps["Blues"](np.linspace(0.4, 1, len(shares)))
    width = 0.86 / len(shares)
    for number, (share, name) in enumerate(zip(shares, within, strict=True)):
        heights = np.append(share[:last], share[last:].sum())
        heights = np.pad(heights, (0, last + 1 - len(heights)))
        places = np.arange(last + 1) - 0.43 + (number + 0.5) * width
        median = np.searchsorted(np.cumsum(share), 0.5 - 1e-9)
        label = f"{name}: median {median}, {share[0]:.0%} have none"
        axes.bar(places, heights, width, color=colours[number], label=label)
    step = 1 if last <= 10 else 2 if last <= 16 else 5
    ticks = list(range(0, last, step))
    if last - ticks[-1] < 0.7 * step:
        ticks.pop()
    axes.set_xticks([*ticks, last], [*map(str, ticks), f"≥{last}"])
    axes.set_xlim(-0.6, last + 0.6)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.legend(fontsize=style.SMALL, title_fontsize=style.SMALL, frameon=False)
    axes.get_legend().set_alignment("left")

"""Spans to be ranked: how long, how open, from which cell types, ranked by what."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from matplotlib import ticker

from scmultimodal.evaluation import ranking
from scmultimodal.evaluation.figures import style

# Splits have different numbers of regions.
Numbers = Float32[np.ndarray, " _"]


def region_lengths(
    lengths: Mapping[str, tuple[Numbers, Numbers]],
    path: str | os.PathLike[str],
    *,
    note: str = "",
) -> Path:
    """Draws the lengths of open and closed regions, one panel per split.

    Args:
        lengths: split → lengths in bp of its open and of its closed regions.
        path: PNG file to write.
        note: line above the picture.
    """
    figure = style.canvas(3.2 * len(lengths) + 0.4, 2.8)
    panels = figure.subplots(1, len(lengths), squeeze=False, sharex=True)[0]
    longest = max(both.max(initial=1) for pair in lengths.values() for both in pair)
    edges = np.linspace(0, longest * 1.02, 41)
    for axes, (split, pair) in zip(panels, lengths.items(), strict=True):
        for number, name in enumerate(("open", "closed")):
            axes.hist(
                pair[number],
                edges,
                weights=np.full(len(pair[number]), 1 / max(1, len(pair[number]))),
                histtype="step",
                linewidth=1.4,
                color=style.COLOURS[number],
                label=name,
            )
        axes.yaxis.set_major_formatter("{x:.0%}")
        style.tidy(axes, title=split, xlabel="length (bp)")
    panels[0].set_ylabel("share of regions", fontsize=style.NORMAL, color=style.INK)
    panels[0].legend(fontsize=style.SMALL, frameon=False)
    return style.save(figure, path, note)


def region_values(
    values: Mapping[str, Numbers],
    path: str | os.PathLike[str],
    *,
    note: str = "",
) -> Path:
    """Draws how the values of open regions are spread, one line per split.

    Args:
        values: split → values above 0.
        path: PNG file to write.
        note: line above the picture.
    """
    figure = style.canvas(5.4, 3.0)
    axes = figure.add_subplot()
    everything = np.concatenate(list(values.values()))
    low, high = float(everything.min()), float(everything.max())
    edges = np.geomspace(low, max(high, low * 1.01), 41)
    for colour, (split, part) in zip(style.COLOURS, values.items(), strict=False):
        shares = np.full(len(part), 1 / len(part))
        look = {"histtype": "step", "linewidth": 1.4, "color": colour}
        axes.hist(part, edges, weights=shares, label=split, **look)
    axes.set_xscale("log")
    # Within two decades the powers of ten alone would label next to nothing.
    steps = (1, 2, 5) if high < 100 * low else (1,)
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=steps))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.yaxis.set_major_formatter("{x:.0%}")
    style.tidy(
        axes, title="Values of open regions", xlabel="value", ylabel="share of regions"
    )
    axes.legend(fontsize=style.SMALL, frameon=False)
    return style.save(figure, path, note)


def feature_rankers(
    report: Mapping[str, Any], path: str | os.PathLike[str], *, note: str = ""
) -> Path:
    """Draws how well each single feature orders the regions, one colour per split.

    Args:
        report: what `region_report.describe` says.
        path: PNG file to write.
        note: line above the picture.
    """
    splits = report["splits"]
    names = list(next(iter(splits.values()))["one_feature"])
    figure = style.canvas(6.0, 3.2)
    axes = figure.add_subplot()
    width = 0.8 / len(splits)
    for number, (split, numbers) in enumerate(splits.items()):
        heights = [numbers["one_feature"][name] or 0.0 for name in names]
        places = np.arange(len(names)) - 0.4 + (number + 0.5) * width
        colour = style.COLOURS[number]
        bars = axes.bar(places, heights, 0.92 * width, color=colour, label=split)
        axes.bar_label(bars, fmt="{:.2f}", fontsize=7, padding=1)
    axes.axhline(ranking.CHANCE, color=style.INK, linewidth=1, linestyle=":")
    axes.annotate(
        "chance",
        (1, ranking.CHANCE),
        (4, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        fontsize=style.SMALL,
    )
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names])
    style.tidy(
        axes,
        title="Ranking by one feature",
        ylabel="all three regions in order",
    )
    axes.legend(
        fontsize=style.SMALL, frameon=False, loc="upper left", bbox_to_anchor=(1, 1)
    )
    return style.save(figure, path, note)


def spans_per_sample(
    report: Mapping[str, Any], path: str | os.PathLike[str], *, note: str = ""
) -> Path:
    """Draws how many spans each cell type or track gives, one colour per split.

    Args:
        report: what `region_report.describe` says.
        path: PNG file to write.
        note: line above the picture.
    """
    samples = list(report["samples"])
    figure = style.canvas(6.0, 1.2 + 0.2 * len(samples))
    axes = figure.add_subplot()
    left = np.zeros(len(samples))
    for colour, split in zip(style.COLOURS, report["splits"], strict=False):
        counts = np.array([report["samples"][sample][split] for sample in samples])
        axes.barh(range(len(samples)), counts, 0.8, left, color=colour, label=split)
        left += counts
    axes.set_yticks(range(len(samples)), samples)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter("{x:,.0f}")
    style.tidy(axes, title="Spans", xlabel="spans")
    axes.legend(
        fontsize=style.SMALL, frameon=False, loc="upper left", bbox_to_anchor=(1, 1)
    )
    return style.save(figure, path, note)

"""Numbers side by side: results, value bins, peaks per band."""

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from scmultimodal.evaluation.figures import style
from scmultimodal.evaluation.summary import Result

REFERENCE = "logistic_regression"
"""The model drawn as a line that the others must pass."""


def results_bars(
    results: Sequence[Result],
    path: str | os.PathLike[str],
    *,
    metrics: Sequence[str] = ("accuracy", "macro_f1"),
    note: str = "",
) -> Path:
    """Draws test scores by modality, one panel per metric.

    Logistic regression is a line across the bars of its modality.
    """
    figure = style.canvas(4.6 * len(metrics), 3.7)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        _draw_results(axes, results, metric)
        style.tidy(axes, title=metric.replace("_", " "))
    handles, labels = panels[0].get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=4,
        fontsize=style.SMALL,
        frameon=False,
    )
    return style.save(figure, path, note)


def _draw_results(axes: Axes, results: Sequence[Result], metric: str) -> None:
    modalities = list(dict.fromkeys(str(r.modality) for r in results))
    models = [m for m in dict.fromkeys(r.model for r in results) if m != REFERENCE]
    values = {(r.model, str(r.modality)): getattr(r.scores, metric) for r in results}
    width = 0.8 / max(1, len(models))
    for index, model in enumerate(models):
        places = [p for p, m in enumerate(modalities) if (model, m) in values]
        heights = [values[model, modalities[p]] for p in places]
        centres = np.asarray(places) - 0.4 + (index + 0.5) * width
        colour, name = (
            style.COLOURS[index % len(style.COLOURS)],
            model.replace("_", " "),
        )
        axes.bar(centres, heights, 0.92 * width, color=colour, label=name)
        for centre, height in zip(centres, heights, strict=True):
            axes.text(
                centre,
                0.015,
                f"{height:.3f}",
                ha="center",
                va="bottom",
                rotation=90 if len(models) > 3 else 0,
                fontsize=7,
                color=style.ink_on(colour),
            )
    ticks = list(modalities)
    for place, modality in enumerate(modalities):
        value = values.get((REFERENCE, modality))
        if value is not None:
            left, right, name = place - 0.44, place + 0.44, REFERENCE.replace("_", " ")
            axes.hlines(value, left, right, color=style.INK, linewidth=1.6, label=name)
            ticks[place] += f"\n(line: {value:.3f})"
    axes.set_xticks(range(len(modalities)), ticks)
    axes.set_ylim(0, 1)


def bin_histogram(
    counts: Mapping[str, Sequence[int] | np.ndarray],
    path: str | os.PathLike[str],
    *,
    title: str = "Value bins of the non-zero entries",
    note: str = "",
) -> Path:
    """Draws the share of each value bin, one colour per modality.

    Args:
        counts: modality → number of entries in bins 1, 2, ….
        path: PNG file to write.
        title: what is seen.
        note: line above the picture.
    """
    figure = style.canvas(5.4, 3.2)
    axes = figure.add_subplot()
    width = 0.8 / max(1, len(counts))
    longest = max(len(values) for values in counts.values())
    colours = style.palette(len(counts))
    for index, (modality, values) in enumerate(counts.items()):
        shares = np.asarray(values) / max(1, np.sum(values))
        places = np.arange(len(shares)) + 1 - 0.4 + (index + 0.5) * width
        bars = axes.bar(
            places, shares, 0.92 * width, color=colours[index], label=modality
        )
        axes.bar_label(bars, fmt="{:.0%}", fontsize=7, padding=1)
    axes.set_xticks(range(1, longest + 1))
    axes.yaxis.set_major_formatter("{x:.0%}")
    style.tidy(axes, title=title, xlabel="bin", ylabel="share of non-zero entries")
    axes.legend(
        fontsize=style.SMALL, frameon=False, loc="upper left", bbox_to_anchor=(1, 1)
    )
    return style.save(figure, path, note)


def band_coverage(
    report: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    title: str = "Peaks and fragments by their nearest gene's band",
    note: str = "",
) -> Path:
    """Draws how many peaks and fragments each distance band keeps.

    Args:
        report: what `singlecell.peaks.coverage` says: "bands_bp", "peaks_per_band",
            "peaks_outside", "fragments_per_band", "fragments_outside".
        path: PNG file to write.
        title: what is seen.
        note: line above the picture.
    """
    edges = [0, *(int(edge) for edge in report["bands_bp"])]
    names = [f"{a / 1e3:g}–{b / 1e3:g} kb" for a, b in itertools.pairwise(edges)]
    names += [f"beyond {edges[-1] / 1e3:g} kb (not used)"]
    colours = [*colormaps["Blues"](np.linspace(0.85, 0.3, len(names) - 1)), "#DDDDDD"]
    rows = ["fragments", "peaks"]
    numbers = [[*report[f"{r}_per_band"], report[f"{r}_outside"]] for r in rows]
    totals = np.maximum(np.sum(numbers, axis=1, keepdims=True), 1)
    shares = np.asarray(numbers) / totals
    figure = style.canvas(6.8, 2.5)
    axes = figure.add_subplot()
    left = np.zeros(len(rows))
    for name, colour, part in zip(names, colours, shares.T, strict=True):
        bars = axes.barh(rows, part, 0.7, left, color=colour, label=name)
        words = [f"{share:.0%}" if share >= 0.04 else "" for share in part]
        ink = style.ink_on(colour)
        axes.bar_label(bars, words, label_type="center", fontsize=8, color=ink)
        left += part
    axes.set_yticks(
        range(len(rows)),
        [f"{row}\n{int(total):,}" for row, (total,) in zip(rows, totals, strict=True)],
    )
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter("{x:.0%}")
    style.tidy(axes, title=title)
    figure.legend(
        loc="outside lower center", ncols=4, fontsize=style.SMALL, frameon=False
    )
    return style.save(figure, path, note)

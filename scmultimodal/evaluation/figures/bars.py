"""Numbers side by side: results, value bins, peaks per band."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
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
    figure = style.canvas(4.4 * len(metrics) + 0.6, 3.7)
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
        ncols=3,
        fontsize=style.SMALL,
        frameon=False,
    )
    return style.save(figure, path, note)


def _draw_results(axes: Axes, results: Sequence[Result], metric: str) -> None:
    modalities = list(dict.fromkeys(str(r.modality) for r in results))
    models = [m for m in dict.fromkeys(r.model for r in results) if m != REFERENCE]
    colours = dict(zip(models, style.palette(len(models)), strict=True))
    values = {(r.model, str(r.modality)): getattr(r.scores, metric) for r in results}
    width = 0.8 / max(1, len(models))
    for place, modality in enumerate(modalities):
        for index, model in enumerate(models):
            value = values.get((model, modality))
            if value is None:
                continue
            left = place - 0.4 + (index + 0.5) * width
            axes.bar(
                left,
                value,
                0.92 * width,
                color=colours[model],
                label=model.replace("_", " "),
            )
            axes.text(
                left,
                value + 0.01,
                f"{value:.3f}",
                ha="center",
                fontsize=6.5,
                rotation=90,
            )
        reference = values.get((REFERENCE, modality))
        if reference is not None:
            axes.hlines(
                reference,
                place - 0.44,
                place + 0.44,
                color=style.INK,
                linewidth=1.6,
                label=REFERENCE.replace("_", " "),
            )
    axes.set_xticks(range(len(modalities)), modalities)
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
    shares: Mapping[str, Mapping[str, float]],
    path: str | os.PathLike[str],
    *,
    title: str = "Where the peaks lie",
    note: str = "",
) -> Path:
    """Draws one stacked bar per row, for example for peaks and for fragments.

    Args:
        shares: row → band → share or number (each row is scaled to 1).
        path: PNG file to write.
        title: what is seen.
        note: line above the picture.
    """
    figure = style.canvas(6.8, 1.5 + 0.55 * len(shares))
    axes = figure.add_subplot()
    bands = list(dict.fromkeys(band for row in shares.values() for band in row))
    # Light to dark with nearness would need an order: bands come nearest first.
    shades = [str(grey) for grey in np.linspace(0.25, 0.88, len(bands))]
    colours = style.COLOURS[: len(bands)] if len(bands) <= 6 else shades
    left = np.zeros(len(shares))
    for band, colour in zip(bands, colours, strict=True):
        totals = [max(sum(row.values()), 1e-12) for row in shares.values()]
        parts = np.array(
            [
                row.get(band, 0) / t
                for row, t in zip(shares.values(), totals, strict=True)
            ]
        )
        bars = axes.barh(list(shares), parts, 0.7, left, color=colour, label=band)
        labels = [f"{part:.0%}" if part >= 0.05 else "" for part in parts]
        axes.bar_label(bars, labels, label_type="center", fontsize=8, color="white")
        left += parts
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter("{x:.0%}")
    style.tidy(axes, title=title)
    figure.legend(
        loc="outside lower center", ncols=4, fontsize=style.SMALL, frameon=False
    )
    return style.save(figure, path, note)

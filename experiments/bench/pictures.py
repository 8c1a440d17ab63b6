"""Results as PNG files."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from scmultimodal.evaluation.figures import style

Series = Mapping[str, Sequence[tuple[float, float | None]]]
"""Name of a line → its points; None where nothing was measured."""


def bars(
    panels: Mapping[str, Mapping[str, float | None]], path: Path, *, pattern: str
) -> Path:
    """Draws numbers of the same contestants side by side, a panel for each quantity.

    Args:
        panels: quantity → contestant → number, or None where it has none.
        path: PNG file to write.
        pattern: how numbers are written.
    """
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    figure = style.canvas(4.2 * len(panels) + 1.6, 0.42 * len(names) + 0.9)
    axes_of = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (quantity, panel) in zip(axes_of, panels.items(), strict=True):
        values = [panel.get(name) for name in names]
        widths = [value or 0.0 for value in values]
        words = ["–" if value is None else pattern.format(value) for value in values]
        ours = [name.startswith("ours") for name in names]
        colours = [style.COLOURS[0] if mine else style.FAINT for mine in ours]
        drawn = axes.barh(range(len(names)), widths, 0.7, color=colours)
        axes.bar_label(drawn, words, fontsize=style.SMALL, padding=2)
        axes.set_yticks(range(len(names)), names)
        axes.margins(x=0.15)
        style.tidy(axes, title=quantity)
    axes_of[0].invert_yaxis()
    return style.save(figure, path)


def lines(panels: Mapping[str, Series], path: Path, *, xlabel: str) -> Path:
    """Draws quantities against a size, both axes logarithmic, a panel for each.

    Args:
        panels: quantity → lines.
        path: PNG file to write.
        xlabel: what the size is.
    """
    figure = style.canvas(4.4 * len(panels), 3.4)
    axes_of = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (quantity, series) in zip(axes_of, panels.items(), strict=True):
        known = {
            name: [(size, value) for size, value in points if value]
            for name, points in series.items()
        }
        for colour, (name, points) in zip(style.COLOURS, known.items(), strict=False):
            if points:
                axes.plot(*zip(*points, strict=True), "o-", color=colour, label=name)
        axes.loglog()
        sizes, values = zip(*(p for line in known.values() for p in line), strict=True)
        for axis, ticks in (("x", sorted(set(sizes))), ("y", _round_numbers(values))):
            axes.set(**{f"{axis}ticks": ticks, f"{axis}ticklabels": map(_short, ticks)})
        names = ("bottom", "left", "labelbottom", "labelleft")
        axes.tick_params(which="minor", **dict.fromkeys(names, False))
        axes.grid(axis="y", color="#EEEEEE", linewidth=0.8)
        style.tidy(axes, title=quantity, xlabel=xlabel)
    handles, labels = axes_of[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=3,
        fontsize=style.SMALL,
        frameon=False,
    )
    return style.save(figure, path)


def _round_numbers(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 of each power of ten, as far as the values reach."""
    lowest, highest = math.log10(min(values)), math.log10(max(values))
    powers = range(math.floor(lowest), math.floor(highest) + 2)
    ticks = [times * 10.0**power for power in powers for times in (1, 2, 5)]
    return [tick for tick in ticks if min(values) / 2 < tick < max(values) * 2]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"

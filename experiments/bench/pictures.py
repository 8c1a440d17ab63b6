"""Results as PNG files."""

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
        sizes = set()
        for colour, (name, points) in zip(style.COLOURS, series.items(), strict=False):
            known = [(size, value) for size, value in points if value]
            sizes |= {size for size, _ in known}
            if known:
                axes.plot(*zip(*known, strict=True), "o-", color=colour, label=name)
        axes.loglog()
        axes.set_xticks(sorted(sizes), [f"{size:,}" for size in sorted(sizes)])
        axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
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

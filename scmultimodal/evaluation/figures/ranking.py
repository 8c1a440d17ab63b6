"""Rankers side by side, as in Fig. 3.3 of the study."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scmultimodal.evaluation import ranking
from scmultimodal.evaluation.figures import style
from scmultimodal.evaluation.ranking_summary import RankerResult


def ranker_bars(
    groups: Mapping[str, Mapping[str, RankerResult]],
    path: str | os.PathLike[str],
    *,
    lines: Sequence[RankerResult] = (),
    title: str = "Regions of a span all in the right order",
    note: str = "",
) -> Path:
    """Draws full-order accuracy with its intervals.

    Args:
        groups: head -> {kind of training: result}; a group of bars for each head.
        path: the PNG.
        lines: rankers without a network, drawn as lines.
        title: of the picture.
        note: a line above it.
    """
    figure = style.canvas(6.4, 3.8)
    axes = figure.subplots()
    kinds = list(dict.fromkeys(kind for group in groups.values() for kind in group))
    width = 0.8 / max(1, len(kinds))
    for i, kind in enumerate(kinds):
        heads = [h for h, name in enumerate(groups) if kind in groups[name]]
        found = [list(groups.values())[h][kind].full_order for h in heads]
        centres = np.array(heads) - 0.4 + (i + 0.5) * width
        heights = np.array([share.mean for share in found])
        bounds = np.array([[s.mean - s.low, s.high - s.mean] for s in found]).T
        axes.bar(centres, heights, 0.9 * width, color=style.COLOURS[i], label=kind)
        axes.errorbar(
            centres,
            heights,
            bounds,
            fmt="none",
            ecolor=style.INK,
            elinewidth=1,
            capsize=3,
        )
        for centre, height in zip(centres, heights, strict=True):
            ink = style.ink_on(style.COLOURS[i])
            axes.text(centre, 0.01, f"{height:.3f}", ha="center", fontsize=7, color=ink)
    dashes = ("--", "-.", ":", (0, (1, 1)), (0, (5, 1)))
    for result, dash in zip(lines, dashes * len(lines), strict=False):
        axes.axhline(
            result.full_order.mean,
            color=style.FAINT,
            linestyle=dash,
            linewidth=1.2,
            label=f"{result.name} {result.full_order.mean:.3f}",
        )
    axes.axhline(
        ranking.CHANCE,
        color=style.ALARM,
        linewidth=1.2,
        label=f"chance {ranking.CHANCE:.3f}",
    )
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set_ylim(bottom=0)
    style.tidy(axes, title=title, ylabel="full-order accuracy")
    axes.legend(
        loc="upper left", bbox_to_anchor=(1, 1), fontsize=style.SMALL, frameon=False
    )
    return style.save(figure, path, note)

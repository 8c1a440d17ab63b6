"""The genes that speak most for each cell type."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from scmultimodal.evaluation.figures import style

COLUMNS = 4


def top_genes(
    found: Mapping[str, Sequence[tuple[str, float]]],
    path: str | os.PathLike[str],
    *,
    title: str,
    note: str = "",
) -> Path:
    """Draws a panel of bars for each type, the strongest gene on top.

    Args:
        found: type → its genes and their importance, the largest first.
        path: PNG file to write.
        title: what is seen.
        note: line above the picture.
    """
    across = min(COLUMNS, len(found))
    down = math.ceil(len(found) / across)
    most = max((len(genes) for genes in found.values()), default=1)
    figure = style.canvas(2.3 * across + 0.4, (0.6 + 0.15 * most) * down + 0.5)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (name, genes) in zip(panels, found.items(), strict=False):
        values = [value for _, value in genes]
        axes.barh(range(len(genes)), values, 0.8, color=style.COLOURS[0])
        axes.set_yticks(range(len(genes)), [gene for gene, _ in genes])
        axes.set_ylim(most - 0.5, -0.5)
        style.tidy(axes)
        axes.set_title(name, fontsize=style.NORMAL, color=style.INK, loc="left")
        axes.tick_params(labelsize=7)
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    figure.supxlabel(title, fontsize=style.NORMAL, color=style.INK)
    return style.save(figure, path, note)

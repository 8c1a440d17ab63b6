"""A stretch of a genome: what a model sees along it, and the genes that are there."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes

from scmultimodal.evaluation.figures import style
from scmultimodal.genome import gene_models
from scmultimodal.genome.gene_models import GeneModel

_ROW, _MOST_ROWS = 0.24, 8
_LETTERS = 130
"""Of a gene's name, as many as fit side by side into a picture."""
_HEIGHTS = {"exon": 0.22, "CDS": 0.44}
"""Of the boxes that are drawn, in rows."""


def locus(
    place: tuple[str, int, int],
    means: Float[np.ndarray, "columns elements"],
    names: Sequence[str],
    path: str | os.PathLike[str],
    *,
    genes: pd.DataFrame | None = None,
    note: str = "",
) -> Path:
    """Draws a track for each element, and gene models under them.

    Args:
        place: chromosome, start, end (bp).
        means: probabilities along it, in columns of equal width; NaN where N is.
        names: of the elements.
        path: PNG file to write.
        genes: features of transcripts (`read_transcripts`) that touch it; None draws
            no row for them.
        note: line above the picture.
    """
    chrom, start, end = place
    letter = (end - start) / _LETTERS
    models = [] if genes is None else gene_rows(genes, start, letter)
    depth = 0.0 if genes is None else 0.35 + _ROW * max(1, len(models))
    heights = [0.42] * len(names) + ([depth] if depth else [])
    figure = style.canvas(9.5, sum(heights) + 0.9)
    panels = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, height_ratios=heights
    )[:, 0]
    edges = np.linspace(start, end, len(means) + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    for index, (axes, name) in enumerate(zip(panels, names, strict=False)):
        colour = style.COLOURS[index % len(style.COLOURS)]
        values = np.nan_to_num(means[:, index])
        axes.fill_between(middles, values, step="mid", color=colour, linewidth=0)
        style.tidy(axes)
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 1])
        label = name.replace("_", " ")
        axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
        axes.tick_params(bottom=False)
        axes.spines["bottom"].set_color(style.FAINT)
    if depth:
        _draw_genes(panels[-1], models, start, end)
    panels[0].set_title(
        f"{chrom}:{start:,}-{end:,}", fontsize=style.LARGE, color=style.INK, loc="left"
    )
    panels[-1].set_xlim(start, end)
    panels[-1].tick_params(bottom=True, labelsize=style.SMALL)
    panels[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return style.save(figure, path, note)


def gene_rows(
    features: pd.DataFrame, start: int = 0, letter: float = 0.0
) -> list[list[GeneModel]]:
    """Genes in rows in which neither they nor their names touch; the first rows alone.

    Args:
        features: of transcripts, as `read_transcripts` returns them.
        start: first bp that is drawn.
        letter: bp as wide as a letter of a name.
    """

    def last(model: GeneModel) -> float:
        name = _seen_from(model, start) + letter * len(model.label)
        return max(float(model.end), name)

    rows: list[list[GeneModel]] = []
    for model in gene_models.build(features):
        place = _seen_from(model, start)
        free = next((row for row in rows if last(row[-1]) < place), None)
        if free is None:
            rows.append(free := [])
        free.append(model)
    return rows[:_MOST_ROWS]


def _seen_from(model: GeneModel, start: int) -> int:
    """Where a gene, and its name, begin in a picture."""
    return max(model.start, start)


def _draw_genes(axes: Axes, rows: list[list[GeneModel]], start: int, end: int) -> None:
    for number, row in enumerate(rows):
        for gene in row:
            axes.hlines(-number, gene.start, gene.end, color=style.INK, linewidth=0.8)
            for feature, height in _HEIGHTS.items():
                spans = [(low, high - low) for low, high in gene.boxes[feature]]
                place = (-number - height / 2, height)
                axes.broken_barh(spans, place, color=style.INK, linewidth=0)
            axes.text(
                _seen_from(gene, start),
                -number + 0.28,
                gene.label,
                fontsize=6.5,
                color=style.FAINT,
            )
    if not rows:
        axes.text(0.5, 0.4, "no gene", transform=axes.transAxes, ha="center")
    style.tidy(axes)
    axes.set_ylim(-max(1, len(rows)) + 0.4, 0.9)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylabel("genes", rotation=0, ha="right", va="center", fontsize=8)

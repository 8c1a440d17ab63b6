"""How well values of the genes that cells show are told, and what is simple.

Errors and correlations are over non-zero values alone. A value of few counts depends on
how much was seen of its cell, so the rivals know how many peaks of a cell are open.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

MIN_CELLS = 10
"""Least cells that show a gene for its correlation to count."""
PSEUDO_CELLS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Cells of the mean that a type's genes are drawn to: tried on validation cells."""
_LEAST_SPREAD = 1e-12
"""Mean square of what depths differ by that a slope is fitted to."""

PerGene = Float[np.ndarray, " genes"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValueScores:
    """How predicted values agree with measured ones that are not 0.

    Attributes:
        mse: mean squared error, each value the same.
        gene_pearson: over the cells that show a gene, mean over the genes that enough
            cells show; NaN where there is none.
    """

    mse: float
    gene_pearson: float


def score(
    predicted: Float[np.ndarray, "cells genes"], measured: sparse.csr_matrix
) -> ValueScores:
    """Compares predictions with what was measured.

    Args:
        predicted: of all genes.
        measured: of the same cells; what is stored is judged.
    """
    found = measured.tocoo()
    size = measured.shape[1]
    told = predicted[found.row, found.col].astype(np.float64)
    true = found.data.astype(np.float64)
    number = _sum(found.col, np.ones_like(true), size)
    # Sums of squares of what is far from 0 would lose the digits that differ.
    mean = _sum(found.col, true, size) / np.maximum(number, 1)
    told, true = told - mean[found.col], true - mean[found.col]
    sums = {
        "number": number,
        "told": _sum(found.col, told, size),
        "true": _sum(found.col, true, size),
        "told_squared": _sum(found.col, told**2, size),
        "true_squared": _sum(found.col, true**2, size),
        "product": _sum(found.col, told * true, size),
    }
    mse = float(np.square(told - true).mean()) if len(true) else math.nan
    judged = number >= MIN_CELLS
    return ValueScores(mse=mse, gene_pearson=gene_pearson(sums, judged))


def gene_pearson(sums: Mapping[str, Any], judged: Bool[np.ndarray, " genes"]) -> float:
    """The mean correlation of genes.

    Args:
        sums: those of `tasks.gene_values.GeneSums`, or a share of each, the same of
            all.
        judged: genes that count.

    Returns:
        Their mean, each 0 where either side is constant; NaN where none counts.
    """
    if not judged.any():
        return math.nan
    count = np.asarray(sums["number"])[judged]
    told, true, told2, true2, both = (
        np.asarray(sums[name])[judged]
        for name in ("told", "true", "told_squared", "true_squared", "product")
    )
    spread = (told2 - told**2 / count) * (true2 - true**2 / count)
    # Rounding leaves a constant side a little above zero.
    known = spread > (np.finfo(np.float32).eps ** 2 * told2 * true2)
    shared = both - told * true / count
    found = np.where(known, shared / np.sqrt(np.where(known, spread, 1)), 0)
    return float(found.mean())


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """A value by its gene, and by how many peaks of the cell are open.

    Attributes:
        offset: of each gene.
        depth_scale: per log1p of the open peaks; 0 lets them be.
    """

    offset: PerGene
    depth_scale: float

    @classmethod
    def fit(
        cls,
        measured: sparse.csr_matrix,
        num_peaks: Int[np.ndarray, " cells"],
        *,
        with_depth: bool = True,
    ) -> "Line":
        """Least squares over the values of training cells.

        A gene is drawn to the mean of all values as if one more cell had that.

        Args:
            measured: training cells; what is stored counts.
            num_peaks: open ones of each.
            with_depth: fits a slope too; else it is 0.
        """
        found, size = measured.tocoo(), measured.shape[1]
        true = found.data.astype(np.float64)
        depth = np.log1p(num_peaks)[found.row].astype(np.float64)
        number = _sum(found.col, np.ones_like(true), size)

        def means(values: np.ndarray) -> np.ndarray:
            return (_sum(found.col, values, size) + values.mean()) / (number + 1)

        if not with_depth:
            return cls(offset=means(true).astype(np.float32), depth_scale=0.0)
        far = depth - means(depth)[found.col]
        squares = float(far @ far)
        # Rounding leaves cells of one depth a little apart.
        varies = squares > _LEAST_SPREAD * len(far)
        scale = float(far @ true) / squares if varies else 0.0
        offset = means(true) - scale * means(depth)
        return cls(offset=offset.astype(np.float32), depth_scale=scale)

    def predict(
        self, num_peaks: Int[np.ndarray, " cells"]
    ) -> Float[np.ndarray, "cells genes"]:
        """Values of all genes of cells with so many open peaks."""
        depth = np.log1p(num_peaks)[:, None].astype(np.float32)
        return self.offset + np.float32(self.depth_scale) * depth


def type_shifts(
    residuals: sparse.csr_matrix,
    labels: Int[np.ndarray, " cells"],
    num_classes: int,
    pseudo_cells: float,
) -> Float[np.ndarray, "classes genes"]:
    """What a type adds to each gene: the mean of what a line left of its cells.

    Args:
        residuals: of training cells; what is stored counts.
        labels: their types, −1 where unknown.
        num_classes: number of types.
        pseudo_cells: further cells of each type that a line tells exactly.
    """
    found = residuals.tocoo()
    of = labels[found.row]
    place = (of * residuals.shape[1] + found.col)[of >= 0]
    size = num_classes * residuals.shape[1]
    total = _sum(place, found.data[of >= 0].astype(np.float64), size)
    number = np.bincount(place, minlength=size)
    shape = (num_classes, residuals.shape[1])
    return (total / (number + pseudo_cells)).reshape(shape).astype(np.float32)


def _sum(of: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(of, values, minlength=size)

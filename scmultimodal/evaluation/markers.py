"""Genes that tell a cell type from the others: Welch's t on training cells."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float64, Integer
from scipy import sparse

from scmultimodal.evaluation.depth import Sparse


@dataclasses.dataclass(frozen=True, kw_only=True)
class Marker:
    """A gene.

    Attributes:
        gene: its column.
        type: the class that it speaks for; −1 where there are no classes.
    """

    gene: int
    type: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """What is needed of the values of cells, class by class.

    Attributes:
        cells: of each class.
        sums: of the values.
        squares: sums of the squared values.
    """

    cells: Float64[np.ndarray, " classes"]
    sums: Float64[np.ndarray, "classes genes"]
    squares: Float64[np.ndarray, "classes genes"]


def moments(
    blocks: Iterable[tuple[Sparse, Integer[np.ndarray, " cells"]]],
    num_classes: int,
    num_genes: int,
) -> Moments:
    """Sums over blocks of values [cells, genes] and the classes of their cells."""
    cells = np.zeros(num_classes)
    sums = np.zeros((num_classes, num_genes))
    squares = np.zeros((num_classes, num_genes))
    for values, classes in blocks:
        rows = np.arange(len(classes))
        ones = np.ones(len(classes))
        members = sparse.csr_matrix(
            (ones, (classes, rows)), (num_classes, len(classes))
        )
        values = values.astype(np.float64)
        cells += np.bincount(classes, minlength=num_classes)
        sums += (members @ values).toarray()
        squares += (members @ values.multiply(values)).toarray()
    return Moments(cells=cells, sums=sums, squares=squares)


def choose(found: Moments, count: int) -> list[Marker]:
    """The best genes of each class in turn, each gene for the class it fits best.

    A class of fewer than two cells, or that is all there is, has none. Where there is
    one class alone, the genes whose values differ most among the cells are taken.

    Args:
        found: of the training cells.
        count: genes at most.
    """
    scores = welch(found)
    if not np.isfinite(scores).any():
        return _varying(found, count)
    best = scores.argmax(0)
    ranks = [
        [g for g in np.argsort(-row, kind="stable") if best[g] == kind and row[g] > 0]
        for kind, row in enumerate(scores)
    ]
    turns = max(map(len, ranks))
    chosen = [
        Marker(gene=int(genes[turn]), type=kind)
        for turn in range(turns)
        for kind, genes in enumerate(ranks)
        if turn < len(genes)
    ]
    return sorted(chosen[:count], key=lambda marker: marker.type)


def welch(found: Moments) -> Float64[np.ndarray, "classes genes"]:
    """Welch's t of each class against all others; −∞ where it cannot be told."""
    inside = _mean_and_error(found.cells, found.sums, found.squares)
    others = [total.sum(0) - total for total in (found.sums, found.squares)]
    outside = _mean_and_error(found.cells.sum() - found.cells, *others)
    error = np.sqrt(inside[1] + outside[1])
    difference = inside[0] - outside[0]
    # Equal in all cells on both sides: a difference is then beyond doubt.
    floor = 1e-12
    scores = np.where(difference == 0, 0.0, difference / np.maximum(error, floor))
    return np.where(np.isfinite(scores), scores, -np.inf)


def _mean_and_error(
    cells: Float64[np.ndarray, " classes"],
    sums: Float64[np.ndarray, "classes genes"],
    squares: Float64[np.ndarray, "classes genes"],
) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and its squared standard error; NaN for fewer than two cells."""
    number = np.where(cells > 1, cells, np.nan)[:, None]
    mean = sums / number
    variance = np.maximum(squares - sums * mean, 0) / (number - 1)
    return mean, variance / number


def _varying(found: Moments, count: int) -> list[Marker]:
    cells = max(found.cells.sum(), 1)
    mean = found.sums.sum(0) / cells
    variance = found.squares.sum(0) / cells - mean**2
    order = np.argsort(-variance, kind="stable")[:count]
    return [Marker(gene=int(g), type=-1) for g in order if variance[g] > 0]

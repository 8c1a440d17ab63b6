"""How well one modality is told from the other, and what the simplest guesses reach.

Values are compared as log1p of counts at a common depth; detection is whether there is
any count. All baselines are fitted on training cells.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy import linalg, optimize, sparse, stats

from scmultimodal.evaluation import extra
from scmultimodal.schemas.errors import InputError

with extra.required():
    from sklearn.linear_model import Ridge
    from threadpoolctl import threadpool_limits

Values = Float[np.ndarray, "cells genes"]

PENALTIES = tuple(10.0**power for power in range(-1, 6))
"""Ridge penalties that are tried on validation cells."""
MIN_CELLS = 10
"""Least cells with, and without, a count for a gene to be judged."""
_GENES_AT_ONCE = 256


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ImputationScores:
    """How predicted values of cells agree with measured ones.

    Attributes:
        gene_pearson: over the cells, of each gene; NaN where it is not judged.
        cell_pearson: over the genes, of each cell; NaN for a constant cell.
        gene_auroc: whether cells with a count are predicted above those without.
    """

    gene_pearson: Float[np.ndarray, " genes"]
    cell_pearson: Float[np.ndarray, " cells"]
    gene_auroc: Float[np.ndarray, " genes"]

    def means(self) -> dict[str, float]:
        """Means over what could be judged; NaN where nothing could."""
        return {
            field.name: _mean(getattr(self, field.name))
            for field in dataclasses.fields(self)
        }


def score(
    predicted: Values,
    measured: Float[np.ndarray, "rows columns"],
    *,
    min_cells: int = MIN_CELLS,
) -> ImputationScores:
    """Compares predictions with what was measured.

    A prediction that is the same for all cells has a Pearson of 0 and an AUROC of .5:
    it says nothing about the gene.

    Args:
        predicted: finite values.
        measured: log1p values of the same cells and genes; 0 is "no count".
        min_cells: genes with fewer cells with, or without, a count are not judged.

    Raises:
        InputError: shapes differ, or a prediction is not finite.
    """
    if predicted.shape != measured.shape:
        raise InputError(
            "predicted",
            f"has shape {predicted.shape}, measured {measured.shape}",
            "Give the same cells and genes",
        )
    if not np.isfinite(predicted).all():
        raise InputError("predicted", "some are NaN or infinite", "Check the model")
    shown = measured > 0
    judged = np.minimum(shown.sum(0), (~shown).sum(0)) >= min_cells
    return ImputationScores(
        gene_pearson=np.where(judged, _pearson(predicted, measured, axis=0), np.nan),
        cell_pearson=np.where(
            np.ptp(measured, axis=1) > 0, _pearson(predicted, measured, axis=1), np.nan
        ),
        gene_auroc=np.where(judged, _auroc(predicted, shown), np.nan),
    )


def mean_profile(measured: Values, num_cells: int) -> Float[np.ndarray, "others genes"]:
    """The mean of the training cells, for every cell."""
    return np.repeat(measured.mean(0, keepdims=True), num_cells, axis=0)


def type_means(
    measured: Values,
    labels: Integer[np.ndarray, " cells"],
    called: Integer[np.ndarray, " others"],
) -> Float[np.ndarray, "others genes"]:
    """For each cell the mean of the training cells of the type that it is called.

    Args:
        measured: training cells.
        labels: their types.
        called: types of other cells; the mean profile where no training cell has it.
    """
    classes = max(int(labels.max()), int(called.max())) + 1
    return _means_by_type(measured, labels, classes)[called]


def likely_means(
    measured: Values,
    labels: Integer[np.ndarray, " cells"],
    chances: Float[np.ndarray, "others classes"],
) -> Float[np.ndarray, "others genes"]:
    """For each cell the means of the types, weighed by how likely each is.

    Args:
        measured: training cells.
        labels: their types.
        chances: probabilities of the types for other cells; what is said for a type
            without a training cell goes to the mean profile.
    """
    means = _means_by_type(measured, labels, chances.shape[1])
    return (chances @ means).astype(measured.dtype)


def _means_by_type(
    measured: Values, labels: Integer[np.ndarray, " cells"], classes: int
) -> Float[np.ndarray, "classes genes"]:
    """The mean profile for types without a cell."""
    of_class = np.arange(classes)[:, None] == labels
    counts = of_class.sum(1, keepdims=True)
    means = of_class.astype(measured.dtype) @ measured / np.maximum(counts, 1)
    return np.where(counts > 0, means, measured.mean(0)).astype(measured.dtype)


def combine(
    validation: Sequence[Values],
    truth: Values,
    others: Sequence[Float[np.ndarray, "others genes"]],
    *,
    profile: Float[np.ndarray, " genes"],
) -> Float[np.ndarray, "others genes"]:
    """Adds up what several models say beside the mean profile, each times a weight.

    Weights are not negative, and least in squared error on validation cells.

    Args:
        validation: predictions of validation cells, by model.
        truth: values of the validation cells.
        others: predictions of other cells, in the same order.
        profile: mean of the training cells.
    """
    columns = [(values - profile).ravel() for values in validation]
    weights, _ = optimize.nnls(
        np.stack(columns, axis=1).astype(np.float64), (truth - profile).ravel()
    )
    parts = (w * (values - profile) for w, values in zip(weights, others, strict=True))
    return (profile + sum(parts)).astype(truth.dtype)


def ridge(
    source: Float[np.ndarray, "cells components"],
    measured: Values,
    validation: tuple[
        Float[np.ndarray, "validation components"],
        Float[np.ndarray, "validation genes"],
    ],
    test: Float[np.ndarray, "others components"],
) -> Float[np.ndarray, "others genes"]:
    """Ridge regression of all genes on components of the other modality.

    Args:
        source: components of training cells, such as `features.svd_components`.
        measured: values of the training cells.
        validation: components and values of the cells that choose the penalty, by
            squared error.
        test: components of the cells to tell.
    """
    best, found = math.inf, test[:, :0]
    held_out, truth = validation
    with threadpool_limits(1):
        for penalty in PENALTIES:
            model = Ridge(alpha=penalty).fit(source, measured)
            error = float(np.square(model.predict(held_out) - truth).mean())
            if error < best:
                best, found = error, model.predict(test)
    return found.astype(measured.dtype)


def kernel_ridge(
    source: sparse.csr_matrix,
    measured: Values,
    validation: tuple[sparse.csr_matrix, Float[np.ndarray, "validation genes"]],
    test: sparse.csr_matrix,
) -> Float[np.ndarray, "others genes"]:
    """As `ridge`, on features that are more than the cells, such as all peaks.

    Args:
        source: features of training cells, about 1 in length.
        measured: values of the training cells.
        validation: features and values of the cells that choose the penalty.
        test: features of the cells to tell.
    """
    mean = measured.mean(0)
    kernel, ahead, wanted = (
        (part @ source.T).toarray().astype(np.float32)
        for part in (source, validation[0], test)
    )
    best, found = math.inf, wanted[:, :0]
    with threadpool_limits(1):
        for penalty in PENALTIES:
            regular = kernel + np.float32(penalty) * np.eye(len(kernel), dtype="f4")
            weights = linalg.solve(
                regular, measured - mean, assume_a="pos", overwrite_a=True
            )
            error = float(np.square(mean + ahead @ weights - validation[1]).mean())
            if error < best:
                best, found = error, mean + wanted @ weights
    return found.astype(measured.dtype)


def _pearson(a: Values, b: Values, *, axis: int) -> Float[np.ndarray, " rest"]:
    """0 where either side is constant."""
    a = a - a.mean(axis, keepdims=True, dtype=np.float64)
    b = b - b.mean(axis, keepdims=True, dtype=np.float64)
    squares = np.square(a).sum(axis) * np.square(b).sum(axis)
    # Rounding leaves a constant side a little above zero.
    known = squares > np.finfo(np.float32).eps ** 2 * a.shape[axis]
    return np.where(known, (a * b).sum(axis) / np.sqrt(np.where(known, squares, 1)), 0)


def _auroc(
    scores: Values, positive: Bool[np.ndarray, "cells genes"]
) -> Float[np.ndarray, " genes"]:
    """Of each gene, by ranks; NaN where all cells are of one kind."""
    number = positive.sum(0)
    sums = np.concatenate(
        [
            (stats.rankdata(scores[:, part], axis=0) * positive[:, part]).sum(0)
            for part in _parts(scores.shape[1])
        ]
    )
    pairs = number * (len(scores) - number)
    wins = sums - number * (number + 1) / 2
    return np.where(pairs > 0, wins / np.maximum(pairs, 1), np.nan)


def _parts(size: int) -> list[slice]:
    return [slice(i, i + _GENES_AT_ONCE) for i in range(0, size, _GENES_AT_ONCE)]


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan

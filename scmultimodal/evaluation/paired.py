"""What paired RNA teaches about peaks, by linear maps alone: no network.

Peaks tell the components of a training cell's RNA by ridge regression, and components
tell its type by logistic regression. That is a linear map of peaks, which has learned
from the whole profile of each cell and not from its label alone.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Integer
from scipy import sparse
from scipy.sparse import linalg

from scmultimodal.data.permutations import Stream, permutation
from scmultimodal.evaluation import extra
from scmultimodal.evaluation.depth import Sparse, log1p_at_median_depth


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedConfig:
    """How RNA is summed up, and how much is believed.

    Attributes:
        num_components: of the training cells' RNA; fewer where genes are fewer.
        ridge: penalty, of peaks weighed by rarity, in cells of one open peak each.
        folds: parts of the training cells; components of each are told by the others,
            as they will be told of new cells.
        inverse_penalty: of the logistic regression on standardised components.
        seed: of the folds.
    """

    num_components: int = 30
    ridge: float = 200.0
    folds: int = 5
    inverse_penalty: float = 1.0
    seed: int = 0


def can_learn(labels: Integer[np.ndarray, " cells"], config: PairedConfig) -> bool:
    """Whether cells are enough for `peak_weights`: of two types, two in each fold."""
    known = labels[labels >= 0]
    return len(known) >= 2 * config.folds and len(np.unique(known)) > 1


def peak_weights(
    peaks: Sparse,
    rna: Sparse,
    labels: Integer[np.ndarray, " cells"],
    num_classes: int,
    config: PairedConfig,
) -> Float[np.ndarray, "peaks classes"]:
    """Weight of an open peak for each class: the logit is Σ of them over √(open peaks).

    Args:
        peaks: of training cells; what is stored is open.
        rna: counts of the same cells.
        labels: class of each, −1 where unknown.
        num_classes: number of classes; one that no cell has gets no weight.
        config: the numbers.
    """
    opened, rarity = _weighed(peaks)
    told = components(rna, min(config.num_components, rna.shape[1] - 1))
    fold = np.empty(len(labels), np.int64)
    order = permutation(len(labels), seed=config.seed, stream=Stream.SPLIT)
    fold[order] = np.arange(len(labels)) % config.folds
    others = np.empty_like(told)
    for part in range(config.folds):
        out = fold == part
        found = _ridge(opened[~out], told[~out], config.ridge)
        others[out] = opened[out] @ found
    of_types = _logistic(others, labels, num_classes, config.inverse_penalty)
    whole = _ridge(opened, told, config.ridge) @ of_types
    return (rarity[:, None] * whole).astype(np.float32)


def components(counts: Sparse, number: int) -> Float[np.ndarray, "cells components"]:
    """Principal components of log counts at the median depth; see `loadings`."""
    values, vectors = _at_median_depth(counts), loadings(counts, number)
    mean = np.asarray(values.mean(0)).ravel()
    return np.asarray(values @ vectors) - mean @ vectors


def loadings(counts: Sparse, number: int) -> Float[np.ndarray, "genes components"]:
    """What principal components of log counts are made of, the largest first.

    Args:
        counts: of cells.
        number: of components, below that of genes.
    """
    values = _at_median_depth(counts)
    mean = np.asarray(values.mean(0)).ravel()

    def covariance(x: np.ndarray) -> np.ndarray:
        return values.T @ (values @ x) - values.shape[0] * mean * (mean @ x)

    size = counts.shape[1]
    products = linalg.LinearOperator((size, size), covariance, dtype=np.float64)
    # Begun alike on every machine and host.
    found, vectors = linalg.eigsh(products, number, v0=np.ones(size))
    vectors = vectors[:, np.argsort(-found)]
    return vectors * np.where(vectors.sum(0) < 0, -1, 1)


def _at_median_depth(counts: Sparse) -> Sparse:
    every = np.arange(counts.shape[0])
    return log1p_at_median_depth(counts, every, dtype=np.float64)


def _ridge(
    features: Sparse, targets: Float[np.ndarray, "cells targets"], penalty: float
) -> Float[np.ndarray, "features targets"]:
    """Without an offset: no open peak, no RNA."""
    with extra.required():
        from sklearn.linear_model import Ridge

    model = Ridge(penalty, fit_intercept=False, solver="sparse_cg", tol=1e-5)
    return model.fit(features, targets).coef_.T


def _weighed(peaks: Sparse) -> tuple[Sparse, Float[np.ndarray, " peaks"]]:
    """Open peaks by rarity over √(open peaks of the cell), and that rarity."""
    opened = sparse.csr_matrix(peaks != 0, dtype=np.float64)
    cells = np.asarray(opened.sum(0)).ravel()
    rarity = np.log(1 + opened.shape[0] / (1 + cells))
    number = np.maximum(np.asarray(opened.sum(1)).ravel(), 1)
    scaled = sparse.diags(number**-0.5) @ opened @ sparse.diags(rarity)
    return scaled.tocsr(), rarity


def _logistic(
    told: Float[np.ndarray, "cells components"],
    labels: Integer[np.ndarray, " cells"],
    num_classes: int,
    inverse_penalty: float,
) -> Float[np.ndarray, "components classes"]:
    """Weights of components for each class."""
    with extra.required():
        from sklearn.linear_model import LogisticRegression

    known = labels >= 0
    spread = told[known].std(0) + 1e-12
    model = LogisticRegression(C=inverse_penalty, max_iter=1_000)
    model.fit(told[known] / spread, labels[known])
    weights = np.zeros((told.shape[1], num_classes))
    coefficients = model.coef_
    if len(coefficients) == 1:  # Of two classes it gives the second alone.
        coefficients = np.concatenate([-coefficients / 2, coefficients / 2])
    weights[:, model.classes_] = coefficients.T / spread[:, None]
    return weights

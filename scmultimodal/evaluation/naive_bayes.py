"""Multinomial naive Bayes: what it says of counts, and how it learns without labels."""

import dataclasses

import numpy as np
from jaxtyping import Float, Integer
from scipy import sparse, special

from scmultimodal.schemas.errors import InputError

Counts = sparse.csr_matrix | sparse.csr_array
"""[cells, features], by rows."""


def log_likelihoods(
    counts: Counts,
    labels: Integer[np.ndarray, " cells"],
    num_classes: int,
    *,
    alpha: float = 0.3,
) -> Float[np.ndarray, "features classes"]:
    """What a count adds to the log-likelihood of each class, less their mean.

    Args:
        counts: [cells, features] of training cells.
        labels: class of each.
        num_classes: number of classes; one that no cell has weighs all features alike.
        alpha: smoothing, in counts.
    """
    logs = _log_shares(_sums(counts, _one_hot(labels, num_classes)), alpha)
    return (logs - logs.mean(1, keepdims=True)).astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class NaiveBayes:
    """A fitted model.

    Attributes:
        log_likelihoods: of a count of each feature, by class.
        log_priors: of the classes.
    """

    log_likelihoods: Float[np.ndarray, "features classes"]
    log_priors: Float[np.ndarray, " classes"]

    def predict(self, counts: Counts) -> Float[np.ndarray, "cells classes"]:
        """Probabilities of the classes."""
        scores = np.asarray(counts @ self.log_likelihoods) + self.log_priors
        return special.softmax(scores, axis=1)


def fit_em(
    counts: Counts,
    labels: Integer[np.ndarray, " cells"],
    num_classes: int,
    *,
    alpha: float = 0.3,
    weight: float = 0.1,
    num_iterations: int = 20,
) -> NaiveBayes:
    """Learns from labelled and unlabelled cells by expectation maximisation.

    Unlabelled cells count by the probabilities that they had in the round before, each
    as a part of a cell: there are many more of them, and naive Bayes is too sure of
    itself. Source: Nigam et al. 2000, doi:10.1023/A:1007692713085 (EM-λ).

    Args:
        counts: of all cells.
        labels: class of each, −1 where unknown.
        num_classes: number of classes.
        alpha: smoothing, in counts.
        weight: of an unlabelled cell; 0 learns from the labelled ones alone.
        num_iterations: rounds.

    Raises:
        InputError: no cell is labelled.
    """
    known = labels >= 0
    if not known.any():
        raise InputError("labels", "no cell has one", "Label some cells of each type")
    chances = np.zeros((len(labels), num_classes))
    chances[known] = _one_hot(labels[known], num_classes)
    counted = np.where(known, 1.0, weight)[:, None]
    model = _maximise(counts, chances, alpha)
    for _ in range(num_iterations if weight else 0):
        chances[~known] = model.predict(counts[~known])
        model = _maximise(counts, chances * counted, alpha)
    return model


def _maximise(
    counts: Counts, chances: Float[np.ndarray, "cells classes"], alpha: float
) -> NaiveBayes:
    totals = chances.sum(0) + 1.0
    return NaiveBayes(
        log_likelihoods=_log_shares(_sums(counts, chances), alpha),
        log_priors=np.log(totals / totals.sum()),
    )


def _sums(
    counts: Counts, chances: Float[np.ndarray, "cells classes"]
) -> Float[np.ndarray, "features classes"]:
    """Counts of each feature in the cells of each class."""
    return np.asarray(counts.T.astype(np.float64) @ chances)


def _log_shares(
    sums: Float[np.ndarray, "features classes"], alpha: float
) -> Float[np.ndarray, "features classes"]:
    return np.log((sums + alpha) / (sums + alpha).sum(0))


def _one_hot(
    labels: Integer[np.ndarray, " cells"], num_classes: int
) -> Float[np.ndarray, "cells classes"]:
    return np.eye(num_classes)[labels]

"""Multinomial naive Bayes as numbers, without scikit-learn."""

import numpy as np
from jaxtyping import Float, Integer
from scipy import sparse


def log_likelihoods(
    counts: sparse.csr_matrix | sparse.csr_array,
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
    of_class = sparse.csr_matrix(
        (np.ones(len(labels)), (labels, np.arange(len(labels)))),
        shape=(num_classes, len(labels)),
    )
    sums = (of_class @ counts.astype(np.float64)).toarray() + alpha
    logs = np.log(sums / sums.sum(1, keepdims=True)).T
    return (logs - logs.mean(1, keepdims=True)).astype(np.float32)

"""Scores of a classifier, all read off its confusion matrix.

Averages run over the classes that occur in the labels or in the predictions, and
0 / 0 counts as 0: what scikit-learn does by default.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Integer
from scipy.cluster import hierarchy

from scmultimodal.schemas.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationScores:
    """How well the predicted classes fit.

    Attributes:
        accuracy: share of cells with the right class.
        mcc: Matthews correlation over all classes (Gorodkin's R_K), 0 where either
            side is constant.
        macro_f1: F1 averaged over classes, each weighing the same.
        weighted_f1: F1 averaged over classes by their number of cells.
    """

    accuracy: float
    mcc: float
    macro_f1: float
    weighted_f1: float


def confusion_matrix(
    labels: Integer[np.ndarray, " cells"],
    predictions: Integer[np.ndarray, " cells"],
    num_classes: int,
) -> Integer[np.ndarray, "classes classes"]:
    """Counts cells by true class (rows) and predicted class (columns).

    Raises:
        InputError: there is no cell, or a class lies outside 0…num_classes − 1.
    """
    for name, classes in (("labels", labels), ("predictions", predictions)):
        if not classes.size:
            raise InputError(name, "no cell to score", "Score at least one cell")
        outside = classes[(classes < 0) | (classes >= num_classes)]
        if outside.size:
            raise InputError(
                name,
                f"class {outside[0]} lies outside 0…{num_classes - 1}",
                "Leave unlabelled cells out and count all classes",
            )
    pairs = labels.astype(np.int64) * num_classes + predictions
    counts = np.bincount(pairs, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def score(
    labels: Integer[np.ndarray, " cells"],
    predictions: Integer[np.ndarray, " cells"],
    num_classes: int,
) -> ClassificationScores:
    """Scores predicted classes against the true ones.

    Raises:
        InputError: as `confusion_matrix`.
    """
    return score_confusion(confusion_matrix(labels, predictions, num_classes))


def score_confusion(
    matrix: Integer[np.ndarray, "classes classes"],
) -> ClassificationScores:
    """Scores a confusion matrix of counts (rows: true, columns: predicted)."""
    support, predicted, total = matrix.sum(1), matrix.sum(0), matrix.sum()
    _, _, f1 = _precision_recall_f1(matrix)
    present = (support + predicted) > 0
    return ClassificationScores(
        accuracy=float(matrix.trace() / total),
        mcc=_mcc(matrix),
        macro_f1=float(f1[present].mean()),
        weighted_f1=float(f1 @ support / total),
    )


def class_table(
    labels: Integer[np.ndarray, " cells"],
    predictions: Integer[np.ndarray, " cells"],
    class_names: Sequence[str],
) -> pd.DataFrame:
    """Precision, recall, F1 and numbers of cells, one row per class.

    Returns:
        Columns precision, recall, f1, support (cells of the class) and predicted
        (cells given the class), indexed by class name in the order of the classes.
    """
    matrix = confusion_matrix(labels, predictions, len(class_names))
    precision, recall, f1 = _precision_recall_f1(matrix)
    return pd.DataFrame(
        {
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "support": matrix.sum(1),
            "predicted": matrix.sum(0),
        },
        index=pd.Index(class_names, name="class"),
    )


def confusion_order(
    shares: Float[np.ndarray, "classes classes"],
) -> Int[np.ndarray, " classes"]:
    """Orders classes so that those confused with each other are neighbours.

    Average linkage on 1 − the mean of the two shares of confusion, with optimal leaf
    order.
    """
    if len(shares) < 3:
        return np.arange(len(shares))
    together = (shares + shares.T) / 2
    upper = np.triu_indices(len(shares), 1)
    tree = hierarchy.linkage(
        1 - together[upper], method="average", optimal_ordering=True
    )
    return hierarchy.leaves_list(tree).astype(np.int64)


def _precision_recall_f1(
    matrix: Integer[np.ndarray, "classes classes"],
) -> tuple[Float[np.ndarray, " classes"], ...]:
    """Per class; 0 where there is nothing to divide by."""
    hits, support, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    return (
        hits / np.maximum(predicted, 1),
        hits / np.maximum(support, 1),
        2 * hits / np.maximum(support + predicted, 1),
    )


def _mcc(matrix: Integer[np.ndarray, "classes classes"]) -> float:
    """Gorodkin (2004), doi:10.1016/j.compbiolchem.2004.09.006."""
    support = matrix.sum(1).astype(np.float64)
    predicted = matrix.sum(0).astype(np.float64)
    total = support.sum()
    covariance = matrix.trace() * total - support @ predicted
    spread = (total**2 - support @ support) * (total**2 - predicted @ predicted)
    return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0

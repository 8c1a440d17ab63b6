"""Whether the two modalities of a cell lie together in one space."""

import numpy as np
from jaxtyping import Float, Integer

from scmultimodal.evaluation import extra
from scmultimodal.schemas.errors import InputError

with extra.required():
    from sklearn.cross_decomposition import CCA
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

_AT_ONCE = 1_024
"""Cells whose distances to all others are in memory together."""


def foscttm(
    first: Float[np.ndarray, "cells dim"], second: Float[np.ndarray, "cells dim"]
) -> Float[np.ndarray, " cells"]:
    """Fraction of samples closer than the true match, of each cell, both ways.

    0 where a cell's other modality is nearest, .5 by chance; cells at the same distance
    count a half. Source: Liu et al. 2019, doi:10.4230/LIPIcs.WABI.2019.10.

    Args:
        first: vectors of cells from one modality.
        second: of the same cells from the other, in the same order.

    Raises:
        InputError: there are fewer than two cells.
    """
    number = len(first)
    if number < 2:
        raise InputError("cells", f"there are {number}", "Give two or more")
    found = np.zeros(number)
    for one, other in ((first, second), (second, first)):
        for start in range(0, number, _AT_ONCE):
            rows = np.arange(start, min(start + _AT_ONCE, number))
            distances = _squared_distances(one[rows], other)
            match = distances[np.arange(len(rows)), rows][:, None]
            closer = (distances < match).sum(1)
            same = (distances == match).sum(1) - 1
            found[rows] += (closer + same / 2) / (number - 1) / 2
    return found


def transfer_labels(
    reference: Float[np.ndarray, "reference dim"],
    labels: Integer[np.ndarray, " reference"],
    query: Float[np.ndarray, "query dim"],
    *,
    num_classes: int,
    num_neighbours: int = 15,
) -> Float[np.ndarray, "query classes"]:
    """Share of each class among the nearest labelled cells, whatever they were seen by.

    Args:
        reference: vectors of labelled cells.
        labels: class of each.
        query: vectors of the cells to annotate, of the same space.
        num_classes: number of classes.
        num_neighbours: cells that vote; all where there are fewer.
    """
    votes = min(num_neighbours, len(reference))
    found = []
    for start in range(0, len(query), _AT_ONCE):
        distances = _squared_distances(query[start : start + _AT_ONCE], reference)
        nearest = np.argpartition(distances, votes - 1, axis=1)[:, :votes]
        found.append(np.eye(num_classes)[labels[nearest]].mean(1))
    return np.concatenate(found)


def transfer_by_regression(
    reference: Float[np.ndarray, "reference dim"],
    labels: Integer[np.ndarray, " reference"],
    query: Float[np.ndarray, "query dim"],
    *,
    num_classes: int,
    penalty: float,
) -> Float[np.ndarray, "query classes"]:
    """What logistic regression on one modality says of cells seen by the other.

    Args:
        reference, labels, query, num_classes: as `transfer_labels`.
        penalty: C; no labelled cell of the other modality is there to choose it.
    """
    found = np.zeros((len(query), num_classes))
    with threadpool_limits(1):
        model = LogisticRegression(C=penalty, max_iter=2_000).fit(reference, labels)
        found[:, model.classes_] = model.predict_proba(query)
    return found


def canonical_variates(
    first: Float[np.ndarray, "cells dim"],
    second: Float[np.ndarray, "cells width"],
    train: Integer[np.ndarray, " train"],
    *,
    number: int,
) -> tuple[Float[np.ndarray, "cells variates"], Float[np.ndarray, "cells variates"]]:
    """Both modalities in one space by canonical correlation of paired training cells.

    Args:
        first: components of one modality.
        second: of the other, of the same cells.
        train: the cells it is fitted on.
        number: of variates, at most.
    """
    number = min(number, first.shape[1], second.shape[1])
    with threadpool_limits(1):
        model = CCA(number, max_iter=2_000).fit(first[train], second[train])
        return model.transform(first, second)


def _squared_distances(
    first: Float[np.ndarray, "rows dim"], second: Float[np.ndarray, "columns dim"]
) -> Float[np.ndarray, "rows columns"]:
    first, second = first.astype(np.float64), second.astype(np.float64)
    squares = np.square(first).sum(1)[:, None] + np.square(second).sum(1)
    return squares - 2 * first @ second.T

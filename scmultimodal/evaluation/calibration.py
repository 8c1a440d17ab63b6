"""Whether probabilities mean what they say, and when to say nothing.

A temperature and a threshold are chosen on validation cells alone.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int, Integer
from scipy import optimize, special

from scmultimodal.schemas.errors import InputError

_TEMPERATURES = (0.05, 20.0)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Reliability:
    """Cells by the probability of the class that was called.

    Attributes:
        confidence: mean probability of each bin; NaN where it is empty.
        accuracy: share of its cells that are right, likewise.
        cells: in each bin.
        error: expected calibration error: mean of |accuracy − confidence| over cells.
    """

    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]
    cells: Int[np.ndarray, " bins"]
    error: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """Calling a cell "unassigned" where the probability is below a threshold.

    Attributes:
        threshold: of the probability of the class that would be called.
        assigned: share of the cells that get a class.
        accuracy: among those; NaN where there is none.
    """

    threshold: float
    assigned: float
    accuracy: float


def reliability(
    probabilities: Float[np.ndarray, "cells classes"],
    labels: Integer[np.ndarray, " cells"],
    *,
    num_bins: int = 15,
) -> Reliability:
    """Compares confidence with accuracy in bins of equal width (Guo et al. 2017).

    Raises:
        InputError: there is no cell, or a row is no distribution.
    """
    confidence, right = _called(probabilities, labels)
    bins = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    cells = np.bincount(bins, minlength=num_bins)
    sums = [np.bincount(bins, v, num_bins) for v in (confidence, right)]
    with np.errstate(invalid="ignore"):
        means = [total / cells for total in sums]
    gaps = np.abs(sums[0] - sums[1]).sum() / len(labels)
    return Reliability(
        confidence=means[0], accuracy=means[1], cells=cells, error=float(gaps)
    )


def fit_temperature(
    logits: Float[np.ndarray, "cells classes"], labels: Integer[np.ndarray, " cells"]
) -> float:
    """What validation logits are divided by so that their likelihood is greatest."""
    if not len(labels):
        raise InputError("labels", "no cell to calibrate on", "Give validation cells")
    logits = logits.astype(np.float64)
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = special.log_softmax(logits / np.exp(log_temperature), axis=1)
        return -scaled[rows, labels].mean()

    bounds = np.log(_TEMPERATURES)
    found = optimize.minimize_scalar(loss, bounds=tuple(bounds), method="bounded")
    return float(np.exp(found.x))


def refusal_curve(
    probabilities: Float[np.ndarray, "cells classes"],
    labels: Integer[np.ndarray, " cells"],
) -> list[Refusal]:
    """What every threshold comes to, from calling all cells to calling few."""
    confidence, right = _called(probabilities, labels)
    order = np.argsort(-confidence, kind="stable")
    counts = np.arange(1, len(order) + 1)
    accuracy = np.cumsum(right[order]) / counts
    # Cells of the same confidence are assigned together.
    last = np.append(np.diff(confidence[order]) != 0, True)
    return [
        Refusal(
            threshold=float(confidence[order[i]]),
            assigned=float(counts[i] / len(order)),
            accuracy=float(accuracy[i]),
        )
        for i in np.flatnonzero(last)[::-1]
    ]


def choose_threshold(
    probabilities: Float[np.ndarray, "cells classes"],
    labels: Integer[np.ndarray, " cells"],
    *,
    accuracy: float = 0.9,
) -> Refusal:
    """The threshold that assigns most validation cells with at least this accuracy.

    Where none does, the one with the best accuracy.
    """
    curve = refusal_curve(probabilities, labels)
    enough = [point for point in curve if point.accuracy >= accuracy]
    if enough:
        return max(enough, key=lambda point: point.assigned)
    return max(curve, key=lambda point: (point.accuracy, point.assigned))


def refuse(
    probabilities: Float[np.ndarray, "cells classes"],
    labels: Integer[np.ndarray, " cells"],
    threshold: float,
) -> Refusal:
    """What a threshold comes to on other cells."""
    confidence, right = _called(probabilities, labels)
    kept = confidence >= threshold
    return Refusal(
        threshold=threshold,
        assigned=float(kept.mean()),
        accuracy=float(right[kept].mean()) if kept.any() else float("nan"),
    )


def novelty_auroc(
    probabilities: Float[np.ndarray, "cells classes"],
    is_new: Bool[np.ndarray, " cells"],
) -> float:
    """How well low confidence finds cells of types that training never saw.

    The chance that a new cell is less confident than a known one; a tie is a half.

    Raises:
        InputError: no cell is new, or all are.
    """
    if is_new.all() or not is_new.any():
        raise InputError("is_new", "all cells are of one kind", "Give cells of both")
    confidence = probabilities.max(1)
    values, place = np.unique(-confidence, return_inverse=True)
    new = np.bincount(place[is_new], minlength=len(values))
    known = np.bincount(place[~is_new], minlength=len(values))
    below = np.cumsum(known) - known
    wins = (new * (below + known / 2)).sum()
    return float(wins / (new.sum() * known.sum()))


def _called(
    probabilities: Float[np.ndarray, "cells classes"],
    labels: Integer[np.ndarray, " cells"],
) -> tuple[Float[np.ndarray, " cells"], Bool[np.ndarray, " cells"]]:
    """Probability of the class that is called, and whether it is right."""
    if not len(labels):
        raise InputError("labels", "no cell to judge", "Give at least one")
    off = np.abs(probabilities.sum(1) - 1) > 1e-3
    if off.any() or (probabilities < 0).any():
        raise InputError(
            "probabilities",
            f"{int(off.sum())} of {len(off)} rows do not sum to 1, or some are below 0",
            "Give probabilities, not logits",
        )
    return probabilities.max(1), probabilities.argmax(1) == labels

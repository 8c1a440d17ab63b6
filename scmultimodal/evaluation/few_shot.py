"""Few labels: which training cells keep theirs."""

import numpy as np
from jaxtyping import Int, Integer

from scmultimodal.schemas.errors import InputError

PER_TYPE = (1, 5, 10, 50)
"""Labelled cells of each type that curves are drawn at."""


def choose(
    labels: Integer[np.ndarray, " cells"],
    cells: Int[np.ndarray, " candidates"],
    per_type: int | None,
    *,
    seed: int,
) -> Int[np.ndarray, " chosen"]:
    """Draws so many cells of each type; all where a type has fewer.

    What is drawn for a smaller number is among what is drawn for a larger one, so that
    a curve has one set of cells that grows.

    Args:
        labels: class of every cell of the dataset.
        cells: those to draw from, all with a label: the training cells.
        per_type: cells of each type; None keeps all.
        seed: of the drawing.

    Returns:
        The cells, rising.

    Raises:
        InputError: a candidate has no label, or fewer than one cell is asked for.
    """
    if (labels[cells] < 0).any():
        raise InputError("cells", "some have no label", "Draw from labelled cells")
    if per_type is None:
        return np.sort(cells)
    if per_type < 1:
        raise InputError("per_type", f"is {per_type}", "Give 1 or more")
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.sort(cells))
    chosen = [order[labels[order] == label][:per_type] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))

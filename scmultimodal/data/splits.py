"""Training, validation and test cells: seeded, and stratified by class."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int64, Shaped

from scmultimodal.data.permutations import Stream, permutation
from scmultimodal.schemas.errors import InputError

SPLITS = ("train", "validation", "test", "left_out")
FRACTIONS = (0.7, 0.1, 0.2)
UNLABELLED = "unlabelled"


def stratified_split(
    labels: pd.Series | pd.Categorical | Sequence | Shaped[np.ndarray, " cells"],
    *,
    seed: int,
    fractions: tuple[float, float, float] = FRACTIONS,
    min_cells: int = 10,
) -> tuple[Shaped[np.ndarray, " cells"], dict[str, int]]:
    """Splits every class in the same proportions.

    The sizes of a class's parts differ from the exact proportions by less than one
    cell, except that no part of a class is empty. The result depends on the seed and
    on the order of the cells.

    Args:
        labels: class of each cell; missing or empty where it is unknown.
        seed: seed of the run.
        fractions: shares of training, validation and test; they sum to 1.
        min_cells: classes with fewer cells are left out, and so are unknown ones.

    Returns:
        The split of each cell (see `SPLITS`), and how many cells of which class were
        left out.

    Raises:
        InputError: fractions that make no split, or no class is large enough.
    """
    _check(fractions, min_cells)
    labels = pd.Series(labels).reset_index(drop=True)
    labels = labels.mask(labels.isna() | (labels.astype(str) == ""))
    codes, names = pd.factorize(labels.map(str, na_action="ignore"), sort=True)
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))
    left_out = {
        str(n): int(s) for n, s in zip(names, sizes, strict=True) if s < min_cells
    }
    if unknown := int((codes < 0).sum()):
        left_out[UNLABELLED] = unknown
    if len(names) == len(left_out.keys() - {UNLABELLED}):
        problem = f"no class has {min_cells} cells"
        raise InputError("labels", problem, "Choose another column or lower min_cells")
    order = permutation(len(labels), seed=seed, stream=Stream.SPLIT)
    result = np.full(len(labels), "left_out", dtype="<U10")
    for code in np.flatnonzero(sizes >= min_cells):
        members = order[codes[order] == code]
        result[members] = np.repeat(SPLITS[:3], apportion(len(members), fractions))
    return result, left_out


def random_split(
    num_cells: int, *, seed: int, fractions: tuple[float, float, float] = FRACTIONS
) -> Shaped[np.ndarray, " cells"]:
    """Splits cells without regard to their class; see `stratified_split`."""
    split, _ = stratified_split(
        np.full(num_cells, "any"), seed=seed, fractions=fractions, min_cells=3
    )
    return split


def apportion(
    size: int, fractions: tuple[float, float, float]
) -> Int64[np.ndarray, " splits"]:
    """Divides whole cells by largest remainder; a positive share gets at least one."""
    exact = size * np.asarray(fractions)
    parts = np.floor(exact).astype(np.int64)
    rest = np.argsort(parts - exact, kind="stable")[: size - parts.sum()]
    parts[rest] += 1
    for empty in np.flatnonzero((parts == 0) & (exact > 0)):
        parts[empty] += 1
        parts[parts.argmax()] -= 1
    return parts


def _check(fractions: tuple[float, float, float], min_cells: int) -> None:
    if min(fractions) < 0 or not np.isclose(sum(fractions), 1) or not fractions[0]:
        problem = f"fractions are {fractions}"
        raise InputError(
            "split", problem, "Give shares that sum to 1, training above 0"
        )
    if min_cells < 3:
        problem = f"min_cells is {min_cells}"
        raise InputError("split", problem, "Give 3 or more, one cell for each part")

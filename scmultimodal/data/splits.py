"""Training, validation and test cells: seeded, and stratified by class."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64, Shaped

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
    small, left_out = find_small_classes(labels, min_cells=min_cells)
    codes, _ = pd.factorize(_texts(labels), sort=True)
    order = permutation(len(small), seed=seed, stream=Stream.SPLIT)
    result = np.full(len(small), "left_out", dtype="<U10")
    for code in np.unique(codes[~small]):
        members = order[codes[order] == code]
        result[members] = np.repeat(SPLITS[:3], apportion(len(members), fractions))
    return result, left_out


def find_small_classes(
    labels: pd.Series | pd.Categorical | Sequence | Shaped[np.ndarray, " cells"],
    *,
    min_cells: int,
) -> tuple[Bool[np.ndarray, " cells"], dict[str, int]]:
    """Which cells are of a class that is too small, or of none.

    Args:
        labels: class of each cell; missing or empty where it is unknown.
        min_cells: of a class that is large enough.

    Returns:
        Those cells, and how many there are of which class.

    Raises:
        InputError: no class is large enough.
    """
    codes, names = pd.factorize(_texts(labels), sort=True)
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))
    found = {str(n): int(s) for n, s in zip(names, sizes, strict=True) if s < min_cells}
    if len(found) == len(names):
        named = isinstance(labels, pd.Series) and labels.name is not None
        raise InputError(
            f"column {labels.name!r}" if named else "labels",
            f"no class has {min_cells} cells",
            "Choose another column or lower min_cells",
        )
    if unknown := int((codes < 0).sum()):
        found[UNLABELLED] = unknown
    return (codes < 0) | (sizes < min_cells)[codes], found


def _texts(labels: pd.Series | pd.Categorical | Sequence | np.ndarray) -> pd.Series:
    labels = pd.Series(labels).reset_index(drop=True)
    labels = labels.mask(labels.isna() | (labels.astype(str) == ""))
    return labels.map(str, na_action="ignore")


def random_split(
    num_cells: int, *, seed: int, fractions: tuple[float, float, float] = FRACTIONS
) -> Shaped[np.ndarray, " cells"]:
    """Splits cells without regard to their class; see `stratified_split`."""
    split, _ = stratified_split(
        np.full(num_cells, "any"), seed=seed, fractions=fractions, min_cells=3
    )
    return split


def grouped_split(
    groups: pd.Series, *, seed: int, fractions: tuple[float, float, float] = FRACTIONS
) -> Shaped[np.ndarray, " cells"]:
    """Takes splits as they are given, or splits whole groups, such as donors.

    The largest group goes first, those of one size in a random order: each to the part
    that lacks most of its share of the cells, and to one that is empty at the end.

    Args:
        groups: of each cell its split (see `SPLITS`), or its group.
        seed: seed of the run.
        fractions: shares of training, validation and test; they sum to 1.

    Raises:
        InputError: a cell without a group, or fewer groups than there are parts.
    """
    _check(fractions, min_cells=3)
    names = groups.astype(object).where(groups.notna(), None)
    if set(names) <= set(SPLITS) and "train" in set(names):
        return names.to_numpy(dtype="<U10")
    if names.isna().any():
        cell = names.index[names.isna()][0]
        raise InputError(
            f"column {groups.name!r}", f"cell {cell} has no group", "Name all groups"
        )
    codes, found = pd.factorize(names.astype(str), sort=True)
    wanted = np.array(fractions)
    if len(found) < (wanted > 0).sum():
        raise InputError(
            f"column {groups.name!r}",
            f"has {len(found)} groups for {(wanted > 0).sum()} parts",
            "Take another column, or leave out --split-by",
        )
    sizes = np.bincount(codes, minlength=len(found))
    order = permutation(len(found), seed=seed, stream=Stream.SPLIT)
    order = order[np.argsort(-sizes[order], kind="stable")]
    lacking, part = wanted * len(codes), np.zeros(len(found), np.int64)
    empty = wanted > 0
    for place, group in enumerate(order.tolist()):
        left = len(order) - place
        choice = empty if left <= empty.sum() else wanted > 0
        part[group] = np.flatnonzero(choice)[np.argmax(lacking[choice])]
        lacking[part[group]] -= sizes[group]
        empty[part[group]] = False
    return np.array(SPLITS[:3], dtype="<U10")[part[codes]]


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

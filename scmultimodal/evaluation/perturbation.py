"""Whether what a model says of perturbed genes follows links that are known.

Each perturbed gene ranks the other genes by how they respond. Where a known link tells
which should respond, that ranking is judged as any: chance is an AUROC of one half, and
an average precision of the share of linked genes.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from scmultimodal.schemas.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinkRecovery:
    """How well links are recovered; means over the perturbed genes that are judged.

    Attributes:
        auroc: the chance that a linked gene responds more than one that is not; a tie
            is a half.
        average_precision: Σ precision × gain in recall, the strongest response first.
        chance: average precision of a guess: the share of linked genes.
        top: share of perturbed genes whose strongest response is a linked gene's; where
            several respond alike, the share of linked ones among them.
        judged: perturbed genes with a response, and with genes of both kinds.
    """

    auroc: float
    average_precision: float
    chance: float
    top: float
    judged: int


def link_recovery(
    effects: Float[np.ndarray, "perturbed genes"],
    planted: Bool[np.ndarray, "rows columns"],
    *,
    where: Bool[np.ndarray, "judged features"] | None = None,
) -> LinkRecovery:
    """Judges responses by known links, each perturbed gene by itself.

    Args:
        effects: more is a stronger response: give −log fold change where genes should
            fall together, or its absolute value where either way counts. A row with
            NaN, such as that of a gene that no cell had, is not judged.
        planted: which genes are linked to the perturbed one.
        where: which genes to judge by; leave the perturbed gene itself out unless it
            is the link. None takes all.

    Returns:
        NaN where no perturbed gene can be judged.

    Raises:
        InputError: shapes differ.
    """
    where = np.ones_like(planted) if where is None else where
    shapes = {effects.shape, planted.shape, where.shape}
    if len(shapes) > 1:
        raise InputError(
            "links", f"have shapes {sorted(shapes)}", "Give one: [perturbed, genes]"
        )
    rows = []
    for response, linked, judged in zip(effects, planted, where, strict=True):
        response, linked = response[judged], linked[judged]
        if np.isfinite(response).all() and linked.any() and not linked.all():
            best = linked[response == response.max()].mean()
            precision = average_precision(response, linked)
            rows.append((auroc(response, linked), precision, linked.mean(), best))
    means = np.mean(rows, axis=0).tolist() if rows else [math.nan] * 4
    names = ("auroc", "average_precision", "chance", "top")
    return LinkRecovery(**dict(zip(names, means, strict=True)), judged=len(rows))


def auroc(
    scores: Float[np.ndarray, " genes"], positive: Bool[np.ndarray, " genes"]
) -> float:
    """The chance that a positive scores above a negative; NaN where all are alike."""
    number = int(positive.sum())
    pairs = number * (len(positive) - number)
    if not pairs:
        return math.nan
    wins = stats.rankdata(scores)[positive].sum() - number * (number + 1) / 2
    return float(wins / pairs)


def average_precision(
    scores: Float[np.ndarray, " genes"], positive: Bool[np.ndarray, " genes"]
) -> float:
    """Σ precision × gain in recall from the highest score down; equal ones together.

    NaN where none is positive.
    """
    if not positive.any():
        return math.nan
    values, place = np.unique(-scores, return_inverse=True)
    right = np.bincount(place, positive, len(values))
    said = np.cumsum(np.bincount(place, minlength=len(values)))
    return float((np.cumsum(right) / said * right).sum() / positive.sum())


def same_programme(
    markers: Bool[np.ndarray, "programmes genes"],
) -> Bool[np.ndarray, "genes genes"]:
    """Which genes share a programme; no gene with itself."""
    members = markers.astype(np.int64)
    together = members.T @ members > 0
    np.fill_diagonal(together, False)
    return together

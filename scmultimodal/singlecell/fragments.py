"""ATAC reads to fragments."""

import dataclasses
import warnings
from typing import Literal, get_args

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from scmultimodal.schemas.errors import InputError

CountKind = Literal["reads", "fragments", "insertions"]
CountChoice = Literal["auto", "reads", "fragments", "insertions"]

NEARLY_ALL = 0.9


def reads_to_fragments(adata: AnnData) -> AnnData:
    """Estimated fragment counts ceil(r / 2) of read counts r (SPEC 2.2.2).

    The two ends of a fragment are two reads, of which a peak may hold only one. The
    same holds for Tn5 insertions. Source: doi:10.1038/s41592-023-02112-6.

    Returns:
        A copy with the new X, of the same type; `adata` is left as it is.
    """
    result = adata.copy()
    if sp.issparse(result.X):
        result.X.data = halve(result.X.data)
    else:
        result.X = halve(np.asarray(result.X))
    return result


@dataclasses.dataclass(frozen=True)
class CountHistogram:
    """How many counts there are above 0, and of which kind."""

    total: int = 0
    even: int = 0
    ones: int = 0
    twos: int = 0

    def __add__(self, other: "CountHistogram") -> "CountHistogram":
        """Both together."""
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return CountHistogram(*map(sum, zip(mine, theirs, strict=True)))

    @property
    def kind(self) -> Literal["reads", "fragments"]:
        """Reads come in pairs: nearly all are even, or 2 is more frequent than 1."""
        paired = self.even > NEARLY_ALL * self.total or self.twos > self.ones
        return "reads" if paired else "fragments"


def count_histogram(matrix: sp.spmatrix | np.ndarray) -> CountHistogram:
    """The histogram of a matrix, or of a part of one."""
    values = matrix.data if sp.issparse(matrix) else np.asarray(matrix).ravel()
    values = values[values != 0]
    ones, twos, even = ((values == 1), (values == 2), (values % 2 == 0))
    return CountHistogram(len(values), *(int(x.sum()) for x in (even, ones, twos)))


def detect_counts(matrix: sp.spmatrix | np.ndarray) -> Literal["reads", "fragments"]:
    """Tells reads from fragments by the histogram of the non-zero counts."""
    return count_histogram(matrix).kind


def choose_kind(histogram: CountHistogram, counts: CountChoice = "auto") -> CountKind:
    """What counts are taken for; warns where the histogram contradicts the choice.

    Raises:
        InputError: for an unknown `counts`.
    """
    if counts not in get_args(CountChoice):
        raise InputError(
            "counts", f"{counts!r} is unknown", f"Use one of {get_args(CountChoice)}"
        )
    detected = histogram.kind
    kind: CountKind = detected if counts == "auto" else counts
    if (kind == "fragments") != (detected == "fragments"):
        warnings.warn(
            f"ATAC counts are taken for {kind}, as asked, but their histogram looks "
            f"like {detected} (reads: nearly all even, or 2 more frequent than 1)",
            stacklevel=3,
        )
    return kind


def to_fragments(
    adata: AnnData, counts: CountChoice = "auto"
) -> tuple[AnnData, CountKind]:
    """Fragment counts, whatever was counted.

    Args:
        adata: ATAC counts.
        counts: what they count; "auto" decides by `detect_counts`. A warning is given
            where the histogram contradicts the choice.

    Returns:
        `adata` itself if it holds fragments, else a converted copy; and what the
        counts were taken for.

    Raises:
        InputError: for an unknown `counts`.
    """
    kind = choose_kind(count_histogram(adata.X), counts)
    return (adata if kind == "fragments" else reads_to_fragments(adata)), kind


def halve(counts: np.ndarray) -> np.ndarray:
    """ceil(counts / 2)."""
    if counts.dtype.kind in "iu":
        return counts // 2 + counts % 2
    return np.ceil(counts / 2).astype(counts.dtype)

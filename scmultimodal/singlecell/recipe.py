"""The recipe of SPEC 2.2, from raw counts to bins: the one place that chains it."""

import dataclasses

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Float64, Shaped

from scmultimodal.ops import csr
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import kernels
from scmultimodal.singlecell.binning import Strategy, bin_matrix, check_binning
from scmultimodal.singlecell.fragments import CountChoice
from scmultimodal.singlecell.peaks import PeakAggregation

MIN_FEATURE_FRACTION = 0.01
"""Of the study: the least share of non-zero genes of a cell."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """Numbers of the recipe; the defaults are the study's.

    Attributes:
        counts: what the ATAC counts count.
        min_feature_fraction: least share of non-zero genes of a training cell.
        target_sum: total that each cell is scaled to before log1p; None means the
            median depth of the training cells.
        aggregation: how peaks become gene-level values.
        strategy: how values are binned.
        num_bins: number of bins above 0.
    """

    counts: CountChoice = "auto"
    min_feature_fraction: float = MIN_FEATURE_FRACTION
    target_sum: float | None = 10_000.0
    aggregation: PeakAggregation = dataclasses.field(default_factory=PeakAggregation)
    strategy: Strategy = "gene_normalized"
    num_bins: int = 5

    def __post_init__(self):
        """Raises InputError for values out of range."""
        check_binning(self.strategy, self.num_bins)
        total = 1.0 if self.target_sum is None else self.target_sum
        if not 0 <= self.min_feature_fraction < 1 or total <= 0:
            raise InputError(
                "recipe",
                f"min_feature_fraction {self.min_feature_fraction}, "
                f"target_sum {self.target_sum}",
                "Use a fraction from 0 to below 1 and a positive total",
            )


def log_normalize(
    counts: sp.csr_matrix, target_sum: float | None, unit: float = 1.0
) -> sp.csr_matrix:
    """log1p of counts scaled to a common total: CSR float32 [cells, genes].

    Args:
        counts: whole units.
        target_sum: the total; None leaves the depth as it is.
        unit: value of one count. A common total cancels it.
    """
    factors = depth_factors(kernels.row_sums(counts), target_sum, unit)
    values = kernels.log_values(counts, factors)
    parts = (values, counts.indices, counts.indptr)
    return csr.wrap(*parts, counts.shape)


def depth_factors(
    depths: Shaped[np.ndarray, " cells"], target_sum: float | None, unit: float = 1.0
) -> Float64[np.ndarray, " cells"]:
    """What the counts of each cell are multiplied by before log1p.

    Args:
        depths: whole units of each cell.
        target_sum: the common total; None leaves the depth as it is.
        unit: value of one count. A common total cancels it.
    """
    if target_sum is None:
        return np.full(len(depths), unit)
    depths = depths.astype(np.float64)
    return np.divide(target_sum, depths, out=np.zeros_like(depths), where=depths > 0)


def bin_counts(
    counts: sp.csr_matrix,
    *,
    unit: float,
    target_sum: float | None,
    medians: Float[np.ndarray, " genes"] | None,
    strategy: Strategy,
    num_bins: int,
) -> sp.csr_matrix:
    """Steps 6 to 8 of SPEC 2.2: counts to bins, CSR uint8 [cells, genes].

    The strategy "counts" takes step 8 alone. `medians` are used by the strategy
    "gene_normalized" alone, so that the caller may pass those of the vocabulary
    whatever the strategy is.
    """
    if strategy == "absolute":
        values = log_normalize(counts, target_sum, unit)
        return bin_matrix(values, strategy=strategy, num_bins=num_bins)
    if strategy == "counts":
        parts = (counts.data * unit, counts.indices, counts.indptr)
        values = csr.wrap(*parts, counts.shape)
        return bin_matrix(values, strategy=strategy, num_bins=num_bins)
    check_binning(strategy, num_bins)
    if medians is None or strategy == "quantile":
        medians = np.ones(counts.shape[1], np.float32)
    factors = depth_factors(kernels.row_sums(counts), target_sum, unit)
    bins = kernels.count_bins(counts, factors, np.float32(medians), num_bins)
    return csr.wrap(bins, counts.indices, counts.indptr, counts.shape)

"""Values to bins 1…num_bins; 0 stays 0 (SPEC 2.2.8)."""

from typing import Literal, get_args

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from jaxtyping import Float

from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.kernels import percentile_bins
from scmultimodal.singlecell.normalization import divide_columns

Strategy = Literal["gene_normalized", "quantile", "absolute", "counts"]


def bin_values(
    adata: AnnData,
    *,
    strategy: Strategy = "gene_normalized",
    num_bins: int = 5,
    medians: Float[np.ndarray, " genes"] | None = None,
) -> AnnData:
    """Sorts the non-zero values of each cell into buckets.

    Args:
        adata: log1p-normalised values; for "counts" the counts themselves.
        strategy: "gene_normalized": percentiles of the cell's own non-zero values,
            each divided by its gene's median first; "quantile": the same without
            medians; "absolute": clip(floor(value), 1, num_bins); "counts":
            clip(ceil(value), 1, num_bins), which keeps the depth of a cell.
        num_bins: number of buckets, at most 254 (bin num_bins + 1 is the mask).
        medians: of each gene (`normalization.nonzero_medians`). None: the values are
            taken as already divided.

    Returns:
        A copy with X as CSR uint8. Equal values of a cell share a bin.

    Raises:
        InputError: for an unknown strategy, medians that it does not take, or NaN.
    """
    matrix = bin_matrix(
        sp.csr_matrix(adata.X), strategy=strategy, num_bins=num_bins, medians=medians
    )
    return AnnData(
        X=matrix, obs=adata.obs.copy(), var=adata.var.copy(), uns=dict(adata.uns)
    )


def bin_matrix(
    matrix: sp.csr_matrix,
    *,
    strategy: Strategy = "gene_normalized",
    num_bins: int = 5,
    medians: Float[np.ndarray, " genes"] | None = None,
) -> sp.csr_matrix:
    """`bin_values` on a matrix [cells, genes]; entries that are zero are dropped."""
    check_binning(strategy, num_bins)
    if medians is not None and strategy != "gene_normalized":
        raise InputError(
            f"strategy {strategy!r}",
            "does not divide by medians",
            "Leave medians out, or bin by 'gene_normalized'",
        )
    if not np.isfinite(matrix.data).all() or (matrix.data < 0).any():
        raise InputError(
            "values to bin", "some are NaN, infinite or negative", "Check the counts"
        )
    matrix = matrix.copy()
    matrix.eliminate_zeros()
    if medians is not None:
        matrix = divide_columns(matrix, medians)
    if strategy in ("absolute", "counts"):
        whole = np.floor if strategy == "absolute" else np.ceil
        bins = np.clip(whole(matrix.data), 1, num_bins).astype(np.uint8)
    else:
        values = matrix.data.astype(np.float32)
        bins = percentile_bins(values, matrix.indptr, num_bins)
    return sp.csr_matrix((bins, matrix.indices, matrix.indptr), shape=matrix.shape)


def check_binning(strategy: str, num_bins: int) -> None:
    """Raises InputError for an unknown strategy or a number of bins out of range."""
    if strategy not in get_args(Strategy):
        raise InputError(
            "strategy", f"{strategy!r} is unknown", f"Use one of {get_args(Strategy)}"
        )
    if not 1 <= num_bins <= 254:
        raise InputError("num_bins", f"{num_bins} is out of range", "Use 1 to 254")

"""Counts of cells of many depths, made comparable; no extra is needed for it."""

import numpy as np
from jaxtyping import Int
from scipy import sparse

from scmultimodal.schemas.errors import InputError

Sparse = sparse.csr_matrix | sparse.csr_array
"""[cells, features], by rows."""


def log1p_at_median_depth(
    counts: Sparse,
    train: Int[np.ndarray, " train"],
    *,
    dtype: type[np.floating] = np.float32,
) -> Sparse:
    """Scales each cell to the median depth of the training cells, then log1p.

    Args:
        counts: [cells, features], non-negative. An empty cell stays empty.
        train: rows of the training cells; those with counts give the median.
        dtype: of what is returned.

    Returns:
        A matrix of the same shape and kind.

    Raises:
        InputError: a value is negative or not finite, or no training cell has counts.
    """
    if not np.all(np.isfinite(counts.data)) or np.any(counts.data < 0):
        raise InputError(
            "counts", "a value is negative or not finite", "Pass raw counts"
        )
    depth = np.asarray(counts.sum(axis=1), np.float64).ravel()
    depths = depth[train][depth[train] > 0]
    if not depths.size:
        raise InputError("counts", "no training cell has counts", "Check the split")
    scale = np.median(depths) / np.where(depth > 0, depth, 1)
    features = counts.astype(np.float64, copy=True)
    features.data = np.log1p(features.data * np.repeat(scale, np.diff(counts.indptr)))
    return features.astype(dtype)

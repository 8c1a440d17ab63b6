"""Leaving out cells with too little measured."""

from typing import TypeVar

import mudata
import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from jaxtyping import Bool
from mudata import MuData

from scmultimodal.schemas.errors import InputError

Data = TypeVar("Data", AnnData, MuData)


def filter_cells(data: Data, *, min_feature_fraction: float = 0.01) -> Data:
    """Keeps the cells with enough non-zero features (SPEC 2.2.5).

    Args:
        data: gene-level values; of a MuData, a cell must pass in each modality it has.
        min_feature_fraction: least share of the features that must be non-zero.

    Returns:
        A new object; `uns["cell_filter"]` says how many cells there were and are.

    Raises:
        InputError: where no cell is left.
    """
    parts = data.mod if isinstance(data, MuData) else {"": data}
    keep = np.ones(data.n_obs, bool)
    failed = {}
    for name, adata in parts.items():
        passes = has_enough(adata.X, min_feature_fraction)
        keep[data.obs_names.get_indexer(adata.obs_names[~passes])] = False
        failed[name or "cells"] = int((~passes).sum())
    report = filter_report(keep, failed, min_feature_fraction, source="cells")
    with mudata.set_options(pull_on_update=False):
        result = data[keep].copy()
    result.uns["cell_filter"] = report
    return result


def has_enough(
    matrix: sp.spmatrix | np.ndarray, min_feature_fraction: float
) -> Bool[np.ndarray, " cells"]:
    """Which rows have at least this share of their features non-zero."""
    matrix = sp.csr_matrix(matrix)
    nonzero = np.bincount(
        np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[matrix.data != 0],
        minlength=matrix.shape[0],
    )
    # 0.07 * 100 is a little above 7: a share that is exact must pass.
    return nonzero >= min_feature_fraction * matrix.shape[1] * (1 - 1e-12)


def filter_report(
    keep: Bool[np.ndarray, " cells"],
    failed: dict[str, int],
    min_feature_fraction: float,
    *,
    source: object,
) -> dict:
    """Cells before and after. Raises InputError that names `source` if none is left."""
    if not keep.any():
        raise InputError(
            source,
            f"no cell of {len(keep)} has {min_feature_fraction:.2%} of its features "
            f"non-zero (failed: {failed})",
            "Lower min_feature_fraction, or check that the matrix holds counts",
        )
    return {
        "before": len(keep),
        "after": int(keep.sum()),
        "failed": failed,
        "min_feature_fraction": min_feature_fraction,
    }

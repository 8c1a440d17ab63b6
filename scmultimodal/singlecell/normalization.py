"""Depth normalisation, log1p and the non-zero medians (SPEC 2.2.6 and 2.2.7)."""

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from jaxtyping import Float, Float32

from scmultimodal.schemas.errors import InputError


def normalize_total(adata: AnnData, *, target_sum: float) -> AnnData:
    """Scales every cell to the same total; a cell without counts stays empty.

    Returns:
        A copy with X as CSR float32.
    """
    return _with_matrix(adata, scale_rows(sp.csr_matrix(adata.X), target_sum))


def log1p(adata: AnnData) -> AnnData:
    """Natural logarithm of 1 + x. Returns a copy with X as CSR float32."""
    matrix = sp.csr_matrix(adata.X, dtype=np.float32, copy=True)
    np.log1p(matrix.data, out=matrix.data)
    return _with_matrix(adata, matrix)


def nonzero_medians(adata: AnnData) -> Float32[np.ndarray, " genes"]:
    """Median of each feature's non-zero values; 1 where it has none.

    Computed on the training cells only: the medians are part of the vocabulary.
    """
    return column_medians(sp.csr_matrix(adata.X))


def scale_by_medians(adata: AnnData, medians: Float[np.ndarray, " genes"]) -> AnnData:
    """Divides each feature by its median. Returns a copy with X as CSR float32.

    Raises:
        InputError: where the medians do not fit the features or are not positive.
    """
    return _with_matrix(adata, divide_columns(sp.csr_matrix(adata.X), medians))


def scale_rows(matrix: sp.csr_matrix, target_sum: float) -> sp.csr_matrix:
    """`normalize_total` on a matrix [cells, features]."""
    totals = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel()
    factors = np.divide(target_sum, totals, out=np.zeros_like(totals), where=totals > 0)
    scaled = matrix.data * np.repeat(factors, np.diff(matrix.indptr))
    return _with_data(matrix, scaled)


def column_medians(matrix: sp.csr_matrix) -> Float32[np.ndarray, " genes"]:
    """`nonzero_medians` on a matrix [cells, genes]."""
    columns = matrix.tocsc(copy=True)
    columns.eliminate_zeros()
    medians = np.ones(columns.shape[1], np.float32)
    for column in np.flatnonzero(np.diff(columns.indptr)):
        span = slice(columns.indptr[column], columns.indptr[column + 1])
        medians[column] = np.median(columns.data[span])
    return medians


def divide_columns(
    matrix: sp.csr_matrix, medians: Float[np.ndarray, " genes"]
) -> sp.csr_matrix:
    """`scale_by_medians` on a matrix [cells, genes]."""
    if medians.shape != (matrix.shape[1],) or not (medians > 0).all():
        raise InputError(
            "medians",
            f"{len(medians)} medians, {int((medians <= 0).sum())} of them not "
            f"positive, for {matrix.shape[1]} features",
            "Use the medians that were fitted for these features",
        )
    return _with_data(matrix, matrix.data / medians[matrix.indices])


def _with_data(matrix: sp.csr_matrix, data: np.ndarray) -> sp.csr_matrix:
    parts = (data.astype(np.float32), matrix.indices.copy(), matrix.indptr.copy())
    return sp.csr_matrix(parts, shape=matrix.shape)


def _with_matrix(adata: AnnData, matrix: sp.csr_matrix) -> AnnData:
    """A copy of names and annotations with another X."""
    return AnnData(
        X=matrix, obs=adata.obs.copy(), var=adata.var.copy(), uns=dict(adata.uns)
    )

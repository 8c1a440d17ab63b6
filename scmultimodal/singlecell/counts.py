"""Count matrices: what is allowed in, and the one form they then have."""

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from scmultimodal.schemas.errors import InputError


def check_counts(adata: AnnData, source: object) -> None:
    """Checks that `adata` holds counts under unique names.

    Args:
        adata: cells by features, sparse or dense.
        source: file or object to name in an error.

    Raises:
        InputError: for no cells, features or counts; names that occur twice; a broken
            sparse matrix; values that are NaN, infinite, negative or fractional.
    """
    _check_names(adata, source)
    check_structure(adata, source)
    matrix = _sparse(adata, source)
    if matrix.nnz == 0 or not matrix.data.any():
        raise InputError(source, "holds no counts at all", "Is this the right layer?")
    _check_values(adata, matrix, source)


def count_matrix(adata: AnnData, source: object) -> sp.csr_matrix:
    """Checked counts as a new CSR int32 matrix [cells, features] without stored zeros.

    Raises:
        InputError: as `check_counts`.
    """
    check_counts(adata, source)
    matrix = sp.csr_matrix(_sparse(adata, source), dtype=np.int32, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def check_structure(adata: AnnData, source: object) -> None:
    """Raises InputError where X or a layer is a broken CSR or CSC matrix.

    Most operations on such a matrix end the process rather than raise.
    """
    for matrix in (adata.X, *adata.layers.values()):
        if sp.issparse(matrix) and matrix.format in ("csr", "csc"):
            try:
                matrix.check_format(full_check=True)
            except ValueError as error:
                raise InputError(
                    source,
                    f"a sparse matrix is broken ({error})",
                    "Write the file again",
                ) from error


def integer_layers(adata: AnnData) -> list[str]:
    """Names of the layers whose values are all counts: what an error may suggest."""
    return [
        name
        for name, layer in adata.layers.items()
        if _is_count(layer.data if sp.issparse(layer) else np.asarray(layer)).all()
    ]


def _check_names(adata: AnnData, source: object) -> None:
    for kind, names in (("cell", adata.obs_names), ("feature", adata.var_names)):
        if not len(names):
            raise InputError(
                source,
                f"is empty: it has no {kind}s",
                "Leave the modality out, or give one with cells and features",
            )
        if names.has_duplicates:
            first = names[names.duplicated()][0]
            raise InputError(
                source,
                f"{kind} name {first!r} occurs {int((names == first).sum())} times",
                f"Make the {kind} names unique",
            )


def _sparse(adata: AnnData, source: object) -> sp.spmatrix:
    """The matrix of `adata` as CSR or CSC."""
    matrix = adata.X
    if matrix is None:
        raise InputError(
            source, "has no matrix X", "Put the counts into X, or name a layer"
        )
    if not sp.issparse(matrix):
        return sp.csr_matrix(np.asarray(matrix))
    if matrix.format not in ("csr", "csc"):
        return matrix.tocsr()
    return matrix


def _is_count(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "bu":
        return np.ones(values.shape, bool)
    with np.errstate(invalid="ignore"):
        whole = True if values.dtype.kind == "i" else np.floor(values) == values
    return whole & (values >= 0) & (values <= np.iinfo(np.int32).max)


def _check_values(adata: AnnData, matrix: sp.spmatrix, source: object) -> None:
    if matrix.data.dtype.kind not in "buif":
        raise InputError(
            source, f"X holds {matrix.data.dtype} values", "Counts are numbers"
        )
    wrong = np.flatnonzero(~_is_count(matrix.data))
    if not wrong.size:
        return
    value = matrix.data[wrong[0]]
    major = int(np.searchsorted(matrix.indptr, wrong[0], side="right")) - 1
    minor = int(matrix.indices[wrong[0]])
    cell, feature = (major, minor) if matrix.format == "csr" else (minor, major)
    layers = integer_layers(adata)
    raise InputError(
        source,
        f"value {value:g} of feature {adata.var_names[feature]!r} in cell "
        f"{adata.obs_names[cell]!r} is not a count ({wrong.size} such values)",
        f"Raw counts are needed: layer {layers[0]!r} holds such"
        if layers
        else "Raw counts (whole numbers from 0) are needed, in X or in a named layer",
    )

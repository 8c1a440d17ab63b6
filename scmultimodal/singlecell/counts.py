"""Count matrices: what is allowed in, and the one form they then have."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from jaxtyping import Shaped

from scmultimodal.schemas.errors import InputError

MOST = 2**24
"""Of one count: beyond any real one, and small enough that a gene's weighted sum over
forty peaks is an int32 still."""


def check_counts(adata: AnnData, source: object) -> None:
    """Checks that `adata` holds counts under unique names.

    Args:
        adata: cells by features, sparse or dense.
        source: file or object to name in an error.

    Raises:
        InputError: for no cells, features or counts; names that occur twice; a broken
            sparse matrix; values that are NaN, infinite, negative or fractional.
    """
    check_names(adata, source)
    check_structure(adata, source)
    matrix = _sparse(adata, source)
    if matrix.nnz == 0 or not matrix.data.any():
        raise InputError(source, "holds no counts at all", "Is this the right layer?")
    place = _places(matrix, adata.obs_names, adata.var_names)
    check_values(matrix.data, place, source, integer_layers(adata))


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


def clean_rows(
    matrix: sp.csr_matrix | sp.csc_matrix,
    cells: pd.Index,
    features: pd.Index,
    source: object,
) -> sp.csr_matrix:
    """Part of a matrix as CSR int32 without stored zeros, its values checked.

    Args:
        matrix: [cells, features] of a file; its structure has been checked.
        cells: the names of the rows.
        features: the names of the columns.
        source: file to name in an error.

    Raises:
        InputError: values that are NaN, infinite, negative or fractional.
    """
    check_values(matrix.data, _places(matrix, cells, features), source)
    clean = sp.csr_matrix(matrix, dtype=np.int32, copy=matrix.data.dtype == np.int32)
    clean.sum_duplicates()
    clean.eliminate_zeros()
    return clean


def check_values(
    values: Shaped[np.ndarray, " values"],
    place: Callable[[int], tuple[object, object]],
    source: object,
    layers: Sequence[str] = (),
) -> None:
    """Checks that values are counts.

    Args:
        values: of a matrix.
        place: the cell and the feature of a value, by its number.
        source: file to name in an error.
        layers: where counts are instead, for the error.

    Raises:
        InputError: values that are NaN, infinite, negative or fractional.
    """
    if values.dtype.kind not in "buif":
        raise InputError(source, f"X holds {values.dtype} values", "Counts are numbers")
    wrong = np.flatnonzero(~_is_count(values))
    if not wrong.size:
        return
    cell, feature = place(int(wrong[0]))
    raise InputError(
        source,
        f"value {values[wrong[0]]:g} of feature {feature!r} in cell {cell!r} is not a "
        f"count ({wrong.size} such values)",
        f"Raw counts are needed: layer {layers[0]!r} holds such"
        if layers
        else "Raw counts (whole numbers from 0) are needed, in X or in a named layer",
    )


def integer_layers(adata: AnnData) -> list[str]:
    """Names of the layers whose values are all counts: what an error may suggest."""
    return [
        name
        for name, layer in adata.layers.items()
        if _is_count(layer.data if sp.issparse(layer) else np.asarray(layer)).all()
    ]


def check_names(adata: AnnData, source: object) -> None:
    """Raises InputError where there are no cells or features, or two of one name."""
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
    if values.dtype.kind == "b":
        return np.ones(values.shape, bool)
    with np.errstate(invalid="ignore"):
        whole = np.floor(values) == values if values.dtype.kind == "f" else True
    return whole & (values >= 0) & (values <= np.float64(MOST))


def _places(
    matrix: sp.spmatrix, cells: pd.Index, features: pd.Index
) -> Callable[[int], tuple[object, object]]:
    def place(number: int) -> tuple[object, object]:
        major = int(np.searchsorted(matrix.indptr, number, side="right")) - 1
        minor = int(matrix.indices[number])
        cell, feature = (major, minor) if matrix.format == "csr" else (minor, major)
        return cells[cell], features[feature]

    return place

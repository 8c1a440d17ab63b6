"""Sparse matrices in CSR form."""

import numpy as np
from jaxtyping import Int
from scipy import sparse

Csr = sparse.csr_matrix | sparse.csr_array


def canonical(matrix: Csr) -> Csr:
    """Returns the matrix with sorted columns and no stored zeros; copies if it must."""
    if matrix.has_canonical_format and matrix.data.all():
        return matrix
    copy = matrix.copy()
    copy.sum_duplicates()
    copy.eliminate_zeros()
    return copy


def wrap(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_matrix:
    """Wraps arrays that are known to be canonical; scipy would look at each index."""
    index = np.int32 if max(len(data), *shape) < 2**31 else np.int64
    matrix = sparse.csr_matrix(shape, dtype=data.dtype)
    matrix.data, matrix.indices = data, indices.astype(index, copy=False)
    matrix.indptr = indptr.astype(index, copy=False)
    matrix.has_canonical_format = True
    return matrix


def take_rows(
    matrix: sparse.csr_matrix, rows: Int[np.ndarray, " rows"]
) -> sparse.csr_matrix:
    """Rows by number, in the order given; an empty one where it is −1."""
    if np.array_equal(rows, np.arange(matrix.shape[0])):
        return matrix
    empty = sparse.csr_matrix((1, matrix.shape[1]), dtype=matrix.dtype)
    return sparse.csr_matrix(sparse.vstack([matrix, empty], format="csr")[rows])

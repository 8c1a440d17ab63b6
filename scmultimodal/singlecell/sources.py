"""Counts that are read a few rows at a time, wherever they lie."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import h5py
import numpy as np
import scipy.sparse as sp
from jaxtyping import Int

from scmultimodal.schemas.errors import InputError, first_line

_VALUES_AT_ONCE = 2**23
_REMEDY = "Copy or write the file again"


@runtime_checkable
class CountRows(Protocol):
    """A matrix [cells, features] by row. Values are as they stand in the file."""

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and features."""
        ...

    def rows(self, start: int, stop: int) -> sp.csr_matrix:
        """Returns some rows, the structure of which is sound.

        Raises:
            InputError: the file is damaged there.
        """
        ...


class MatrixRows:
    """A matrix in memory."""

    def __init__(self, matrix: sp.spmatrix | np.ndarray):
        """Takes it as it is; CSC is turned once."""
        self._matrix = matrix.tocsr() if sp.issparse(matrix) else matrix
        self.shape = tuple(matrix.shape)

    def rows(self, start: int, stop: int) -> sp.csr_matrix:
        """Returns some rows."""
        return sp.csr_matrix(self._matrix[start:stop])


class DenseRows:
    """A dataset of two axes in an HDF5 file."""

    def __init__(self, path: Path, name: str):
        """Looks at the shape; reads nothing."""
        self.path, self._name = path, name
        with h5py.File(path, "r") as file:
            self.shape = tuple(file[name].shape)

    def rows(self, start: int, stop: int) -> sp.csr_matrix:
        """Returns some rows."""
        with reading(self.path, self._name) as dataset:
            return sp.csr_matrix(dataset[start:stop])


class SparseRows:
    """A compressed matrix in an HDF5 file: `data`, `indices`, `indptr` of a group.

    Rows are what `indptr` points to: cells of an AnnData's CSR, and of Cell Ranger's
    features × cells by column.
    """

    def __init__(self, path: Path, name: str, shape: tuple[int, int]):
        """Reads the pointers and checks them against the sizes.

        Raises:
            InputError: they do not fit.
        """
        self.path, self.shape, self._name = path, shape, name
        with reading(path, name) as group:
            indptr = group["indptr"][:]
            sizes = {key: group[key].shape for key in ("data", "indices")}
            kinds = {group[key].dtype.kind for key in ("indptr", "indices")}
        if (
            indptr.shape != (shape[0] + 1,)
            or not kinds <= {"i", "u"}
            or indptr[0] != 0
            or (indptr[1:] < indptr[:-1]).any()
            or any(size != (int(indptr[-1]),) for size in sizes.values())
        ):
            problem = f"a sparse matrix is broken: indptr of {name} does not fit"
            raise InputError(path, problem, _REMEDY)
        self._indptr = indptr.astype(np.int64)

    def rows(self, start: int, stop: int) -> sp.csr_matrix:
        """Returns some rows."""
        first, last = self._indptr[start], self._indptr[stop]
        with reading(self.path, self._name) as group:
            data, indices = group["data"][first:last], group["indices"][first:last]
        if len(indices) and not 0 <= indices.min() <= indices.max() < self.shape[1]:
            outside = indices.max() if indices.min() >= 0 else indices.min()
            raise InputError(
                self.path,
                f"a sparse matrix is broken: {self._name} names column {outside} "
                f"of {self.shape[1]}",
                _REMEDY,
            )
        indptr = self._indptr[start : stop + 1] - first
        return sp.csr_matrix(
            (data, indices, indptr), shape=(stop - start, self.shape[1])
        )

    def within(self, start: int, values: int) -> int:
        """The end of the rows from `start` that hold so many values; at least one."""
        most = self._indptr[start] + values
        stop = int(np.searchsorted(self._indptr, most, side="right")) - 1
        return max(start + 1, stop)


class Columns:
    """Some columns of other rows."""

    def __init__(self, whole: CountRows, columns: Int[np.ndarray, " chosen"]):
        """Names the columns."""
        self._whole, self._columns = whole, columns
        self.shape = (whole.shape[0], len(columns))

    def rows(self, start: int, stop: int) -> sp.csr_matrix:
        """Returns some rows."""
        return self._whole.rows(start, stop)[:, self._columns]


class SideBySide:
    """Matrices of the same cells, one beside the other."""

    def __init__(self, parts: list[CountRows]):
        """Takes them in order."""
        self._parts = parts
        self.shape = (parts[0].shape[0], sum(part.shape[1] for part in parts))

    def rows(self, start: int, stop: int) -> sp.csr_matrix:
        """Returns some rows."""
        return sp.hstack([p.rows(start, stop) for p in self._parts], format="csr")


def column_blocks(columns: SparseRows) -> Iterator[tuple[int, sp.csc_matrix]]:
    """A matrix that is compressed by column, some columns after the other.

    Args:
        columns: the matrix on its side: [features, cells].

    Yields:
        The number of the first column, and [cells, some features].
    """
    first = 0
    while first < columns.shape[0]:
        last = columns.within(first, _VALUES_AT_ONCE)
        yield first, columns.rows(first, last).T
        first = last


@contextlib.contextmanager
def reading(path: Path, name: str) -> Iterator[h5py.Group | h5py.Dataset]:
    """A node of an HDF5 file; what goes wrong while it is read is an InputError."""
    try:
        with h5py.File(path, "r") as file:
            yield file[name]
    except InputError:
        raise
    except Exception as error:  # h5py, anndata and numpy raise whatever they meet
        problem = f"{name} cannot be read ({first_line(error)})"
        raise InputError(path, problem, _REMEDY) from error

"""Sparse matrices on disk as flat memory-mapped arrays, split over shards.

One shard of one modality is four `.npy` files in CSR form: `indptr`, `indices`,
`counts` and `bins` (the last two share the first two). Only rows that are asked for
are read. All shards of a modality together are one `ShardedMatrix`.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int64, Integer, Shaped, UInt, UInt8
from scipy import sparse

from scmultimodal.schemas.errors import InputError

Csr = sparse.csr_matrix | sparse.csr_array
Values = Literal["bins", "counts"]

ARRAYS = ("indptr", "indices", "counts", "bins")
REMEDY = "Copy the prepared dataset again, or prepare it anew"


def index_dtype(num_genes: int) -> np.dtype:
    """Returns the type of column indices: 16 bits where they suffice."""
    return np.dtype(np.uint16 if num_genes < 65_536 else np.uint32)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Shard:
    """One shard of one modality.

    Attributes:
        path: where the arrays lie, up to the array's name: `shards/00000/rna`.
        indptr: where each cell's entries begin; one more for the end.
        indices: gene of each entry, increasing within a cell.
        counts: count of each entry, above 0.
        bins: bin of each entry, 1…num_bins.
    """

    path: Path
    indptr: UInt[np.ndarray, " offsets"]
    indices: UInt[np.ndarray, " nonzeros"]
    counts: UInt[np.ndarray, " nonzeros"]
    bins: UInt8[np.ndarray, " nonzeros"]

    @classmethod
    def open(cls, path: Path, *, num_cells: int) -> "Shard":
        """Maps the four arrays into memory and checks that they fit each other.

        Raises:
            InputError: an array cannot be read or does not fit; names the file.
        """
        arrays = {name: read_array(array_path(path, name)) for name in ARRAYS}
        _check_indptr(array_path(path, "indptr"), arrays["indptr"], num_cells)
        for name in ("indices", "counts", "bins"):
            length, expected = len(arrays[name]), arrays["indptr"][-1]
            if length != expected:
                problem = f"has {length} entries, not {expected} as indptr says"
                raise InputError(array_path(path, name), problem, REMEDY)
        if arrays["bins"].dtype != np.uint8:
            problem = f"holds {arrays['bins'].dtype}, not uint8"
            raise InputError(array_path(path, "bins"), problem, REMEDY)
        return cls(path=path, **arrays)


def array_path(path: Path, name: str) -> Path:
    """Returns the file of one array of a shard."""
    return path.with_name(f"{path.name}.{name}.npy")


def read_array(path: Path, *, kind: str = "u") -> Shaped[np.ndarray, " entries"]:
    """Maps an array of one axis into memory, read-only.

    Args:
        path: a `.npy` file.
        kind: NumPy's letter for what it must hold: "u" unsigned integers, "b" booleans.

    Raises:
        InputError: the file is missing, or is not one whole array of that kind.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        whole = array.offset + array.nbytes == path.stat().st_size
    except FileNotFoundError:
        raise InputError(path, "is missing", REMEDY) from None
    except Exception as error:  # a damaged header raises whatever its parser meets
        raise InputError(path, f"cannot be read ({error})", REMEDY) from None
    if not (whole and array.ndim == 1 and array.dtype.kind == kind):
        problem = f"is not one whole array of kind {kind!r}, but {array.dtype}"
        raise InputError(path, f"{problem} {array.shape}", REMEDY)
    if not array.dtype.isnative:
        problem = f"has the byte order of another machine ({array.dtype})"
        raise InputError(path, problem, REMEDY)
    return np.asarray(array)


def write_counts(path: Path, counts: Csr, *, count_dtype: np.dtype) -> None:
    """Writes the counts of one shard.

    Args:
        path: as `Shard.path`.
        counts: counts [cells, genes], in canonical form.
        count_dtype: the type of all counts of this modality.
    """
    _save(path, "indptr", counts.indptr.astype(np.uint64))
    _save(path, "indices", counts.indices.astype(index_dtype(counts.shape[1])))
    _save(path, "counts", counts.data.astype(count_dtype))


def write_bins(path: Path, counts: Csr, bins: Csr) -> None:
    """Writes the bins of one shard.

    Raises:
        ValueError: the bins are not 1…255 at exactly the places of the counts.
    """
    same = np.array_equal(counts.indptr, bins.indptr) and np.array_equal(
        counts.indices, bins.indices
    )
    if not same or bins.data.min(initial=1) < 1 or bins.data.max(initial=1) > 255:
        raise ValueError("bin_function must give every non-zero count a bin in 1…255")
    _save(path, "bins", bins.data.astype(np.uint8))


def _save(path: Path, name: str, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(array_path(path, name), array, allow_pickle=False)


class ShardedMatrix:
    """The rows of all shards of one modality, in order."""

    def __init__(self, shards: Sequence[Shard], num_genes: int):
        """Lays the shards' rows end to end; keeps only `indptr` in memory."""
        self._shards = tuple(shards)
        self._num_genes = num_genes
        sizes = [len(shard.indptr) - 1 for shard in self._shards]
        self._first_cell = np.cumsum([0, *sizes])
        self._starts = np.concatenate([shard.indptr[:-1] for shard in self._shards])
        self._starts = self._starts.astype(np.int64)
        self.lengths = np.concatenate([np.diff(s.indptr) for s in self._shards])
        self.lengths = self.lengths.astype(np.int64)
        self.lengths.flags.writeable = False

    def rows(self, cells: Integer[np.ndarray, " rows"], values: Values) -> Csr:
        """Gathers rows in the order given; a cell may be asked for twice.

        Raises:
            IndexError: there is no such cell.
            InputError: a column index lies beyond the last gene.
        """
        if len(cells) and not 0 <= cells.min() <= cells.max() < len(self.lengths):
            raise IndexError(f"cells are numbered 0 to {len(self.lengths) - 1}")
        lengths = self.lengths[cells]
        indptr = np.concatenate(([0], np.cumsum(lengths)))
        shard_of = np.searchsorted(self._first_cell, cells, side="right") - 1
        touched = np.unique(shard_of).tolist()
        if len(touched) == 1:
            source = spans(self._starts[cells], lengths)
            indices, data = self._take(touched[0], source, values)
        else:
            indices = np.empty(indptr[-1], index_dtype(self._num_genes))
            data = np.empty(indptr[-1], self._dtype(values))
            for number in touched:
                mine = np.flatnonzero(shard_of == number)
                source = spans(self._starts[cells[mine]], lengths[mine])
                target = spans(indptr[mine], lengths[mine])
                indices[target], data[target] = self._take(number, source, values)
        shape = (len(cells), self._num_genes)
        return canonical_csr(data, indices, indptr, shape)

    @property
    def cells_of_shards(self) -> list[Int64[np.ndarray, " cells"]]:
        """The cells of each shard."""
        return np.split(np.arange(len(self.lengths)), self._first_cell[1:-1])

    def _take(
        self, number: int, entries: Int64[np.ndarray, " nonzeros"], values: Values
    ):
        shard = self._shards[number]
        indices = shard.indices[entries]
        if len(indices) and indices.max() >= self._num_genes:
            problem = f"names gene {indices.max()} of {self._num_genes}"
            raise InputError(array_path(shard.path, "indices"), problem, REMEDY)
        return indices, getattr(shard, values)[entries]

    def _dtype(self, values: Values) -> np.dtype:
        return np.result_type(*(getattr(s, values).dtype for s in self._shards))


def spans(
    starts: Int64[np.ndarray, " spans"], lengths: Int64[np.ndarray, " spans"]
) -> Int64[np.ndarray, " nonzeros"]:
    """Returns `start, start + 1, …` of every span, one after the other."""
    ends = np.cumsum(lengths)
    total = ends[-1] if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)


def canonical(matrix: Csr) -> Csr:
    """Returns the matrix with sorted columns and no stored zeros; copies if it must."""
    if matrix.has_canonical_format and matrix.data.all():
        return matrix
    copy = matrix.copy()
    copy.sum_duplicates()
    copy.eliminate_zeros()
    return copy


def canonical_csr(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_matrix:
    """Wraps arrays that are known to be sorted and free of duplicates."""
    matrix = sparse.csr_matrix((data, indices, indptr), shape=shape)
    matrix.has_canonical_format = True
    return matrix


def _check_indptr(
    file: Path, indptr: UInt[np.ndarray, " offsets"], num_cells: int
) -> None:
    if len(indptr) != num_cells + 1:
        raise InputError(
            file, f"has {len(indptr)} entries, not {num_cells + 1}", REMEDY
        )
    if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        raise InputError(file, "does not rise from 0", REMEDY)

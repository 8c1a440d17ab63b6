"""Sparse matrices on disk as flat memory-mapped arrays, split over shards.

One shard of one modality is four `.npy` files in CSR form: `indptr`, `indices`,
`counts` and `bins` (the last two share the first two). Only rows that are asked for
are read. All shards of a modality together are one `ShardedMatrix`.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int64, Integer, Shaped, UInt, UInt8
from scipy import sparse

from scmultimodal.data import gather
from scmultimodal.ops import csr
from scmultimodal.ops.csr import Csr
from scmultimodal.schemas.errors import InputError

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

    @classmethod
    def in_memory(cls, name: str, bins: Csr) -> "Shard":
        """Takes bins in canonical form; they stand in for the counts too."""
        values = bins.data.view()
        values.flags.writeable = False  # As on disk: one type of array to compile for.
        indices = bins.indices.astype(index_dtype(bins.shape[1]))
        indices.flags.writeable = False
        indptr = bins.indptr.astype(np.uint64)
        path = Path(name)
        return cls(
            path=path, indptr=indptr, indices=indices, counts=values, bins=values
        )


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
        self.num_genes = num_genes
        sizes = [len(shard.indptr) - 1 for shard in self._shards]
        self._first_cell = np.cumsum([0, *sizes])
        self._starts = np.concatenate([shard.indptr[:-1] for shard in self._shards])
        self._starts = self._starts.astype(np.int64)
        self.lengths = np.concatenate([np.diff(s.indptr) for s in self._shards])
        self.lengths = self.lengths.astype(np.int64)
        self.lengths.flags.writeable = False

    @classmethod
    def in_memory(cls, name: str, bins: Csr) -> "ShardedMatrix":
        """Takes bins in canonical form; they stand in for the counts too."""
        num_genes = bins.shape[1]
        return cls([Shard.in_memory(name, bins)], num_genes)

    def dense(
        self, cells: Integer[np.ndarray, " rows"]
    ) -> UInt8[np.ndarray, "rows genes"]:
        """Returns the bins of cells in the order given, 0 where none is stored.

        Args:
            cells: positions; a row of zeros where it is −1 (`sampling.FILLER`).

        Raises:
            IndexError: there is no such cell.
            InputError: the genes of a cell are damaged; names the file.
        """
        bins = np.zeros((len(cells), self.num_genes), np.uint8)
        for shard, piece in self._pieces(cells, "bins"):
            self._check(shard, piece, gather.scatter(piece, bins))
        return bins

    def entries(
        self, cells: Integer[np.ndarray, " rows"], values: Values = "bins"
    ) -> gather.Entries:
        """Returns what is stored of cells, in the order given.

        Args:
            cells: positions; nothing where it is −1 (`sampling.FILLER`).
            values: which values.

        Raises:
            IndexError: there is no such cell.
            InputError: the genes of a cell are damaged; names the file.
        """
        pieces = list(self._pieces(cells, values))
        lengths = np.where(cells < 0, 0, self.lengths[cells])
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        genes = np.empty(offsets[-1], index_dtype(self.num_genes))
        data = np.empty(offsets[-1], self._dtype(values))
        for shard, piece in pieces:
            row = gather.copy(piece, offsets, self.num_genes, genes, data)
            self._check(shard, piece, row)
        return gather.Entries(lengths=lengths, genes=genes, values=(data,))

    def rows(
        self, cells: Integer[np.ndarray, " rows"], values: Values
    ) -> sparse.csr_matrix:
        """Returns what is stored of cells as a matrix of scipy; otherwise `entries`."""
        if len(cells) and cells.min() < 0:
            raise self._no_such_cell()
        found = self.entries(cells, values)
        indptr = np.concatenate(([0], np.cumsum(found.lengths)))
        shape = (len(cells), self.num_genes)
        return csr.wrap(found.values[0], found.genes, indptr, shape)

    @property
    def cells_of_shards(self) -> list[Int64[np.ndarray, " cells"]]:
        """The cells of each shard."""
        return np.split(np.arange(len(self.lengths)), self._first_cell[1:-1])

    def _pieces(
        self, cells: Integer[np.ndarray, " rows"], values: Values
    ) -> Iterator[tuple[Shard, gather.Piece]]:
        """Yields the rows that each shard has."""
        if len(cells) and not -1 <= cells.min() <= cells.max() < len(self.lengths):
            raise self._no_such_cell()
        shard_of = np.searchsorted(self._first_cell, cells, side="right") - 1
        for number in np.unique(shard_of[shard_of >= 0]).tolist():
            shard = self._shards[number]
            rows = np.flatnonzero(shard_of == number)
            yield (
                shard,
                gather.Piece(
                    rows=rows,
                    starts=self._starts[cells[rows]],
                    lengths=self.lengths[cells[rows]],
                    genes=shard.indices,
                    values=getattr(shard, values),
                ),
            )

    def _check(self, shard: Shard, piece: gather.Piece, row: int | None) -> None:
        """Raises InputError where the genes of a row are damaged."""
        if row is None:
            return
        (number,) = np.flatnonzero(piece.rows == row)
        genes = piece.genes[piece.starts[number] :][: piece.lengths[number]]
        problem = "names the genes of a cell in an order that does not increase"
        if genes.max() >= self.num_genes:
            problem = f"names gene {genes.max()} of {self.num_genes}"
        raise InputError(array_path(shard.path, "indices"), problem, REMEDY)

    def _no_such_cell(self) -> IndexError:
        return IndexError(f"cells are numbered 0 to {len(self.lengths) - 1}")

    def _dtype(self, values: Values) -> np.dtype:
        return np.result_type(*(getattr(s, values).dtype for s in self._shards))


def _check_indptr(
    file: Path, indptr: UInt[np.ndarray, " offsets"], num_cells: int
) -> None:
    if len(indptr) != num_cells + 1:
        raise InputError(
            file, f"has {len(indptr)} entries, not {num_cells + 1}", REMEDY
        )
    if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        raise InputError(file, "does not rise from 0", REMEDY)

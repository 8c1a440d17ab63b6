"""Arrays on disk that grow at their end, so that a shard need not fit into memory."""

from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from numpy.typing import DTypeLike

from scmultimodal.data.shards import array_path, index_dtype
from scmultimodal.ops.csr import Csr

_VALUES_AT_ONCE = 2**22


class GrowingArray:
    """A `.npy` file of one axis, written part by part.

    numpy leaves room in the header for the first axis to grow.
    """

    def __init__(self, path: Path, dtype: DTypeLike):
        """Begins the file, with nothing in it. Its folder is there."""
        self.path, self._dtype, self._length = path, np.dtype(dtype), 0
        self._file = path.open("w+b")
        self._write_header()
        self._begin = self._file.tell()

    def append(self, values: Shaped[np.ndarray, " values"]) -> None:
        """Writes values at the end, as the type of the array."""
        values.astype(self._dtype, copy=False).tofile(self._file)
        self._length += len(values)

    def close(self, dtype: DTypeLike | None = None) -> None:
        """Completes the file.

        Args:
            dtype: a narrower type that holds all values, in which they are stored.
        """
        self._file.seek(0)
        self._write_header()
        if self._file.tell() != self._begin:
            raise AssertionError("the header has another length than at the beginning")
        self._file.close()
        if dtype is not None and np.dtype(dtype) != self._dtype:
            self._narrow(np.dtype(dtype))

    def _write_header(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._length,),
        }
        np.lib.format.write_array_header_1_0(self._file, header)

    def _narrow(self, dtype: np.dtype) -> None:
        narrow = GrowingArray(self.path.with_suffix(".narrow"), dtype)
        wide = np.load(self.path, mmap_mode="r", allow_pickle=False)
        for start in range(0, len(wide), _VALUES_AT_ONCE):
            narrow.append(np.asarray(wide[start : start + _VALUES_AT_ONCE]))
        narrow.close()
        narrow.path.replace(self.path)


class CountsWriter:
    """The counts of one shard of one modality, written a few cells at a time."""

    def __init__(self, path: Path, num_genes: int):
        """Begins the three arrays of a shard (`Shard.path`)."""
        self._indptr = GrowingArray(array_path(path, "indptr"), np.uint64)
        dtype = index_dtype(num_genes)
        self._indices = GrowingArray(array_path(path, "indices"), dtype)
        self._counts = GrowingArray(array_path(path, "counts"), np.uint32)
        self._indptr.append(np.zeros(1, np.uint64))
        self._end, self._most = 0, 0

    def append(self, counts: Csr) -> None:
        """Writes counts [cells, genes], in canonical form."""
        self._indptr.append(counts.indptr[1:].astype(np.uint64) + np.uint64(self._end))
        self._indices.append(counts.indices)
        self._counts.append(counts.data)
        self._end += counts.nnz
        self._most = max(self._most, int(counts.data.max(initial=0)))

    def close(self) -> None:
        """Completes the arrays; counts get the narrowest type that holds them."""
        self._indptr.close()
        self._indices.close()
        self._counts.close(np.min_scalar_type(self._most))

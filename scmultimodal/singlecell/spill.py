"""Counts that come in any order, sorted into blocks of rows on disk.

What is kept by column, or as text, cannot be read by row; to read it whole would take
memory for all of it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scmultimodal.singlecell.entries import Entries

_ROWS_PER_FILE = 4_096
_ENTRY = np.dtype([("row", "<u4"), ("column", "<u4"), ("count", "<i4")])


class Unsorted(NamedTuple):
    """Counts of a file, in the order in which it has them."""

    obs: pd.DataFrame
    """The cells, indexed by name."""
    var: pd.DataFrame
    """The features, indexed by name."""
    parts: Iterator[Entries]
    """All counts, once."""

    def matrix(self) -> sp.csr_matrix:
        """All of it in memory: [cells, features]."""
        parts = [*self.parts]
        nothing = Entries(*[np.empty(0, np.int32)] * 3)
        rows, columns, counts = (
            np.concatenate(values) for values in zip(nothing, *parts, strict=True)
        )
        shape = (len(self.obs), len(self.var))
        return sp.csr_matrix((counts, (rows, columns)), shape=shape)


class SpilledRows:
    """Rows of counts in blocks of equal height, one file each (`spill`)."""

    def __init__(self, folder: Path, shape: tuple[int, int]):
        """Takes the files that `spill` wrote."""
        self.shape = shape
        self._folder = folder

    def rows(self, start: int, stop: int) -> sp.csr_matrix:
        """Returns some rows; entries of one place are added up."""
        numbers = range(start // _ROWS_PER_FILE, -(-stop // _ROWS_PER_FILE))
        parts = [np.empty(0, _ENTRY)]
        for number in numbers:
            file = _file(self._folder, number)
            if file.exists():
                entries = np.fromfile(file, _ENTRY)
                wanted = (entries["row"] >= start) & (entries["row"] < stop)
                parts.append(entries[wanted])
        entries = np.concatenate(parts)
        places = (entries["row"] - np.uint32(start), entries["column"])
        shape = (stop - start, self.shape[1])
        return sp.csr_matrix((entries["count"], places), shape=shape)


def spill(
    parts: Iterable[Entries], shape: tuple[int, int], folder: Path
) -> SpilledRows:
    """Sorts counts into files, in one pass.

    Args:
        parts: all of a matrix, in any order.
        shape: of the matrix.
        folder: a new one in one that is there, for as long as the rows are wanted.
    """
    folder.mkdir()
    for part in parts:
        block = part.rows // _ROWS_PER_FILE
        order = np.argsort(block, kind="stable")
        entries = np.empty(len(order), _ENTRY)
        for name, values in zip(_ENTRY.names, part, strict=True):
            entries[name] = values[order]
        numbers, begins = np.unique(block[order], return_index=True)
        for number, piece in zip(
            numbers.tolist(), np.split(entries, begins[1:]), strict=True
        ):
            with _file(folder, number).open("ab") as file:
                piece.tofile(file)
    return SpilledRows(folder, shape)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.entries"

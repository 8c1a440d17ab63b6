"""Counts as a table of text: CSV and TSV, gzipped or not, cells in rows or columns."""

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData

from scmultimodal.genome import text_files
from scmultimodal.genome.annotation import is_ensembl
from scmultimodal.genome.intervals import share_of_peak_names
from scmultimodal.schemas.errors import InputError, first_line
from scmultimodal.singlecell.counts import check_values
from scmultimodal.singlecell.entries import Entries
from scmultimodal.singlecell.spill import Unsorted

SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_SEPARATORS = ("\t", ",", ";")
_NUMBERS_AT_ONCE = 2**22
_BARCODE = r"(?:^|[^A-Za-z])[ACGTN]{8,}(?:$|[^A-Za-z])"
# Symbols that any cell of a mammal has, in the spelling of man and of mouse.
_COMMON = {
    name
    for symbol in ("MALAT1", "ACTB", "GAPDH", "B2M", "EEF1A1", "RPLP0", "TPT1", "PTMA")
    for name in (symbol, symbol.capitalize())
}


def is_table(path: Path) -> bool:
    """Whether the name is that of a table."""
    return path.name.lower().endswith(SUFFIXES)


def read_table(path: Path) -> AnnData:
    """Reads a table of counts with names in the first row and the first column.

    The separator is tab, comma or semicolon, whichever the first line has most of; the
    first line may have a name above the names, or none. Features are told from cells
    by their names: Ensembl IDs, intervals, symbols of common genes; barcodes.

    Returns:
        Cells × features, CSR.

    Raises:
        InputError: where the table is broken or holds anything but counts, or the
            names do not tell cells from features.
    """
    opened = open_table(path)
    return AnnData(opened.matrix(), obs=opened.obs, var=opened.var)


def open_table(path: Path) -> Unsorted:
    """The cells and features of `read_table`, and its counts as they stand there."""
    with _reading(path):
        layout = _layout(path)
    rows, columns = layout.rows, layout.columns
    turned = not _cells_in_rows(rows, columns, path)
    if turned:
        rows, columns = columns, rows
    return Unsorted(
        pd.DataFrame(index=rows),
        pd.DataFrame(index=columns),
        _entries(path, layout, turned),
    )


class _Layout(NamedTuple):
    """How a table is written, and its names."""

    separator: str
    rows: pd.Index
    columns: pd.Index

    def read(self, path: Path, **options: Any) -> Any:
        """All lines but the first, by pandas."""
        return pd.read_csv(
            path,
            sep=self.separator,
            header=None,
            skiprows=1,
            names=range(len(self.columns) + 1),
            dtype={0: str},
            na_filter=False,
            **options,
        )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    remedy = "Copy or write the file again"
    try:
        with text_files.reading(path, remedy=remedy):
            yield
    except InputError:
        raise
    except ValueError as error:  # as pandas' own are
        raise InputError(
            path, f"cannot be read ({first_line(error)})", remedy
        ) from error


def _layout(path: Path) -> _Layout:
    separator, header, width = _first_lines(path)
    # A first line of as many names as there are numbers has none above the names.
    columns = pd.Index(header[1:] if len(header) == width else header, dtype=object)
    names = _Layout(separator, pd.Index([]), columns).read(path, usecols=[0])[0]
    return _Layout(separator, pd.Index(names, dtype=object), columns)


def _entries(path: Path, layout: _Layout, turned: bool) -> Iterator[Entries]:
    columns, first = layout.columns, 0
    lines = max(_NUMBERS_AT_ONCE // max(len(columns), 1), 1)
    with _reading(path):
        for chunk in layout.read(path, index_col=0, chunksize=lines):
            numbers = _numbers(chunk, columns.tolist(), path)
            row, column = np.nonzero(numbers)
            names = [chunk.index, columns]
            values = numbers[row, column]

            def place(i: int, at=(row, column), names=names) -> tuple[object, object]:
                pair = [name[where[i]] for name, where in zip(names, at, strict=True)]
                return (pair[1], pair[0]) if turned else (pair[0], pair[1])

            check_values(values, place, path)
            places = (column, row + first) if turned else (row + first, column)
            yield Entries(*places, values.astype(np.int32))
            first += len(chunk)


def _first_lines(path: Path) -> tuple[str, list[str], int]:
    """The separator, the first line in parts, and how many the second has."""
    with text_files.open_text(path) as file:
        first, second = file.readline(), file.readline()
    if not second.strip():
        raise ValueError("it has fewer than two lines")
    separator = max(_SEPARATORS, key=first.count)
    parts, others = csv.reader([first, second], delimiter=separator)
    width = len(others)
    if len(parts) not in (width, width - 1):
        raise ValueError(
            f"its first line has {len(parts)} parts and its second {width}"
        )
    return separator, parts, width


def _numbers(chunk: pd.DataFrame, columns: list[str], path: Path) -> np.ndarray:
    for place, name in enumerate(columns, start=1):
        if chunk[place].dtype.kind in "biuf":
            continue
        numbers = pd.to_numeric(chunk[place], errors="coerce")
        wrong = np.flatnonzero(numbers.isna())
        if wrong.size:
            row = chunk.index[wrong[0]]
            raise InputError(
                path,
                f"row {row!r}, column {name!r} holds {chunk[place].iloc[wrong[0]]!r}",
                "Write a number in every place; 0 where nothing was counted",
            )
        chunk[place] = numbers
    return chunk.to_numpy()


def _cells_in_rows(rows: pd.Index, columns: pd.Index, path: Path) -> bool:
    features = [_share_of_features(names) for names in (rows, columns)]
    cells = [_share_of_barcodes(names) for names in (rows, columns)]
    for of_rows, of_columns in (features, reversed(cells)):
        if max(of_rows, of_columns) > 0 and of_rows != of_columns:
            return of_columns > of_rows
    common = [len(_COMMON.intersection(names)) for names in (rows, columns)]
    if common[0] != common[1]:
        return common[1] > common[0]
    raise InputError(
        path,
        f"does not tell cells from features: rows are named {rows[0]!r}, …, columns "
        f"{columns[0]!r}, …",
        "Name features by Ensembl ID, symbol or interval, or give an .h5ad",
    )


def _share_of_features(names: pd.Index) -> float:
    return max(float(is_ensembl(names.to_series()).mean()), share_of_peak_names(names))


def _share_of_barcodes(names: pd.Index) -> float:
    return float(names.str.contains(_BARCODE).mean())

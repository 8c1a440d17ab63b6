"""Counts as a table of text: CSV and TSV, gzipped or not, cells in rows or columns."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmultimodal.genome import text_files
from scmultimodal.genome.annotation import is_ensembl
from scmultimodal.genome.intervals import share_of_peak_names
from scmultimodal.schemas.errors import InputError

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
        InputError: where the table is broken or holds anything but numbers, or the
            names do not tell cells from features.
    """
    remedy = "Copy or write the file again"
    try:
        with text_files.reading(path, remedy=remedy):
            rows, columns, matrix = _read(path)
    except ValueError as error:  # as pandas' own are
        reason = str(error).splitlines()[0]
        raise InputError(path, f"cannot be read ({reason})", remedy) from error
    if _cells_in_rows(rows, columns, path):
        return AnnData(
            matrix, obs=pd.DataFrame(index=rows), var=pd.DataFrame(index=columns)
        )
    return AnnData(
        sp.csr_matrix(matrix.T),
        obs=pd.DataFrame(index=columns),
        var=pd.DataFrame(index=rows),
    )


def _read(path: Path) -> tuple[pd.Index, pd.Index, sp.csr_matrix]:
    """Names of the rows and of the columns, and the numbers between."""
    separator, header, width = _first_lines(path)
    # A first line of as many names as there are numbers has none above the names.
    columns = header[1:] if len(header) == width else header
    chunks = pd.read_csv(
        path,
        sep=separator,
        header=None,
        skiprows=1,
        index_col=0,
        names=range(len(columns) + 1),
        dtype={0: str},
        na_filter=False,
        chunksize=max(_NUMBERS_AT_ONCE // max(len(columns), 1), 1),
    )
    names, parts = [], []
    for chunk in chunks:
        names.append(chunk.index)
        parts.append(sp.csr_matrix(_numbers(chunk, columns, path)))
    if not parts:
        raise ValueError("it has no rows")
    rows = pd.Index(np.concatenate(names), dtype=object)
    return rows, pd.Index(columns, dtype=object), sp.vstack(parts, format="csr")


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

"""Matrix Market text (`.mtx`), as much of it at a time as memory is wanted for."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from scmultimodal.genome import text_files
from scmultimodal.schemas.errors import InputError, first_line
from scmultimodal.singlecell import counts
from scmultimodal.singlecell.entries import Entries

# The shortest line, of a pattern: two numbers, a space and the end of the line.
_LINE_BYTES = 4
_LINES_AT_ONCE = 2**20
_REMEDY = "Copy the file again"


def read_size(path: Path) -> tuple[int, int, int]:
    """Rows, columns and values that a file declares, and has room for.

    Raises:
        InputError: the file is damaged, or no list of places and values.
    """
    with _reading(path), text_files.open_text(path) as text:
        return _header(path, text)[0]


def read_entries(path: Path, rows: pd.Index, columns: pd.Index) -> Iterator[Entries]:
    """All of a matrix of counts, in the order of the file.

    Args:
        path: the file.
        rows: the names of the rows, features, for an error.
        columns: the names of the columns, cells.

    Raises:
        InputError: the file is damaged, or a value is no count.
    """
    with _reading(path), text_files.open_text(path) as text:
        size, is_pattern = _header(path, text)
        read = 0
        chunks = pd.read_csv(
            text, sep=r"\s+", header=None, comment="%", chunksize=_LINES_AT_ONCE,
            names=["row", "column"] if is_pattern else ["row", "column", "value"],
            index_col=False, skip_blank_lines=True, na_filter=False,
            dtype={"row": np.int64, "column": np.int64},
        ) if size[2] else ()  # fmt: skip
        for chunk in chunks:
            read += len(chunk)
            if is_pattern:
                chunk["value"] = 1
            yield _entries(chunk, size, rows, columns, path)
        if read != size[2]:
            raise ValueError(f"it declares {size[2]} values and has {read}")


def _entries(
    chunk: pd.DataFrame, size: tuple, rows: pd.Index, columns: pd.Index, path: Path
) -> Entries:
    row, column = (chunk[name].to_numpy() - 1 for name in ("row", "column"))
    outside = (row < 0) | (row >= size[0]) | (column < 0) | (column >= size[1])
    if outside.any():
        at = chunk[outside].iloc[0]
        raise ValueError(f"{at['row']} {at['column']} lies outside the matrix")
    values = chunk["value"].to_numpy()
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{values[0]!r} is no number")
    counts.check_values(values, lambda i: (columns[column[i]], rows[row[i]]), path)
    return Entries(row, column, values.astype(np.int32))


def _header(path: Path, text: io.TextIOBase) -> tuple[tuple[int, int, int], bool]:
    """The sizes, and whether places alone are listed."""
    first = next(text).split()
    if len(first) != 5 or first[0] != "%%MatrixMarket":
        raise ValueError("its first line is no header of Matrix Market")
    layout, field, symmetry = (word.lower() for word in first[2:])
    if layout != "coordinate" or symmetry != "general" or field == "complex":
        raise ValueError(f"it is {layout} {field} {symmetry}, not coordinate general")
    line = next(line for line in text if line.strip() and not line.startswith("%"))
    numbers = [int(number) for number in line.split()]
    if len(numbers) != 3 or min(numbers) < 0:
        raise ValueError(f"its size line is {line.strip()!r}")
    holds = path.stat().st_size
    holds *= text_files.GZIP_RATIO if path.suffix == ".gz" else 1
    if numbers[2] * _LINE_BYTES > holds:
        raise ValueError(f"it declares {numbers[2]} values, more than it can hold")
    return (numbers[0], numbers[1], numbers[2]), field == "pattern"


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        with text_files.reading(path, remedy=_REMEDY):
            yield
    except InputError:
        raise
    except StopIteration as error:
        raise InputError(path, "cannot be read (it ends too soon)", _REMEDY) from error
    except (ValueError, RuntimeError, OverflowError) as error:
        problem = f"cannot be read ({first_line(error)})"
        raise InputError(path, problem, _REMEDY) from error

"""Tables about cells, as studies publish them beside their counts."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from scmultimodal.genome import text_files
from scmultimodal.schemas.errors import InputError, first_line

_REMEDY = "Give a table with a header, columns apart by tabs or commas"


def read(path: Path) -> pd.DataFrame:
    """Reads a table as text; an empty field is missing.

    A header that is one name short, as R writes it, leaves out the first column's.

    Raises:
        InputError: it cannot be read as a table with a header.
    """
    try:
        with text_files.reading(path, remedy=_REMEDY):
            with text_files.open_text(path) as text:
                separator = max("\t,;", key=text.readline().count)
            with text_files.open_text(path) as text:
                return _columns(csv.reader(text, delimiter=separator))
    except InputError:
        raise
    except (csv.Error, ValueError) as error:
        problem = f"is no table ({first_line(error)})"
        raise InputError(path, problem, _REMEDY) from error


def _columns(lines: Iterator[list[str]]) -> pd.DataFrame:
    header, *rows = (line for line in lines if line)
    if not rows:
        raise ValueError("it has a header alone")
    if len(header) == len(rows[0]) - 1:
        header = ["", *header]
    wrong = [number for number, row in enumerate(rows, 2) if len(row) != len(header)]
    if wrong:
        raise ValueError(f"line {wrong[0]} has not the {len(header)} fields of others")
    if len(set(header)) < len(header):
        raise ValueError("two columns have the same name")
    table = pd.DataFrame(rows, columns=header, dtype=object)
    return table.where(table != "", None)


class Tables:
    """Published tables, joined to the cells of one dataset after the other.

    The column in which most of the cells are found names them. Other cells have no
    value there. A column that is there already is taken from the published table where
    that knows the cell.
    """

    def __init__(self, paths: Sequence[Path]):
        """Reads them.

        Raises:
            InputError: one cannot be read.
        """
        self._tables = {path: read(path) for path in paths}
        self._strange: dict[Path, str] = {}
        self._named: set[Path] = set()

    def add_to(self, obs: pd.DataFrame) -> pd.DataFrame:
        """The cells of obs with the columns of all tables that name any of them.

        Raises:
            InputError: a table names a cell twice.
        """
        for path, table in self._tables.items():
            added = add(obs, table, path)
            if added is not None:
                self._named.add(path)
                obs = added
            elif len(obs):
                self._strange.setdefault(path, obs.index[0])
        return obs

    def check(self) -> None:
        """Raises InputError where a table has named none of the cells so far."""
        for path, table in self._tables.items():
            if path not in self._named:
                raise InputError(
                    path,
                    f"names no cell: none of its columns {', '.join(table.columns[:8])}"
                    f" holds names such as {self._strange.get(path, '')!r}",
                    "Name cells as the counts do, with the same prefix and suffix",
                )


def join(obs: Sequence[pd.DataFrame], paths: Sequence[Path]) -> list[pd.DataFrame]:
    """Adds the columns of published tables to the cells of datasets; see `Tables`.

    Raises:
        InputError: a table cannot be read, names no cell, or names one twice.
    """
    tables = Tables(paths)
    found = [tables.add_to(one) for one in obs]
    tables.check()
    return found


def add(obs: pd.DataFrame, table: pd.DataFrame, path: Path) -> pd.DataFrame | None:
    """The cells of obs with the columns of a table; None where it names none of them.

    Raises:
        InputError: it names one twice.
    """
    shares = {column: table[column].isin(obs.index).sum() for column in table}
    named = max(shares, key=lambda column: shares[column])
    if not shares[named]:
        return None
    about = table[table[named].isin(obs.index)]
    twice = about[named][about[named].duplicated()]
    if len(twice):
        raise InputError(
            path, f"names the cell {twice.iloc[0]!r} twice", "Leave one line a cell"
        )
    about = about.set_index(named).reindex(obs.index)
    both = obs.columns.intersection(about.columns)
    about[both] = about[both].where(about[both].notna(), obs[both].astype(object))
    return pd.concat([obs.drop(columns=both), about], axis=1)

"""Tables of intervals as text: with a header, or as BED files have none."""

import gzip
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from scmultimodal.genome import bed_columns, intervals, text_files
from scmultimodal.schemas.errors import InputError

REMEDY = (
    "Give a tab-separated table with a header: chrom, start, end and a column of "
    "numbers for each sample"
)


def read_intervals(path: str | Path) -> pd.DataFrame:
    """Reads a table of intervals: chrom, start, end (int64) and what else it holds.

    Raises:
        InputError: the file is missing, damaged, no table, without a header that it
            needs, or a coordinate is bad.
    """
    path = Path(path)
    frame, named = read_frame(path)
    if not named:
        frame.columns = bed_columns.names(path, frame)
    return frame


class Frame(NamedTuple):
    """A table of intervals as it stands in its file.

    Attributes:
        table: chrom, start, end (int64), then text.
        named: whether the file has a header; without one columns have numbers.
    """

    table: pd.DataFrame
    named: bool


def read_frame(path: Path) -> Frame:
    """Reads a table of intervals without asking what its other columns are.

    Raises:
        InputError: as `read_intervals`.
    """
    text = _read_text(path)
    lines = [
        line
        for line in text.splitlines()
        if line.strip() and not line.startswith(("track", "browser", "##"))
    ]
    if not lines:
        raise InputError(path, "is empty", REMEDY)
    fields = lines[0].split("\t")
    named = not (len(fields) > 2 and fields[1].strip().isdecimal())
    frame = _parse(path, lines, named)
    if frame.empty:
        raise InputError(path, "holds no region below its header", REMEDY)
    columns = intervals.interval_columns(frame.columns)
    if columns is None:
        problem = f"has no columns chrom, start and end, but {list(frame.columns)[:6]}"
        raise InputError(path, problem, REMEDY)
    frame = frame.rename(columns={old: new for new, old in columns.items()})
    for name in ("start", "end", *({"summit"} & set(frame))):
        bad = ~frame[name].str.fullmatch(r"\d+")
        if bool(bad.any()):
            value = frame[name][bad].iloc[0]
            problem = f"{name} {value!r} is not a whole number of bp"
            raise InputError(path, problem, "Is the file complete?")
        frame[name] = frame[name].astype(np.int64)
    intervals.check_intervals(frame, intervals.place_names(frame), path)
    return Frame(frame, named)


def read_places(path: str | Path) -> pd.DataFrame:
    """Reads chrom, start, end of a BED of any width, or of a table with a header.

    Raises:
        InputError: as `read_intervals`, but for columns that are not read.
    """
    return read_frame(Path(path)).table[["chrom", "start", "end"]]


def _read_text(path: Path) -> str:
    with text_files.reading(path, remedy=REMEDY):
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")


def _parse(path: Path, lines: list[str], named: bool) -> pd.DataFrame:
    width = lines[0].count("\t") + 1
    for number, line in enumerate(lines, start=1):
        if line.count("\t") + 1 != width:
            problem = f"row {number} has {line.count(chr(9)) + 1} columns, not {width}"
            raise InputError(path, problem, "Is the file complete, with tabs?")
    lines[0] = lines[0].lstrip("#")
    frame = pd.read_csv(
        io.StringIO("\n".join(lines)),
        sep="\t",
        header=0 if named else None,
        dtype=str,
        keep_default_na=False,
        quoting=3,
    )
    if not named:
        frame.columns = [*bed_columns.PLACE, *map(str, range(3, width))][:width]
    return frame

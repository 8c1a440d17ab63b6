"""Columns of BED files, which have no header: BED6, and the peaks of ENCODE.

narrowPeak is BED6 and signalValue, pValue, qValue, peak (the summit's offset from the
start, −1 where none was called); broadPeak is the same without peak.
Source: https://genome.ucsc.edu/FAQ/FAQformat.html#format12
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from scmultimodal.genome import intervals
from scmultimodal.schemas.errors import InputError

PLACE = ("chrom", "start", "end")
TEXT = ("name", "score", "strand")
"""Columns of BED6 that hold no value."""

_SIGNAL, _PEAK = ("signalValue", "pValue", "qValue"), "peak"
_FORMATS = {"narrowPeak": (*_SIGNAL, _PEAK), "broadPeak": _SIGNAL}
_BY_WIDTH = {9: "broadPeak, BED9", 10: "narrowPeak", 12: "BED12", 15: "gappedPeak"}
_WHOLE = r"-?\d+"


def names(path: Path, frame: pd.DataFrame) -> list[str]:
    """Names all columns of a file without a header.

    A file is narrowPeak or broadPeak where its name ends so (`.gz` aside). It also is
    narrowPeak where ten columns can be nothing else: with a strand, offsets within the
    peaks, and before them numbers that are not all counts.

    Args:
        path: the file.
        frame: chrom, start, end (int64), then text.

    Returns:
        chrom, start, end; name, score, strand of BED6; then what is known of ENCODE's
        columns, or value1, value2 …

    Raises:
        InputError: the file is not what its name says, or may be several things.
    """
    width = frame.shape[1]
    if (format := _by_name(path)) is not None:
        _check(path, frame, format)
        return [*PLACE, *TEXT, *_FORMATS[format]]
    if width < 6 or not bool(_has_strand(frame).all()):
        return [*PLACE, *(f"value{i}" for i in range(1, width - 2))]
    if width == 10 and _must_be_narrow_peak(frame):
        return [*PLACE, *TEXT, *_FORMATS["narrowPeak"]]
    if width in _BY_WIDTH and (width != 10 or _is_whole(frame.iloc[:, 9])):
        raise InputError(
            path,
            f"has {width} columns and no header: may be {_BY_WIDTH[width]} or "
            f"{width - 6} samples",
            "Name it .narrowPeak or .broadPeak if it is one, or add a header: chrom, "
            "start, end and a name for each column",
        )
    return [*PLACE, *TEXT, *(f"value{i}" for i in range(1, width - 5))]


def as_tracks(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Peaks of ENCODE as a track: signalValue is the value, peak gives the summit.

    Other tables are left as they are.

    Raises:
        InputError: an offset is no whole number.
    """
    if not {*_SIGNAL} <= {*table}:
        return table
    track = table.drop(columns=[*_SIGNAL[1:], _PEAK], errors="ignore")
    if _PEAK not in table or "summit" in table:
        return track
    wrong = np.flatnonzero(~table[_PEAK].str.fullmatch(_WHOLE))
    if wrong.size:
        row = table.iloc[wrong[:1]]
        (place,) = intervals.place_names(row)
        problem = f"peak {row[_PEAK].iloc[0]!r} at {place} is not a whole number of bp"
        raise InputError(
            path, problem, "It is the summit's offset from the start, or -1"
        )
    offset = table[_PEAK].astype(np.int64)
    middle = (table["start"] + table["end"]) // 2
    return track.assign(summit=(table["start"] + offset).where(offset >= 0, middle))


def _by_name(path: Path) -> str | None:
    stem = re.sub(r"\.b?gz$", "", path.name.lower())
    found = (name for name in _FORMATS if stem.endswith(f".{name.lower()}"))
    return next(found, None)


def _check(path: Path, frame: pd.DataFrame, format: str) -> None:
    width = len(PLACE) + len(TEXT) + len(_FORMATS[format])
    problem = ""
    if frame.shape[1] != width:
        problem = f"{frame.shape[1]} columns, not {width}"
    elif not bool((fine := _has_strand(frame)).all()):
        row = frame[~fine].iloc[:1]
        problem = f"strand {row.iat[0, 5]!r} of {intervals.place_names(row)[0]}"
    if problem:
        remedy = "Is the file complete? Give another table another name"
        raise InputError(path, f"is no {format}: {problem}", remedy)


def _must_be_narrow_peak(frame: pd.DataFrame) -> bool:
    if not _is_whole(frame.iloc[:, 9]):
        return False
    offset = frame.iloc[:, 9].astype(np.int64)
    inside = offset.between(-1, frame["end"] - frame["start"] - 1).all()
    counts = all(frame.iloc[:, i].str.fullmatch(r"\d+").all() for i in range(6, 10))
    return bool(inside) and not counts


def _has_strand(frame: pd.DataFrame) -> pd.Series:
    return frame.iloc[:, 5].isin(["+", "-", "."])


def _is_whole(column: pd.Series) -> bool:
    return bool(column.str.fullmatch(_WHOLE).all())

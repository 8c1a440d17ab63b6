"""Peaks of a BED file, and which of them hold a position."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int, Int64

from scmultimodal.genome import intervals, text_files
from scmultimodal.schemas.errors import InputError

MOST_BP = 2**31 - 1
"""No position is greater: the most that BAM and tabix know."""

_REMEDY = "Give a BED file: chrom, start and end in its first columns, in tabs"
_MOST_COVERED = 2**26
_NAMES_AT_ONCE = 2**16


def read_peaks(path: Path) -> pd.DataFrame:
    """Reads the first three columns of a BED file, or those that a header names.

    Returns:
        chrom, start, end (0-based, half-open, bp), indexed by `chr1:100-600`, in the
        order of the file. Peaks that differ in other columns alone, as the summits of
        one interval do, are one.

    Raises:
        InputError: the file cannot be read, a line has too few columns, a coordinate
            is none, or chromosomes are named in two ways.
    """
    columns, places = (0, 1, 2), []
    with text_files.reading(path, remedy=_REMEDY), text_files.open_text(path) as file:
        for number, line in enumerate(file, start=1):
            fields = line.rstrip("\r\n").split("\t")
            if not places and (named := _named(fields)) is not None:
                columns = named
            elif line.strip() and not line.startswith(("#", "track", "browser")):
                places.append(_place(fields, columns, path, number))
    if not places:
        raise InputError(path, "holds no peaks", _REMEDY)
    chrom, start, end = zip(*places, strict=True)
    intervals.chromosome_style(chrom, path)
    peaks = peak_table(chrom, np.array(start, np.int64), np.array(end, np.int64))
    return peaks[~peaks.index.duplicated()]


def peak_table(
    chrom: Sequence[str] | np.ndarray,
    start: Int64[np.ndarray, " peaks"],
    end: Int64[np.ndarray, " peaks"],
) -> pd.DataFrame:
    """chrom, start, end; indexed by `chr1:100-600`."""
    peaks = pd.DataFrame({"chrom": chrom, "start": start, "end": end})
    names = np.empty(len(peaks), dtype=object)
    for first in range(0, len(peaks), _NAMES_AT_ONCE):
        some = slice(first, first + _NAMES_AT_ONCE)
        names[some] = intervals.place_names(peaks.iloc[some])
    return peaks.set_axis(pd.Index(names, dtype=object))


class PeakIndex:
    """Finds the peaks that hold a position, whether they overlap or not.

    The ends of all peaks cut the genome into stretches, each with a list of the peaks
    that cover it: one binary search finds all peaks of a position.

    Attributes:
        chroms: names of the chromosomes, by number.
        start: key (see `keys`) of the first base of each peak.
    """

    def __init__(self, peaks: pd.DataFrame, source: object):
        """Sorts the peaks.

        Args:
            peaks: chrom, start, end, up to MOST_BP and a little more.
            source: what to name in an error.

        Raises:
            InputError: so many peaks lie on each other that the lists would not fit
                into memory.
        """
        number, chroms = pd.factorize(peaks["chrom"])
        self.chroms = pd.Index(chroms, dtype=object)
        self.start = keys(number, peaks["start"].to_numpy())
        end = keys(number, peaks["end"].to_numpy())
        self._edges = distinct(np.concatenate([self.start, end]))
        first, last = (np.searchsorted(self._edges, key) for key in (self.start, end))
        stretches = last - first
        if (covered := int(stretches.sum())) > max(_MOST_COVERED, 4 * len(peaks)):
            problem = f"has peaks that overlap {covered // len(peaks)} deep"
            raise InputError(source, problem, "Merge overlapping peaks first")
        # Before the first edge is a stretch, too: number 0.
        stretch = 1 + _ranges(first, stretches)
        self._peak = np.repeat(np.arange(len(peaks), dtype=np.int32), stretches)
        self._peak = self._peak[np.argsort(stretch, kind="stable")]
        depth = np.bincount(stretch, minlength=len(self._edges) + 1)
        self._first = np.concatenate([[0], np.cumsum(depth)])

    def find(
        self, key: Int64[np.ndarray, " positions"]
    ) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
        """All pairs of a position and a peak that holds it, as their numbers."""
        stretch = np.searchsorted(self._edges, key, side="right")
        first = self._first[stretch]
        depth = self._first[stretch + 1] - first
        position = np.repeat(np.arange(len(key)), depth)
        return position, self._peak[_ranges(first, depth)]


def keys(
    chrom: Int[np.ndarray, " positions"], position: Int[np.ndarray, " positions"]
) -> Int64[np.ndarray, " positions"]:
    """Chromosome and position as one number, which sorts by both."""
    return (chrom.astype(np.int64) << 32) + position


def distinct(values: Int[np.ndarray, " values"]) -> Int[np.ndarray, " distinct"]:
    """Each value once, in order: np.unique, whose hash table is slow for millions."""
    values = np.sort(values)
    return values[np.diff(values, prepend=values[:1] - 1) != 0]


def is_position(text: str) -> bool:
    """Whether it is a whole number from 0 to MOST_BP."""
    is_whole = text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_BP))
    return is_whole and int(text) <= MOST_BP


def _ranges(
    first: Int[np.ndarray, " ranges"], size: Int[np.ndarray, " ranges"]
) -> Int[np.ndarray, " numbers"]:
    """first[0], first[0] + 1 …, then first[1] …: `size` numbers each."""
    before = np.cumsum(size) - size
    return np.repeat(first - before, size) + np.arange(size.sum())


def _named(fields: list[str]) -> tuple[int, int, int] | None:
    """Where a header has chrom, start and end; None if it is none."""
    names = [field.lstrip("#").strip() for field in fields]
    found = intervals.interval_columns(names)
    if found is None:
        return None
    chrom, start, end = (names.index(found[name]) for name in ("chrom", "start", "end"))
    return chrom, start, end


def _place(
    fields: list[str], columns: tuple[int, int, int], path: Path, number: int
) -> tuple[str, int, int]:
    where = f"line {number}"
    if len(fields) <= max(columns):
        problem = f"{where} has {len(fields)} columns, not {max(columns) + 1} or more"
        raise InputError(path, problem, _REMEDY)
    chrom, *ends = (fields[column].strip() for column in columns)
    for text in ends:
        if not is_position(text):
            problem = f"{where}: {text[:20]!r} is no position in bp"
            remedy = f"Positions are whole numbers from 0 to {MOST_BP}"
            raise InputError(path, problem, remedy)
    start, end = map(int, ends)
    if start >= end or not chrom:
        remedy = "Peaks are 0-based and half-open: 0 <= start < end"
        raise InputError(path, f"{where}: a peak {chrom}:{start}-{end}", remedy)
    return chrom, start, end

"""Genomic intervals: 0-based, half-open, in bp."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Int

from scmultimodal.schemas.errors import InputError

ChromosomeStyle = Literal["chr", "plain"]

_SPELLINGS = {
    "chrom": ("chrom", "chr", "chromosome", "seqname", "seqnames"),
    "start": ("start", "chromstart", "chrom_start", "peak_start"),
    "end": ("end", "stop", "chromend", "chrom_end", "peak_end"),
}
_PEAK = r"^(?P<chrom>.+)[:_-](?P<start>\d{1,10})[_-](?P<end>\d{1,10})$"
# 1, X, MT, 2L, IV: the names that a "chr" may stand before. Scaffolds are left alone.
_PLAIN = r"^(?:\d{1,2}[LRab]{0,2}|[XYWZ]|MT?|[IVX]+)$"


def parse_peak_names(names: Iterable[str], source: object = "peaks") -> pd.DataFrame:
    """Reads `chr1:1-2`, `chr1-1-2` and `chr1_1_2`; contigs may hold `_`, `-` and `.`.

    Args:
        names: one name per peak.
        source: what to name in an error.

    Returns:
        chrom, start, end (int64, bp); one row per name, in order.

    Raises:
        InputError: where a name is no interval, or its start is not below its end.
    """
    names = pd.Series(list(names), dtype=str)
    parts = names.str.extract(_PEAK)
    if parts["chrom"].isna().any():
        raise InputError(
            source,
            f"peak name {names[parts['chrom'].isna()].iloc[0]!r} is not an interval",
            "Name peaks like chr1:100-600, or give var columns chrom, start and end",
        )
    parts = parts.astype({"start": np.int64, "end": np.int64})
    check_intervals(parts, names, source)
    return parts


def interval_columns(columns: Iterable[str]) -> dict[str, str] | None:
    """Which columns are chrom, start and end, in the usual spellings; None if not."""
    lower = {str(column).lower(): column for column in columns}
    found = {
        name: next((lower[s] for s in spellings if s in lower), None)
        for name, spellings in _SPELLINGS.items()
    }
    return None if None in found.values() else found


def share_of_peak_names(names: Iterable[str]) -> float:
    """Share of the names that read as an interval with start below end."""
    parts = pd.Series(list(names), dtype=str).str.extract(_PEAK)
    start, end = (pd.to_numeric(parts[column]) for column in ("start", "end"))
    return float((start < end).mean()) if len(parts) else 0.0


def check_intervals(
    intervals: pd.DataFrame, names: Iterable[object], source: object
) -> None:
    """Raises InputError at the first row that breaks 0 <= start < end."""
    start, end = intervals["start"].to_numpy(), intervals["end"].to_numpy()
    wrong = np.flatnonzero((start < 0) | (start >= end))
    if wrong.size:
        row = wrong[0]
        raise InputError(
            source,
            f"{list(names)[row]!r} spans {start[row]} to {end[row]} bp",
            "Intervals are 0-based and half-open: 0 <= start < end",
        )


def place_names(frame: pd.DataFrame) -> list[str]:
    """`chr1:100-200` for every row."""
    columns = (frame[name].tolist() for name in ("chrom", "start", "end"))
    return [f"{c}:{s}-{e}" for c, s, e in zip(*columns, strict=True)]


def chromosome_style(chroms: Iterable[str], source: object) -> ChromosomeStyle:
    """Tells `chr1` from `1`. Scaffolds such as GL000194.1 fit either style.

    Raises:
        InputError: where both styles are mixed.
    """
    unique = pd.Series(pd.unique(pd.Series(list(chroms), dtype=str)))
    prefixed, plain = unique.str.startswith("chr"), unique.str.match(_PLAIN)
    if prefixed.any() and plain.any():
        raise InputError(
            source,
            f"chromosomes are named in two ways: {unique[prefixed].iloc[0]!r} and "
            f"{unique[plain].iloc[0]!r}",
            "Name all of them one way: chr1 (UCSC) or 1 (Ensembl)",
        )
    return "plain" if plain.any() else "chr"


def rename_chromosomes(chroms: pd.Series, style: ChromosomeStyle) -> pd.Series:
    """Chromosome names in the wanted style: `1` and `MT` against `chr1` and `chrM`."""
    chroms = chroms.astype(str)
    if style == "chr":
        plain = chroms.str.match(_PLAIN)
        return chroms.mask(plain, "chr" + chroms.replace("MT", "M"))
    bare = chroms.str.removeprefix("chr")
    return chroms.mask(bare.str.match(_PLAIN), bare.replace("M", "MT"))


def overlapping(
    left: pd.DataFrame, right: pd.DataFrame
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """All pairs of overlapping intervals, sorted by left and then right position.

    Args:
        left: chrom, start, end.
        right: chrom, start, end; chromosomes named as in `left`.

    Returns:
        Row numbers in `left` and in `right`. Intervals that only touch do not overlap.
    """
    pairs = [np.empty((2, 0), np.int64)]
    right_rows = right.reset_index(drop=True).groupby("chrom", sort=False).indices
    for chrom, rows in left.reset_index(drop=True).groupby("chrom").indices.items():
        others = right_rows.get(chrom)
        if others is None:
            continue
        a, b = left.iloc[rows], right.iloc[others]
        a = {column: a[column].to_numpy() for column in ("start", "end")}
        b = {column: b[column].to_numpy() for column in ("start", "end")}
        # Of two overlapping intervals one starts within the other: count each once.
        first, second = _starts_within(a["start"], b["start"], b["end"], "left")
        pairs.append(np.stack([rows[first], others[second]]))
        second, first = _starts_within(b["start"], a["start"], a["end"], "right")
        pairs.append(np.stack([rows[first], others[second]]))
    joined = np.concatenate(pairs, axis=1)
    order = np.lexsort(joined[::-1])
    return joined[0, order], joined[1, order]


def _starts_within(
    points: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    side: Literal["left", "right"],
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (point, interval) with start <= point < end ("right": start < point)."""
    order = np.argsort(points, kind="stable")
    low = np.searchsorted(points[order], starts, side=side)
    high = np.searchsorted(points[order], ends, side="left")
    count = np.maximum(high - low, 0)
    interval = np.repeat(np.arange(len(count)), count)
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return order[np.repeat(low, count) + offset], interval

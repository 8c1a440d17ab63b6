"""Regions with a value per sample, and tables that hold them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from scmultimodal.genome import bed_columns, intervals
from scmultimodal.genome.bed_columns import PLACE, TEXT
from scmultimodal.genome.interval_tables import REMEDY, read_intervals
from scmultimodal.schemas.errors import InputError

_VALUES = "Values are finite numbers from 0, 0 where a region is closed"
_MISSING = ("", ".", "NA", "NaN", "nan")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RegionTable:
    """Regions of one dataset, and how open each is in every sample.

    Attributes:
        source: file or object to name in an error.
        regions: chrom, start, end (0-based, half-open, bp) and summit, the position
            that windows of fixed length are centred on; disjoint, sorted.
        values: 0 where a region is closed.
        samples: names of the columns of `values`: cell types, clusters or tracks.
        closed_to_gaps: intervals that are no regions, but where no zero region may be
            drawn: peaks too rare to be used.
    """

    source: str
    regions: pd.DataFrame
    values: Float[np.ndarray, "regions samples"]
    samples: tuple[str, ...]
    closed_to_gaps: pd.DataFrame

    @classmethod
    def build(
        cls,
        source: object,
        regions: pd.DataFrame,
        values: Float[np.ndarray, "regions samples"],
        samples: Sequence[str],
        *,
        closed_to_gaps: pd.DataFrame | None = None,
    ) -> "RegionTable":
        """Checks and sorts regions and their values.

        Regions without a column `summit` have it in their middle.

        Raises:
            InputError: there are none, two overlap, a summit lies outside its region,
                or a value is negative or not finite; names the first.
        """
        middle = (regions["start"] + regions["end"]) // 2
        summit = regions.get("summit", middle)
        regions = pd.DataFrame({c: regions[c].to_numpy() for c in PLACE})
        regions["summit"] = summit.to_numpy()
        if not len(regions) or not samples:
            problem = f"holds {len(regions)} regions and {len(samples)} samples"
            raise InputError(source, problem, REMEDY)
        intervals.chromosome_style(regions["chrom"], source)
        order = regions.sort_values(["chrom", "start", "end"]).index.to_numpy()
        regions = regions.iloc[order].reset_index(drop=True)
        values = np.asarray(values)[order].astype(np.float32)
        _check_values(source, regions, values, samples)
        check_disjoint(regions, source)
        _check_summits(source, regions)
        if closed_to_gaps is None:
            closed_to_gaps = regions.iloc[:0]
        return cls(
            source=str(source),
            regions=regions,
            values=values,
            samples=tuple(map(str, samples)),
            closed_to_gaps=closed_to_gaps.reset_index(drop=True),
        )

    def renamed(self, style: intervals.ChromosomeStyle) -> "RegionTable":
        """The same with chromosomes named `chr1` or `1`."""

        def rename(frame: pd.DataFrame) -> pd.DataFrame:
            names = intervals.rename_chromosomes(frame["chrom"], style)
            return frame.assign(chrom=names)

        return dataclasses.replace(
            self,
            regions=rename(self.regions),
            closed_to_gaps=rename(self.closed_to_gaps),
        )

    def keep(self, chosen: Bool[np.ndarray, " regions"]) -> "RegionTable":
        """Some of the regions; no zero region may be drawn on the others."""
        others = self.regions[~chosen]
        closed = [frame[[*PLACE]] for frame in (self.closed_to_gaps, others)]
        return dataclasses.replace(
            self,
            regions=self.regions[chosen].reset_index(drop=True),
            values=self.values[chosen],
            closed_to_gaps=pd.concat(closed, ignore_index=True),
        )

    def lengths(self) -> tuple[float, float]:
        """Mean and standard deviation of the regions' lengths, in bp."""
        length = self.regions["end"] - self.regions["start"]
        return float(length.mean()), float(length.std(ddof=0))


def read_tracks(path: str | Path) -> RegionTable:
    """Reads regions with one value per sample.

    Args:
        path: a tab-separated table, gzipped or not, with a header that names chrom,
            start, end and, where they are known, summit; every other column of
            numbers is a sample. Or a BED-like file without a header, whose numbers
            from the fourth column on are samples (of BED6, its score is none). Or
            narrowPeak or broadPeak of ENCODE, by name or by shape (see
            `bed_columns.names`), with signalValue as its one sample.

    Raises:
        InputError: the table cannot be read, may be read in several ways, or breaks
            a rule of `RegionTable`.
    """
    table = bed_columns.as_tracks(Path(path), read_intervals(path))
    others = table.drop(columns=[*PLACE, "summit"], errors="ignore")
    numbers = others.apply(pd.to_numeric, errors="coerce")
    texts = [c for c in others if str(c).lower() in TEXT]
    # A column of words is a name; one stray word among numbers is an error.
    words = numbers.isna() & ~others.isin(_MISSING)
    mostly = numbers.notna().sum() > words.sum()
    samples = [c for c in others if mostly[c] and c not in texts]
    if not samples:
        raise InputError(path, "has no column of values", REMEDY)
    for name in samples:
        _check_numbers(path, table, name, numbers[name])
    return RegionTable.build(
        path, table, numbers[samples].to_numpy(np.float64), [str(s) for s in samples]
    )


def check_disjoint(regions: pd.DataFrame, source: object) -> None:
    """Raises InputError at the first two sorted intervals that overlap."""
    start, end = regions["start"].to_numpy(), regions["end"].to_numpy()
    same = regions["chrom"].to_numpy()[1:] == regions["chrom"].to_numpy()[:-1]
    wrong = np.flatnonzero(same & (start[1:] < end[:-1]))
    if wrong.size:
        pair = intervals.place_names(regions.iloc[wrong[0] : wrong[0] + 2])
        problem = f"{pair[0]} and {pair[1]} overlap ({wrong.size} such pairs)"
        raise InputError(source, problem, "Merge overlapping regions first")


def _check_summits(source: object, regions: pd.DataFrame) -> None:
    inside = regions["summit"].between(regions["start"], regions["end"] - 1)
    if not bool(inside.all()):
        first = regions[~inside].iloc[[0]]
        problem = (
            f"summit {first['summit'].iloc[0]} of {intervals.place_names(first)[0]}"
        )
        raise InputError(source, problem, "A summit is a position within its region")


def _check_numbers(
    path: str | Path, table: pd.DataFrame, name: str, numbers: pd.Series
) -> None:
    rows = np.flatnonzero(numbers.isna())
    if rows.size:
        value, where = (
            table[name].iloc[rows[0]],
            intervals.place_names(table.iloc[rows[:1]])[0],
        )
        problem = f"value {value!r} of {name!r} at {where} ({rows.size} such)"
        raise InputError(path, problem, _VALUES)


def _check_values(
    source: object,
    regions: pd.DataFrame,
    values: Float[np.ndarray, "regions samples"],
    samples: Sequence[str],
) -> None:
    wrong = np.argwhere(~(np.isfinite(values) & (values >= 0)))
    if wrong.size:
        row, column = wrong[0]
        where = intervals.place_names(regions.iloc[[row]])[0]
        raise InputError(
            source,
            f"value {values[row, column]:g} of {samples[column]!r} at {where}",
            _VALUES,
        )
    names = pd.Index(samples)
    if names.has_duplicates:
        first = names[names.duplicated()][0]
        raise InputError(source, f"has two samples {first!r}", "Rename one")

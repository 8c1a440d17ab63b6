"""Which part of the genome serves for training, validation and test: as data."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64

from scmultimodal.genome import intervals
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.interval_tables import read_intervals
from scmultimodal.genome.regions import check_disjoint
from scmultimodal.schemas.errors import InputError

SPLITS = ("train", "validation", "test", "none")
"""Names of the parts; a number of type uint8 stands for each."""

_SPELLINGS = {"valid": "validation", "val": "validation", "": "none"}


def position(name: str, source: object) -> int:
    """Where a part stands in `SPLITS`.

    Args:
        name: of the part.
        source: whose part it is, to name in an error.

    Raises:
        InputError: there is no part of that name.
    """
    if name not in SPLITS:
        problem = f"has no split {name!r}"
        raise InputError(source, problem, f"Use one of {', '.join(SPLITS)}")
    return SPLITS.index(name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChromosomeSplit:
    """Chromosomes of each part (SPEC 3.1.6), with or without "chr".

    Spans of a chromosome that is not named are not made.
    """

    train: tuple[str, ...] = (*(str(number) for number in range(1, 20)), "X", "Y")
    validation: tuple[str, ...] = ("22",)
    test: tuple[str, ...] = ("20", "21")

    def __post_init__(self):
        """Raises InputError where a chromosome is in two parts."""
        named = pd.Series(self.all(), dtype=str)
        names = intervals.rename_chromosomes(named, "chr")
        if names.duplicated().any():
            first = named[names.duplicated()].iloc[0]
            problem = f"chromosome {first!r} is named twice"
            raise InputError("split", problem, "Give each chromosome to one part")

    def all(self) -> tuple[str, ...]:
        """The chromosomes of all parts."""
        return (*self.train, *self.validation, *self.test)

    def named(self, style: intervals.ChromosomeStyle) -> frozenset[str]:
        """The same, named `chr1` or `1`."""
        names = pd.Series(self.all(), dtype=str)
        return frozenset(intervals.rename_chromosomes(names, style))


class Territories(NamedTuple):
    """Stretches of one chromosome in which spans may lie; sorted, disjoint.

    Attributes:
        start: bp.
        end: bp.
        group: what a split keeps together: number of the chromosome or region.
        split: position in `SPLITS`.
    """

    start: Int64[np.ndarray, " territories"]
    end: Int64[np.ndarray, " territories"]
    group: Int64[np.ndarray, " territories"]
    split: Int64[np.ndarray, " territories"]

    def around(
        self, start: Int64[np.ndarray, " n"], end: Int64[np.ndarray, " n"]
    ) -> Int64[np.ndarray, " n"]:
        """The territory that each interval lies in wholly, or −1."""
        at = np.searchsorted(self.start, start, side="right") - 1
        # −1, for what lies before all of them, picks the 0.
        return np.where(end <= np.append(self.end, 0)[at], at, -1)

    def cover(
        self, start: Int64[np.ndarray, " n"], end: Int64[np.ndarray, " n"]
    ) -> Bool[np.ndarray, " n"]:
        """Which intervals lie in a territory wholly."""
        return self.around(start, end) >= 0

    def touch(
        self, start: Int64[np.ndarray, " n"], end: Int64[np.ndarray, " n"]
    ) -> Bool[np.ndarray, " n"]:
        """Which intervals share a base with a territory."""
        at = np.searchsorted(self.end, start, side="right")
        return np.append(self.start, np.iinfo(np.int64).max)[at] < end


def read_region_split(path: str | Path) -> pd.DataFrame:
    """Reads regions of the genome with their split.

    Args:
        path: table with chrom, start, end and split ("train", "validation" or
            "valid", "test", "none"); further columns are ignored.

    Returns:
        chrom, start, end, split; in the order of the file, which numbers the groups.

    Raises:
        InputError: no such table, an unknown split, regions that overlap, chromosomes
            named in two ways.
    """
    table = read_intervals(path)
    if "split" not in table:
        problem = f"has no column 'split', but {list(table.columns)[:8]}"
        raise InputError(path, problem, f"Name the part of each region: {SPLITS}")
    split = table["split"].str.strip().str.lower()
    table["split"] = split.replace(_SPELLINGS)
    wrong = ~table["split"].isin(SPLITS)
    if bool(wrong.any()):
        problem = f"split {table['split'][wrong].iloc[0]!r} is unknown"
        raise InputError(path, problem, f"Use one of {', '.join(SPLITS)}")
    # "1" and "chr1" would pass for two chromosomes, and could be in two parts.
    intervals.chromosome_style(table["chrom"], path)
    check_disjoint(table.sort_values(["chrom", "start"]), path)
    return table[["chrom", "start", "end", "split"]]


def by_chromosome(split: ChromosomeSplit, genome: Genome) -> dict[str, Territories]:
    """Territories of the chromosomes that are in a part and in the genome.

    They come in the order of the genome; the number of a chromosome in here is the
    group of its spans.
    """
    style = intervals.chromosome_style(genome.chromosomes, "genome")
    code = {}
    for number, part in enumerate((split.train, split.validation, split.test)):
        names = intervals.rename_chromosomes(pd.Series(part, dtype=str), style)
        code |= dict.fromkeys(names, number)
    named = [chrom for chrom in genome.chromosomes if chrom in code]
    found = {}
    for group, chrom in enumerate(named):
        rows, reach = [], 0
        for start, end in sorted(p[1:] for p in genome.pieces if p.chrom == chrom):
            # Of two records that overlap, the second serves where the first ends.
            if end > reach:
                rows.append((max(start, reach), end, group, code[chrom]))
                reach = end
        found[chrom] = _territories(rows)
    return found


def by_region(regions: pd.DataFrame, genome: Genome) -> dict[str, Territories]:
    """Territories of regions that were given with their split.

    The group of a span is the row of its region.

    Raises:
        InputError: the genome does not hold a region.
    """
    style = intervals.chromosome_style(genome.chromosomes, "genome")
    names = intervals.rename_chromosomes(regions["chrom"], style)
    rows: dict[str, list[tuple[int, int, int, int]]] = {}
    for row, chrom in enumerate(names):
        start, end, split = regions.iloc[row][["start", "end", "split"]]
        if not genome.covers(chrom, int(start), int(end)):
            genome.fetch(chrom, int(start), int(end))  # says what is wrong
        place = int(start), int(end), row, SPLITS.index(split)
        rows.setdefault(chrom, []).append(place)
    return {chrom: _territories(known) for chrom, known in rows.items()}


def _territories(rows: Iterable[tuple[int, int, int, int]]) -> Territories:
    table = np.array(sorted(rows), np.int64).reshape(-1, 4)
    return Territories(*np.ascontiguousarray(table.T))

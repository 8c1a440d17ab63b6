"""Counts of a fragments file, cells by peaks or by tiles, in bounded memory.

A fragment is cut out by two insertions of Tn5, at its first and at its last base: the
shift of Tn5 is already applied in the files of 10x. An insertion within a peak speaks
for the peak being open; a fragment that spans a peak with both of them outside does
not. So a fragment counts for a peak that holds one of its insertions or both, which
is what ceil(reads / 2) estimates. Source: doi:10.1038/s41592-023-02112-6.
The fifth column, of reads that are copies of one fragment, is not used.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Int, Int64

from scmultimodal.genome import intervals
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.barcodes import read_barcodes
from scmultimodal.singlecell.entries import Entries
from scmultimodal.singlecell.fragment_lines import FragmentLines
from scmultimodal.singlecell.fragment_survey import survey
from scmultimodal.singlecell.peak_index import (
    MOST_BP,
    PeakIndex,
    distinct,
    keys,
    read_peaks,
)

Counted = Literal["fragments", "insertions"]
LINES_AT_ONCE = 2**18


def open_fragments(
    path: str | Path,
    *,
    peaks: str | Path | None = None,
    tile_bp: int = 500,
    counts: Counted = "fragments",
    barcodes: str | Path | None = None,
    lines_at_once: int = LINES_AT_ONCE,
) -> "FragmentCounts":
    """Plans the counts of a fragments file.

    With a list of barcodes and with peaks, nothing but the first lines are read here;
    without either, the file is read once for what is missing.

    Args:
        path: chrom, start, end (0-based, half-open, bp), barcode, in tabs; gzipped,
            by bgzip too, or not; in any order.
        peaks: BED file; peaks may overlap and be in any order. None takes tiles of
            the genome: those that hold an insertion of any barcode, chromosomes in
            the order of the file, by position. (The last one of a chromosome may
            reach beyond its end.)
        tile_bp: length of a tile.
        counts: "insertions", or "fragments" with an insertion in the peak.
        barcodes: list of cells (`barcodes.read_barcodes`), whose order is kept. None
            takes those above the knee (`barcodes.find_knee`), in alphabetical order.
        lines_at_once: about how many lines are held in memory.

    Raises:
        InputError: an argument is out of its range, a file is missing or breaks a
            rule, or there is no knee.
    """
    path = Path(path)
    _check_arguments(counts, tile_bp, lines_at_once)
    facts: dict[str, Any] = {"file": path.name, "counts": counts}
    cells = None if barcodes is None else read_barcodes(Path(barcodes))
    places = None if peaks is None else read_peaks(Path(peaks))
    if cells is None or places is None:
        seen = survey(path, None if peaks else tile_bp, lines_at_once)
        if cells is None:
            cells, facts["knee"] = seen.cells(path)
        if places is None:
            intervals.chromosome_style(seen.chroms, path)
            places, facts["tile_bp"] = seen.tile_table(tile_bp), tile_bp
    else:
        next(iter(FragmentLines(path, lines_at_once=min(lines_at_once, 1_000))))
    facts["barcodes_by"] = "knee" if barcodes is None else Path(barcodes).name
    facts["peaks_by"] = "tiles" if peaks is None else Path(peaks).name
    return FragmentCounts(
        path=path,
        barcodes=cells,
        peaks=places,
        counts=counts,
        lines_at_once=lines_at_once,
        facts=facts | {"barcodes": len(cells), "peaks": len(places)},
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FragmentCounts:
    """The plan of a count; the file is read when entries are taken.

    Attributes:
        path: the fragments file.
        barcodes: the cells.
        peaks: chrom, start, end; indexed by `chr1:100-600`.
        counts: what counts.
        lines_at_once: about how many lines are held in memory.
        facts: for the record; JSON. Once all entries were taken, with the number of
            fragments read, in cells, and in peaks.
    """

    path: Path
    barcodes: pd.Index
    peaks: pd.DataFrame
    counts: Counted
    lines_at_once: int
    facts: dict[str, Any]

    def entries(self) -> Iterator[Entries]:
        """Counts in the order of the file; can be taken again.

        Raises:
            InputError: a line breaks a rule; or, at the end, no barcode is among the
                cells, no chromosome among those of the peaks, or all counts are 0.
        """
        index = PeakIndex(self.peaks, self.facts["peaks_by"])
        style = intervals.chromosome_style(index.chroms, self.facts["peaks_by"])
        lines = FragmentLines(self.path, lines_at_once=self.lines_at_once)
        row_of = _Numbers(lines.barcodes, self.barcodes)
        chrom_of = _Numbers(
            lines.chroms,
            index.chroms,
            lambda names: intervals.rename_chromosomes(pd.Series(names), style),
        )
        read = in_cells = in_peaks = 0
        for part in lines:
            row, chrom = row_of(part.barcode), chrom_of(part.chrom)
            read, in_cells = read + len(row), in_cells + int((row >= 0).sum())
            used = (row >= 0) & (chrom >= 0)
            first = keys(chrom[used], part.start[used])
            last = keys(chrom[used], part.end[used] - 1)
            fragment, peak = _pairs(first, last, index, self.counts)
            in_peaks += len(distinct(fragment))
            if len(peak):
                ones = np.ones(len(peak), np.int32)
                yield Entries(row[used][fragment], peak, ones)
        if not in_peaks:
            raise self._nothing(row_of, chrom_of, in_cells)
        self.facts.update(
            fragments=read,
            fragments_in_cells=in_cells,
            fragments_in_peaks=in_peaks,
            barcodes_in_file=len(lines.barcodes),
            barcodes_found=len(lines.barcodes) - len(row_of.unknown()),
            chromosomes_without_peaks=chrom_of.unknown(),
        )

    def _nothing(
        self, row_of: "_Numbers", chrom_of: "_Numbers", in_cells: int
    ) -> InputError:
        """Why all counts are 0."""
        if not in_cells:
            names = row_of.unknown()
            remedy = "Name them as the fragments do, suffix and all"
            problem = (
                f"none of the {len(self.barcodes)} in {self.facts['barcodes_by']} "
                f"({self.barcodes[0]!r} …) is among its {len(names)} barcodes "
                f"({names[0]!r} …)"
            )
        elif len(chrom_of.unknown()) == len(chrom_of):
            remedy = "Give the peaks of the same species and assembly"
            problem = (
                f"no fragment is on a chromosome of {self.facts['peaks_by']} "
                f"({self.peaks['chrom'].iloc[0]!r} …), but on {chrom_of.unknown()[:5]}"
            )
        else:
            remedy = "Give the peaks of the same assembly"
            problem = f"no fragment of {in_cells} in cells ends within a peak"
        return InputError(self.path, problem, remedy)


class _Numbers:
    """Numbers of names in a table that grows, as those of names that are known."""

    def __init__(
        self,
        names: list[str],
        known: pd.Index,
        rename: Callable[[list[str]], Iterable[str]] = list,
    ):
        self._names, self._known, self._rename = names, known, rename
        self._number = np.empty(0, np.int64)

    def __call__(self, numbers: Int[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Positions among the known; -1 for others."""
        if new := self._names[len(self._number) :]:
            found = self._known.get_indexer(pd.Index(self._rename(new), dtype=object))
            self._number = np.concatenate([self._number, found])
        return self._number[numbers]

    def __len__(self) -> int:
        return len(self._number)

    def unknown(self) -> list[str]:
        """Names that are none of the known."""
        names = zip(self._names, self._number, strict=True)
        return [name for name, number in names if number < 0]


def _pairs(
    first: Int64[np.ndarray, " fragments"],
    last: Int64[np.ndarray, " fragments"],
    index: PeakIndex,
    counts: Counted,
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Fragments and the peaks that they count for.

    Args:
        first, last: keys of the first and of the last base.
        index: of the peaks.
        counts: whether a fragment counts once or twice for a peak with both.
    """
    fragment, peak = index.find(first)
    other, its_peak = index.find(last)
    if counts == "fragments":
        # A peak that holds the last base, and begins by the first one, holds both.
        is_new = index.start[its_peak] > first[other]
        other, its_peak = other[is_new], its_peak[is_new]
    return np.concatenate([fragment, other]), np.concatenate([peak, its_peak])


def _check_arguments(counts: str, tile_bp: int, lines_at_once: int) -> None:
    if counts not in get_args(Counted):
        remedy = f"Use one of {get_args(Counted)}"
        raise InputError("counts", f"{counts!r} is unknown", remedy)
    if not 1 <= tile_bp <= MOST_BP:
        raise InputError("tile_bp", f"{tile_bp} is no length", "Use 500, say")
    if lines_at_once < 1:
        raise InputError("lines_at_once", f"{lines_at_once} is none", "Use 1 or more")

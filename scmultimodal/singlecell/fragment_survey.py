"""What a fragments file holds, where no list of cells or of peaks tells."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int, Int64

from scmultimodal.singlecell.barcodes import find_knee
from scmultimodal.singlecell.fragment_lines import FragmentLines
from scmultimodal.singlecell.peak_index import distinct, peak_table


class Survey(NamedTuple):
    """A whole file.

    Attributes:
        barcodes: all of them.
        fragments: of each.
        chroms: names.
        tiles: numbers of the tiles with an insertion, in order, for each chromosome.
    """

    barcodes: pd.Index
    fragments: Int64[np.ndarray, " barcodes"]
    chroms: list[str]
    tiles: dict[int, Int[np.ndarray, " tiles"]]

    def cells(self, path: Path) -> tuple[pd.Index, dict[str, int]]:
        """Those above the knee, in alphabetical order, and where it is."""
        knee = find_knee(self.fragments, path)
        cells = self.barcodes[self.fragments >= knee.least]
        facts = {"barcodes_in_file": len(self.barcodes), **knee._asdict()}
        return cells.sort_values(), facts

    def tile_table(self, tile_bp: int) -> pd.DataFrame:
        """chrom, start, end of the tiles; chromosomes in the order of the file."""
        numbers = range(len(self.chroms))
        start = np.concatenate([self.tiles[n] for n in numbers])
        start = start.astype(np.int64) * tile_bp
        sizes = [len(self.tiles[n]) for n in numbers]
        chrom = np.repeat(np.array(self.chroms, dtype=object), sizes)
        return peak_table(chrom, start, start + tile_bp)


def survey(path: Path, tile_bp: int | None, lines_at_once: int) -> Survey:
    """Reads the file once; looks for tiles where they have a length."""
    lines = FragmentLines(path, lines_at_once=lines_at_once)
    fragments = np.empty(0, np.int64)
    tiles: dict[int, np.ndarray] = {}
    for part in lines:
        found = np.bincount(part.barcode, minlength=len(lines.barcodes))
        found[: len(fragments)] += fragments
        fragments = found
        for number in np.unique(part.chrom) if tile_bp else ():
            here = part.chrom == number
            ends = np.concatenate([part.start[here], part.end[here] - 1])
            here = distinct(ends // tile_bp)
            tiles[number] = distinct(np.concatenate([here, tiles.get(number, here)]))
    barcodes = pd.Index(lines.barcodes, dtype=object)
    return Survey(barcodes, fragments, lines.chroms, tiles)

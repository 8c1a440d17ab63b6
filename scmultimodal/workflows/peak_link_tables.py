"""Links of peaks and genes, as a table and as BEDPE."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd

from scmultimodal.data import atomic
from scmultimodal.genome import text_files
from scmultimodal.schemas.errors import InputError

BEDPE = (
    *("chrom1", "start1", "end1", "chrom2", "start2", "end2"),
    *("name", "score", "strand1", "strand2"),
    *("gene_id", "distance_bp", "cells", "correlation"),
)
"""Columns of a file; those after the tenth are ours, as the format allows."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PeakGeneLinks:
    """What each open peak adds to what the model says of the genes near it.

    Attributes:
        table: a row for each pair of a peak that some cell has open and a gene near it,
            by chrom, start and end of the peak: gene_id, symbol, strand, tss,
            distance_bp (of the peak's nearer end from the tss), cells (that have the
            peak open), score (gradient × input, mean over these; above 0 speaks for
            the gene's being expressed), correlation (of the peak's being open and the
            gene's RNA over cells that have both; NaN where there are none).
        cells: how many cells were asked.
        within_bp: how far from a gene's start peaks were looked for.
    """

    table: pd.DataFrame
    cells: int
    within_bp: int

    def top_links(self, k: int = 10) -> pd.DataFrame:
        """The peaks that speak most for each gene, the strongest of a gene first.

        Returns:
            Rows of `table`, k for each gene in its order; fewer where fewer speak for
            it.

        Raises:
            InputError: k is below 1.
        """
        if k < 1:
            raise InputError("k", f"is {k}", "Give 1 or more")
        speaking = self.table[self.table["score"] > 0]
        order = speaking.sort_values("score", ascending=False, kind="stable")
        best = order.groupby("gene_id", sort=False).head(k)
        place = pd.Index(self.table["gene_id"].unique()).get_indexer(best["gene_id"])
        return best.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)

    def to_bedpe(self, path: str | os.PathLike, *, k: int | None = None) -> Path:
        """Writes links for genome browsers: the peak is one end, the gene's start the
        other.

        The first base of a gene is its start. Sorted by the place of the peak, with a
        line of column names that begins with #; gzipped where the name ends in .gz.

        Args:
            path: of the file; what stood there is replaced.
            k: so many peaks of each gene, those that speak most for it; None takes all
                links, those that speak against it too.

        Raises:
            InputError: k is below 1.
        """
        path = Path(path)
        table = self.table if k is None else self.top_links(k)
        lines = _bedpe(table).to_csv(
            sep="\t", index=False, header=False, na_rep=".", float_format="%.6g"
        )
        with (
            atomic.file(path) as temporary,
            text_files.writing(temporary, packed=path.suffix == ".gz") as file,
        ):
            file.write("#" + "\t".join(BEDPE) + "\n" + lines)
        return path

    def format_table(self, k: int = 10) -> str:
        """To print: the strongest links of all."""
        best = self.top_links(1).nlargest(k, "score")
        columns = ["symbol", "chrom", "start", "end", "distance_bp", "cells", "score"]
        return best[columns].to_string(index=False, float_format="%.3g")


def _bedpe(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of `BEDPE`, sorted."""
    # The base whose outer boundary the start is: the last one on the other strand.
    base = table["tss"] - (table["strand"] == "-")
    found = pd.DataFrame(
        {
            "chrom1": table["chrom"],
            "start1": table["start"],
            "end1": table["end"],
            "chrom2": table["chrom"],
            "start2": base,
            "end2": base + 1,
            "name": table["symbol"],
            "score": table["score"],
            "strand1": ".",
            "strand2": table["strand"],
            "gene_id": table["gene_id"],
            "distance_bp": table["distance_bp"],
            "cells": table["cells"],
            "correlation": table["correlation"],
        }
    )
    return found.sort_values(["chrom1", "start1", "end1", "start2", "gene_id"])

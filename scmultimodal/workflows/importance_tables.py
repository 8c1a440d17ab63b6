"""What a classifier tells cell types by: genes and peaks, as tables and as BED."""

import dataclasses
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from scmultimodal.data import atomic
from scmultimodal.genome import text_files

BED = ("chrom", "start", "end", "name", "score", "strand")
"""Columns of a file that browsers read; those of ours stand after them."""
_HIGHEST = 1_000
"""Score of a line of BED."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Importance:
    """What is common to genes and peaks.

    Attributes:
        table: gradient × input, mean over the cells of the type: a row for each gene or
            peak, a column for each type. Above 0 speaks for the type. NaN for a type
            that no cell is of.
        cells: how many cells are of each type.
    """

    table: pd.DataFrame
    cells: pd.Series

    @property
    def types(self) -> list[str]:
        """The types that some cell is of."""
        return [str(name) for name, count in self.cells.items() if count > 0]


class GeneImportance(_Importance):
    """What each gene adds to the logit of each cell type.

    Attributes:
        table: a row for each gene of each modality shown, indexed by modality and
            gene_id, with `symbol` and a column for each type: gradient × input, mean
            over the cells of the type. Above 0 speaks for the type. NaN for a type
            that no cell is of.
        cells: how many cells are of each type.
    """

    def top_genes(self, k: int = 10) -> pd.DataFrame:
        """The genes that speak most for each type: markers, in the model's eyes.

        Returns:
            cell_type, modality, rank from 1, gene_id, symbol, importance; k for each
            type and modality, fewer where fewer speak for it.
        """
        columns = ["cell_type", "modality", "rank", "gene_id", "symbol", "importance"]
        rows = []
        modalities = self.table.index.get_level_values("modality").unique()
        for name in self.types:
            for modality in modalities:
                best = _strongest(self.table.loc[modality], name, k)
                found = zip(best.index, best["symbol"], best[name], strict=True)
                rows += [
                    (name, modality, rank, *gene) for rank, gene in enumerate(found, 1)
                ]
        return pd.DataFrame(rows, columns=columns)

    def format_table(self, k: int = 5) -> str:
        """To print: cells of each type, and its strongest genes."""
        lines = pd.DataFrame({"cells": self.cells})
        for modality, part in self.top_genes(k).groupby("modality", sort=False):
            lines[modality] = part.groupby("cell_type")["symbol"].agg(", ".join)
        return lines.rename_axis("cell type").to_string(na_rep="", max_colwidth=60)


class PeakImportance(_Importance):
    """What each open peak adds to the logit of each cell type.

    Attributes:
        table: a row for each peak that some cell has open, indexed by chrom, start and
            end (0-based, half-open, bp), with `nearest_gene` (symbol of the gene whose
            start is nearest, "" where none is within 500 kb), `distance_bp` (of the
            peak's nearer end from it, −1 where there is none) and a column for each
            type: gradient × input, mean over the cells of the type, those that have the
            peak closed too. Above 0 speaks for the type. NaN for a type that no cell is
            of.
        cells: how many cells are of each type.
    """

    def top_peaks(self, k: int = 10) -> pd.DataFrame:
        """The peaks that speak most for each type.

        Returns:
            cell_type, rank from 1, chrom, start, end, nearest_gene, distance_bp,
            importance; k for each type, fewer where fewer speak for it.
        """
        parts = []
        for name in self.types:
            best = _strongest(self.table, name, k)
            part = best[["nearest_gene", "distance_bp"]].reset_index()
            part.insert(0, "cell_type", name)
            part.insert(1, "rank", np.arange(1, len(part) + 1))
            parts.append(part.assign(importance=best[name].to_numpy()))
        return pd.concat(parts, ignore_index=True)

    def format_table(self, k: int = 3) -> str:
        """To print: cells of each type, and its strongest peaks."""
        top = self.top_peaks(k)
        names = pd.Series(peak_names(top), index=top["cell_type"])
        lines = pd.DataFrame({"cells": self.cells})
        lines["peaks"] = names.groupby(level=0, sort=False).agg("; ".join)
        return lines.rename_axis("cell type").to_string(na_rep="", max_colwidth=100)

    def to_bed(self, path: str | os.PathLike) -> Path:
        """Writes peaks for genome browsers.

        A line's name is the type that the peak speaks most for, its score that value,
        where 1,000 is the largest of the file; "." and 0 where it speaks for none. The
        columns after the sixth are those of `table`. Sorted by place, with a line of
        column names that begins with #; gzipped where the name ends in .gz.

        Args:
            path: of the file; what stood there is replaced.
        """
        path = Path(path)
        lines = self._bed().to_csv(
            sep="\t", index=False, header=False, na_rep=".", float_format="%.6g"
        )
        header = "\t".join([*BED, *map(str, self.table.columns)])
        with (
            atomic.file(path) as temporary,
            text_files.writing(temporary, packed=path.suffix == ".gz") as file,
        ):
            file.write(f"#{header}\n{lines}")
        return path

    def _bed(self) -> pd.DataFrame:
        """Lines of a file, in the order of their places."""
        values = self.table[self.types].to_numpy(np.float64)
        most = np.maximum(values.max(1), 0)
        names = np.array(self.types, object)[values.argmax(1)]
        scale = _HIGHEST / (most.max(initial=0) or 1)
        places = self.table.index.to_frame(index=False).assign(
            name=np.where(most > 0, names, "."),
            score=np.minimum(np.ceil(scale * most), _HIGHEST).astype(np.int64),
            strand=".",
        )
        ours = self.table.reset_index(drop=True)
        found = pd.concat([places, ours.replace({"nearest_gene": {"": "."}})], axis=1)
        return found.sort_values(["chrom", "start", "end"], kind="stable")


class Importance(NamedTuple):
    """What a classifier tells cell types by."""

    genes: GeneImportance | None
    """None where the model reads peaks alone of the cells."""
    peaks: PeakImportance | None
    """None where the model reads none of the cells."""


def peak_names(top: pd.DataFrame) -> list[str]:
    """Peaks by place and, where there is one, by the gene nearest to them."""
    rows = top[["chrom", "start", "end", "nearest_gene", "distance_bp"]]
    return [
        f"{chrom}:{start}-{end}" + (f" {gene} {far / 1e3:.0f} kb" if gene else "")
        for chrom, start, end, gene, far in rows.itertuples(index=False)
    ]


def _strongest(table: pd.DataFrame, name: str, k: int) -> pd.DataFrame:
    """Rows that speak most for a type, and none that speaks against it."""
    best = table.iloc[np.argsort(-table[name].to_numpy(), kind="stable")[:k]]
    return best[best[name] > 0]

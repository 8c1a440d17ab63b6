"""Gene annotation: GTF, BED and tables, recognised by content."""

import gzip
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from scmultimodal.genome import text_files
from scmultimodal.genome.intervals import check_intervals, chromosome_style
from scmultimodal.schemas.errors import InputError

GENE_COLUMNS = ("gene_id", "symbol", "chrom", "start", "end", "strand")

_ENSEMBL = r"^(ENS[A-Z]*G\d+)(?:\.\d+)?(?:_PAR_Y)?$"
_GTF_ATTRIBUTE = re.compile(r'(\w+) "([^"]*)"')
_PRIMARY = r"^(?:chr)?(?:\d{1,2}[LRab]{0,2}|[XYWZ]|MT?|[IVX]+)$"
_REMEDY = (
    "Give a GTF with gene features, a BED6 file, or a table with columns "
    "chrom, start, end, symbol and strand"
)
_HEADER = {
    "chrom": ("chrom", "chr", "chromosome", "seqname", "seqnames"),
    "start": ("start", "chromstart"),
    "end": ("end", "chromend", "stop"),
    "symbol": ("symbol", "name", "gene_name", "gene_symbol", "gene"),
    "strand": ("strand",),
    "gene_id": ("gene_id", "gene_ids", "ensembl_id", "ensembl", "id"),
}


class _Row(NamedTuple):
    line: int
    gene_id: str | None
    symbol: str | None
    chrom: str
    start: str
    end: str
    strand: str


def read_genes(path: str | Path) -> pd.DataFrame:
    """Reads a gene annotation; the format is recognised by content, gzipped or not.

    Takes GTF (its gene features), BED6, the five-column table of SIMBA
    (chrom, start, end, symbol, strand) and tables with a header line.

    Args:
        path: the file.

    Returns:
        gene_id, symbol, chrom, start, end (0-based, half-open, bp), strand ("+", "-").
        Ensembl IDs have no version; without one the symbol is the ID (SPEC 2.2.1).
        `attrs["report"]` says what was left out: IDs with more than one symbol, and
        further places of one ID (pseudo-autosomal regions, alternative contigs).

    Raises:
        InputError: for a file that is missing, empty, truncated, of another format,
            or that has a bad strand or coordinate.
    """
    path = Path(path)
    with (
        text_files.reading(path, remedy=_REMEDY),
        path.open("rb") as file,
        _text(file) as lines,
    ):
        rows = list(_parse(lines, path))
    if not rows:
        raise InputError(path, "holds no genes", _REMEDY)
    genes = _check(pd.DataFrame(rows), path)
    return _unique(genes, path)


def drop_version(ids: pd.Series) -> pd.Series:
    """Ensembl gene IDs without version suffix; anything else as it is."""
    ids = ids.astype(str)
    return ids.str.extract(_ENSEMBL, expand=False).fillna(ids)


def is_ensembl(ids: pd.Series) -> pd.Series:
    """Which strings are Ensembl gene IDs, of any species, with or without version."""
    return ids.astype(str).str.match(_ENSEMBL)


def _text(file: io.BufferedReader) -> io.TextIOWrapper:
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return io.TextIOWrapper(gzip.open(file) if packed else file, encoding="utf-8")


def _parse(lines: Iterable[str], path: Path) -> Iterator[_Row]:
    """Yields one row per gene; the first line that is no comment fixes the format."""
    columns: dict[str, int] | None = None
    is_gtf = False
    for number, line in enumerate(lines, start=1):
        fields = line.rstrip("\r\n").split("\t")
        if columns is None and not is_gtf:
            if (columns := _header(fields)) is not None:
                continue
            if line.startswith(("#", "track", "browser")) or not line.strip():
                continue
            is_gtf = len(fields) == 9 and 'gene_id "' in fields[8]
            columns = None if is_gtf else _by_position(fields, path)
        if line.startswith("#") or not line.strip():
            continue
        if is_gtf:
            if len(fields) == 9 and fields[2] == "gene":
                yield _gtf_row(number, fields, path)
        else:
            yield _table_row(number, fields, columns, path)


def _header(fields: list[str]) -> dict[str, int] | None:
    names = [field.lstrip("#").strip().lower() for field in fields]
    found = {
        column: names.index(spelling)
        for column, spellings in _HEADER.items()
        for spelling in reversed(spellings)
        if spelling in names
    }
    return found if {"chrom", "start", "end", "strand"} <= found.keys() else None


def _by_position(fields: list[str], path: Path) -> dict[str, int]:
    columns = dict(zip(("chrom", "start", "end", "symbol"), range(4), strict=True))
    if len(fields) == 5:
        return columns | {"strand": 4}
    if len(fields) >= 6 and fields[1].isdecimal():
        return columns | {"strand": 5}
    raise InputError(path, f"format not recognised: {fields[:6]}", _REMEDY)


def _gtf_row(number: int, fields: list[str], path: Path) -> _Row:
    attributes = dict(_GTF_ATTRIBUTE.findall(fields[8]))
    gene_id = attributes.get("gene_id")
    if not gene_id:
        raise InputError(path, f"line {number} has no gene_id", _REMEDY)
    start = fields[3]
    if start.isdecimal():  # 1-based, inclusive -> 0-based, half-open
        start = str(int(start) - 1)
    symbol = attributes.get("gene_name")
    return _Row(number, gene_id, symbol, fields[0], start, fields[4], fields[6])


def _table_row(
    number: int, fields: list[str], columns: dict[str, int], path: Path
) -> _Row:
    if len(fields) <= max(columns.values()):
        raise InputError(
            path,
            f"line {number} has {len(fields)} columns, not {max(columns.values()) + 1}",
            "Is the file complete, and are its columns separated by tabs?",
        )
    values = {name: fields[column].strip() for name, column in columns.items()}
    return _Row(**({"line": number, "gene_id": None, "symbol": None} | values))


def _check(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Validates coordinates and strands; fills in the gene ID."""
    where = "line " + rows["line"].astype(str)
    for column in ("start", "end"):
        bad = ~rows[column].str.fullmatch(r"-?\d{1,10}")
        if bool(bad.any()):
            raise InputError(
                path,
                f"{where[bad].iloc[0]}: {column} {rows[column][bad].iloc[0][:20]!r} "
                "is not an integer of up to 10 digits",
                "Coordinates are whole numbers of bp",
            )
        rows[column] = rows[column].astype(np.int64)
    bad = ~rows["strand"].isin(["+", "-"])
    if bool(bad.any()):
        raise InputError(
            path,
            f"{where[bad].iloc[0]}: strand {rows['strand'][bad].iloc[0]!r}",
            "A gene's strand is + or -: its start depends on it",
        )
    check_intervals(rows, where, path)
    chromosome_style(rows["chrom"], path)
    symbol = rows["symbol"].where(rows["symbol"].fillna("") != "", rows["gene_id"])
    gene_id = rows["gene_id"].where(rows["gene_id"].fillna("") != "", symbol)
    rows["gene_id"], rows["symbol"] = drop_version(gene_id), drop_version(symbol)
    return rows[list(GENE_COLUMNS)]


def _unique(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """One row per gene ID, in file order; the first on a primary chromosome stays."""
    many = rows.groupby("gene_id")["symbol"].transform("nunique") > 1
    ambiguous = sorted(rows["gene_id"][many].unique())
    kept = rows[~many]
    secondary = ~kept["chrom"].str.match(_PRIMARY)
    first = kept.assign(secondary=secondary).sort_values("secondary", kind="stable")
    genes = kept.loc[first.drop_duplicates("gene_id").index.sort_values()]
    genes = genes.reset_index(drop=True)
    genes.attrs["report"] = {
        "source": path.name,
        "identifiers": "ensembl" if is_ensembl(genes["gene_id"]).any() else "symbol",
        "genes": len(genes),
        "ids_with_several_symbols": ambiguous,
        "further_places_dropped": len(kept) - len(genes),
    }
    return genes

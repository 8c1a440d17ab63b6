"""Genes, exons and coding sequence of transcripts, from a GTF (GENCODE, Ensembl)."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from scmultimodal.genome import text_files
from scmultimodal.genome.intervals import check_intervals, chromosome_style
from scmultimodal.schemas.errors import InputError

FEATURES = ("gene", "exon", "CDS", "stop_codon")
"""The lines that are read. UTRs are not: GENCODE does not say which end they are of."""

REMEDY = "Give a GTF of GENCODE or Ensembl, gzipped or not"
_COLUMNS = 9
_ATTRIBUTE = re.compile(
    r'(?:^|[;\s])(gene_id|transcript_id|gene_name|gene_type|gene_biotype) "([^"]*)"'
)
_BASIC = 'tag "basic"'
_STRANDS = ("+", "-")


class _Line(NamedTuple):
    number: int
    feature: str
    chrom: str
    start: int
    end: int
    strand: str
    gene: str
    symbol: str
    transcript: str
    biotype: str
    basic: bool


def read_transcripts(path: str | Path) -> pd.DataFrame:
    """Reads the features of a GTF that say where elements of genes are.

    Args:
        path: the file, gzipped or not.

    Returns:
        feature (of `FEATURES`), chrom, start, end (0-based, half-open, bp), strand,
        gene and transcript (their IDs; a gene line has no transcript), symbol (the ID
        where there is none) and biotype of the gene, and basic (whether the line is
        tagged so), in file order.

    Raises:
        InputError: the file is missing, damaged or no GTF, a line lacks an ID or a
            strand, a coordinate is bad, a gene has no biotype, or two.
    """
    path = Path(path)
    with text_files.reading(path, remedy=REMEDY), text_files.open_text(path) as lines:
        rows = list(_parse(lines, path))
    if not rows:
        raise InputError(path, "holds no gene, exon or coding sequence", REMEDY)
    table = pd.DataFrame(rows)
    check_intervals(table, "line " + table["number"].astype(str), path)
    chromosome_style(table["chrom"], path)
    table["biotype"] = _of_genes(table, path)
    return table.drop(columns="number")


def _parse(lines: io.TextIOBase, path: Path) -> Iterator[_Line]:
    for number, line in enumerate(lines, start=1):
        if line.startswith("#") or not line.strip():
            continue
        fields = line.rstrip("\r\n").split("\t")
        if len(fields) != _COLUMNS:
            problem = f"line {number} has {len(fields)} columns, not {_COLUMNS}"
            raise InputError(path, problem, REMEDY)
        if fields[2] in FEATURES:
            yield _line(number, fields, path)


def _line(number: int, fields: list[str], path: Path) -> _Line:
    chrom, _, feature, start, end, _, strand, _, rest = fields
    attributes = dict(_ATTRIBUTE.findall(rest))
    wanted = ["gene_id"] if feature == "gene" else ["gene_id", "transcript_id"]
    missing = [name for name in wanted if not attributes.get(name)]
    if missing:
        problem = f"line {number}: the {feature} has no {missing[0]}"
        raise InputError(path, problem, REMEDY)
    for name, value in (("start", start), ("end", end)):
        if not (value.isdecimal() and len(value) <= 10):
            problem = f"line {number}: {name} {value[:20]!r} is not a whole number"
            raise InputError(path, problem, "Is the file complete?")
    if strand not in _STRANDS:
        problem = f"line {number}: strand {strand[:5]!r}"
        raise InputError(path, problem, "The strand of a gene is + or -")
    return _Line(
        number=number,
        feature=feature,
        chrom=chrom,
        start=int(start) - 1,  # 1-based, inclusive -> 0-based, half-open
        end=int(end),
        strand=strand,
        gene=attributes["gene_id"],
        symbol=attributes.get("gene_name") or attributes["gene_id"],
        transcript=attributes.get("transcript_id", ""),
        biotype=attributes.get("gene_type") or attributes.get("gene_biotype", ""),
        basic=_BASIC in rest,
    )


def _of_genes(table: pd.DataFrame, path: Path) -> pd.Series:
    """The biotype of every line's gene, which some files say on the gene's line only.

    Raises:
        InputError: a gene has none, or two.
    """
    said = table[table["biotype"] != ""].drop_duplicates(["gene", "biotype"])
    twice = said["gene"].duplicated()
    if bool(twice.any()):
        gene = said["gene"][twice].iloc[0]
        types = sorted(said["biotype"][said["gene"] == gene])
        raise InputError(path, f"{gene} is {' and '.join(types)}", REMEDY)
    biotype = table["gene"].map(said.set_index("gene")["biotype"])
    unknown = np.flatnonzero(biotype.isna())
    if unknown.size:
        row = table.iloc[unknown[0]]
        problem = f"line {row['number']}: {row['gene']} has no gene_type (gene_biotype)"
        raise InputError(path, problem, REMEDY)
    return biotype

"""Variants from VCF, line by line, and the two sequences that each stands for."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from scmultimodal.genome import intervals, text_files
from scmultimodal.genome.fasta import Genome
from scmultimodal.schemas.errors import InputError

_REMEDY = "Give a VCF, gzipped or not: CHROM, POS, ID, REF, ALT, …"
_LETTERS = frozenset("ACGTN")
_COMPARED = frozenset("ACGT")


class Variant(NamedTuple):
    """One alternative allele of a line.

    Attributes:
        line: number of the line, from 1.
        chrom: as the genome names it.
        start: first base of the reference allele, from 0.
        name: the line's ID.
        ref: reference allele, upper case.
        alt: alternative allele, upper case; None where it is no sequence of letters,
            such as <DEL> or *.
        written: the alternative allele as the file has it.
    """

    line: int
    chrom: str
    start: int
    name: str
    ref: str
    alt: str | None
    written: str


class Alleles(NamedTuple):
    """A stretch of the genome with either allele in it, of one length.

    Attributes:
        ref: with the reference allele.
        alt: with the alternative one; what lies behind it moves.
        offset: where the allele begins in both.
    """

    ref: str
    alt: str
    offset: int


def read_variants(path: str | Path, genome: Genome) -> Iterator[Variant]:
    """Yields every alternative allele of a VCF; the file is read line by line.

    Raises:
        InputError: the file is missing, damaged or no VCF; a chromosome that the genome
            has not; a reference allele that is not the genome's, where the genome is
            known. Names the line.
    """
    path = Path(path)
    style = intervals.chromosome_style(genome.chromosomes, "genome")
    names: dict[str, str] = {}
    count = 0
    with text_files.reading(path, remedy=_REMEDY), text_files.open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if line.startswith("#") or not line.strip():
                continue
            count += 1
            fields = line.rstrip("\r\n").split("\t")
            chrom = names.get(fields[0])
            if chrom is None:
                chrom = intervals.rename_chromosomes(pd.Series(fields[:1]), style)[0]
                names[fields[0]] = chrom
            yield from _alleles(number, chrom, fields, genome, path)
    if not count:
        raise InputError(path, "holds no variant", _REMEDY)


def sequences(
    variant: Variant, alt: str, genome: Genome, window_bp: int, *, fill: bool
) -> Alleles:
    """The genome around a variant, with either allele.

    The window begins half of its length before the middle of the reference allele.

    Args:
        variant: of which.
        alt: its alternative allele.
        genome: it holds the reference allele.
        window_bp: length of both sequences; longer than both alleles.
        fill: stands N where the genome ends; otherwise the sequences end there.
    """
    start = variant.start + len(variant.ref) // 2 - window_bp // 2
    low, high = _reach(genome, variant)
    before = _text(genome, variant.chrom, max(start, low), variant.start)
    behind = variant.start + len(variant.ref)
    # As much behind as the shorter allele leaves room for.
    room = start + window_bp - variant.start - min(len(variant.ref), len(alt))
    after = _text(genome, variant.chrom, behind, min(high, behind + room))
    front = "N" * max(0, low - start)
    ref, other = ((front + before + a + after)[:window_bp] for a in (variant.ref, alt))
    if fill:
        ref, other = ref.ljust(window_bp, "N"), other.ljust(window_bp, "N")
    else:
        ref, other, front = ref[len(front) :], other[len(front) :], ""
    return Alleles(ref=ref, alt=other, offset=len(front) + len(before))


def _text(genome: Genome, chrom: str, start: int, end: int) -> str:
    """Letters of an interval, upper case; nothing where it is empty."""
    return genome.fetch(chrom, start, end).upper() if start < end else ""


def _reach(genome: Genome, variant: Variant) -> tuple[int, int]:
    """Ends of the record that reaches furthest around the reference allele."""
    end = variant.start + len(variant.ref)
    ends = [
        (piece.start, piece.end)
        for piece in genome.pieces
        if piece.chrom == variant.chrom
        and piece.start <= variant.start
        and end <= piece.end
    ]
    return max(ends, key=lambda e: (min(variant.start - e[0], e[1] - end), e))


def _alleles(
    number: int, chrom: str, fields: list[str], genome: Genome, path: Path
) -> Iterator[Variant]:
    if len(fields) < 5:
        problem = f"line {number} has {len(fields)} columns, not 5 or more"
        raise InputError(path, problem, "Is the file complete, with tabs?")
    position, name, ref, alternatives = fields[1:5]
    if not (position.isdecimal() and 0 < int(position) < 10**10):
        problem = f"line {number}: position {position[:20]!r}"
        raise InputError(path, problem, "Positions are whole numbers from 1")
    ref, start = ref.upper(), int(position) - 1
    if not (ref and _LETTERS.issuperset(ref)):
        problem = f"line {number}: reference allele {ref[:20]!r}"
        raise InputError(path, problem, "It is written with A, C, G, T and N")
    if not genome.covers(chrom, start, start + len(ref)):
        try:
            genome.fetch(chrom, start, start + len(ref))
        except InputError as error:
            raise InputError(
                path, f"line {number}: {error.problem}", error.remedy
            ) from error
    _check_reference(number, chrom, start, ref, genome, path)
    for written in alternatives.split(","):
        alt = written.upper()
        known = alt if alt and _LETTERS.issuperset(alt) else None
        yield Variant(number, chrom, start, name, ref, known, written)


def _check_reference(
    number: int, chrom: str, start: int, ref: str, genome: Genome, path: Path
) -> None:
    """Letters are compared where both are A, C, G or T."""
    found = _text(genome, chrom, start, start + len(ref))
    for offset, (ours, theirs) in enumerate(zip(found, ref, strict=True)):
        if ours != theirs and {ours, theirs} <= _COMPARED:
            raise InputError(
                path,
                f"line {number}: the reference allele {ref[:20]} has {theirs} at "
                f"{chrom}:{start + offset + 1}, where the genome has {ours}",
                "Take the FASTA of the assembly that the variants were called on",
            )

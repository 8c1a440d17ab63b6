"""The records of a FASTA file: their names, and where their letters are."""

import collections
import dataclasses
import re
from typing import NamedTuple

from scmultimodal.genome.blocks import Blocks

_PIECE = re.compile(r"(?P<chrom>.+):(?P<start>\d+)-(?P<end>\d+)")
_STRETCH_BYTES = 1 << 16
_LONGEST_HEADER = 1 << 16


class Piece(NamedTuple):
    """An interval that the file holds: a whole chromosome, or a part of one; bp."""

    chrom: str
    start: int
    end: int


class Stretch(NamedTuple):
    """Letters of one record within one block: bytes `first` to `last` of it."""

    block: int
    first: int
    last: int


@dataclasses.dataclass
class Record:
    """A record of the file: `starts[i]` letters come before `stretches[i]`."""

    name: str
    length: int = 0
    starts: list[int] = dataclasses.field(default_factory=list)
    stretches: list[Stretch] = dataclasses.field(default_factory=list)

    def add(self, stretch: Stretch, letters: int) -> None:
        self.starts.append(self.length)
        self.stretches.append(stretch)
        self.length += letters


class FastaError(ValueError):
    """What is wrong with a file as a FASTA file."""


def read_records(blocks: Blocks) -> list[Record]:
    """Reads the file once, and notes where the letters of each record are.

    Raises:
        FastaError: for text that is no FASTA, and for a name used twice.
    """
    records: list[Record] = []
    header: bytes | None = None  # as far as it is read, while within one
    before = b"\n"
    for number, block in enumerate(blocks.scan()):
        at = 0
        while at < len(block):
            if header is None:
                stop = _find(block, b">", at)
                _add_letters(records, number, block, at, stop)
                if stop < len(block):
                    _check_line_start(block[stop - 1 : stop] if stop else before)
                    header = b""
            else:
                stop = _find(block, b"\n", at)
                header += block[at:stop]
                if stop < len(block):
                    records.append(Record(_name(header)))
                    header = None
                elif len(header) > _LONGEST_HEADER:
                    raise FastaError("has a header line that does not end")
            at = stop + 1
        before = block[-1:]
    if header is not None:
        raise FastaError("ends within a header line")
    _check_records(records)
    return records


def named_piece(record: Record) -> Piece:
    """The interval that a record's name states, or a whole chromosome.

    Intervals count from 0 and are half-open (bedtools), or count from 1 and include
    their end (samtools): the number of letters tells which.

    Raises:
        FastaError: where the record has another number of letters.
    """
    match = _PIECE.fullmatch(record.name)
    if match is None:
        return Piece(record.name, 0, record.length)
    chrom, start, end = match["chrom"], int(match["start"]), int(match["end"])
    excess = record.length - (end - start)
    if excess == 0 or (excess == 1 and start >= 1):
        return Piece(chrom, start - excess, end)
    stated = f"should hold {end - start:,} bp and holds {record.length:,}"
    raise FastaError(f"record {record.name!r} {stated}")


def letters_of(text: bytes) -> bytes:
    """The text without blanks and line ends."""
    return text.translate(None, b" \t\r\n")


def _add_letters(
    records: list[Record], number: int, block: bytes, first: int, last: int
) -> None:
    """Adds bytes `first` to `last` of a block to the last record."""
    for at in range(first, last, _STRETCH_BYTES):
        stretch = Stretch(number, at, min(at + _STRETCH_BYTES, last))
        letters = len(letters_of(block[stretch.first : stretch.last]))
        if letters and not records:
            raise FastaError("does not begin with '>'")
        if letters:
            records[-1].add(stretch, letters)


def _check_line_start(before: bytes) -> None:
    if before not in b"\r\n":
        raise FastaError("has a '>' within a line")


def _check_records(records: list[Record]) -> None:
    if not any(record.length for record in records):
        raise FastaError("holds no sequence")
    names = collections.Counter(record.name for record in records)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise FastaError(f"has {count} records named {name!r}")


def _name(header: bytes) -> str:
    words = header.decode("utf-8", "replace").split()
    if not words:
        raise FastaError("has a header line without a name")
    return words[0]


def _find(text: bytes, mark: bytes, start: int) -> int:
    """Where the mark comes next, or the length of the text."""
    place = text.find(mark, start)
    return len(text) if place < 0 else place

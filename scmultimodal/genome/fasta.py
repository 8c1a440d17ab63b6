"""Sequences of a genome by interval, from FASTA: plain, bgzip or gzip."""

import bisect
import collections
import contextlib
import dataclasses
import functools
import re
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import pandas as pd

from scmultimodal.genome.blocks import Blocks, open_blocks
from scmultimodal.genome.intervals import rename_chromosomes
from scmultimodal.schemas.errors import InputError

_PIECE = re.compile(r"(?P<chrom>.+):(?P<start>\d+)-(?P<end>\d+)")
_STRETCH_BYTES = 1 << 16
_LONGEST_HEADER = 1 << 16


class Piece(NamedTuple):
    """An interval that the file holds: a whole chromosome, or a part of one; bp."""

    chrom: str
    start: int
    end: int


class _Stretch(NamedTuple):
    """Letters of one record within one block: bytes `first` to `last` of it."""

    block: int
    first: int
    last: int


@dataclasses.dataclass
class _Record:
    """A record of the file: `starts[i]` letters come before `stretches[i]`."""

    name: str
    length: int = 0
    starts: list[int] = dataclasses.field(default_factory=list)
    stretches: list[_Stretch] = dataclasses.field(default_factory=list)

    def add(self, stretch: _Stretch, letters: int) -> None:
        self.starts.append(self.length)
        self.stretches.append(stretch)
        self.length += letters


class Genome:
    """A FASTA file, open for reading by interval.

        with Genome.open("hg38.fa.gz") as genome:
            genome.fetch("chr1", 10_000, 13_000)

    One pass over the file finds the records; no index is read or written. Memory stays
    bounded, for plain gzip too. A record named `chr1:100-200` is a piece of chr1, and
    several pieces may share a chromosome. Not for use by several threads at once.
    """

    def __init__(self, path: Path, file: BinaryIO, blocks: Blocks):
        """Reads through the blocks; use `Genome.open`."""
        self._path, self._file = path, file
        # Who asks for one place asks for its neighbours next: keep the last blocks.
        self._block = functools.lru_cache(maxsize=4)(blocks.read)
        self._pieces: dict[str, list[tuple[Piece, _Record]]] = {}
        for record in _read_records(path, blocks):
            piece = _piece(record, path)
            self._pieces.setdefault(piece.chrom, []).append((piece, record))

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Opens a FASTA file; plain, bgzip and gzip are told apart by content.

        Raises:
            InputError: for a file that cannot be read, is no FASTA or is truncated.
        """
        path = Path(path)
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("rb"))
                genome = cls(path, file, open_blocks(file))
            except OSError as error:
                raise InputError(
                    path, f"cannot be read ({error})", "Check the file"
                ) from error
            except (EOFError, zlib.error) as error:
                raise InputError(
                    path, f"is truncated or damaged ({error})", "Copy the file again"
                ) from error
            stack.pop_all()
        return genome

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> Self:
        """The genome itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self.close()

    @functools.cached_property
    def chromosomes(self) -> dict[str, int]:
        """Lengths in bp, in file order; of a chromosome in pieces the largest end."""
        return {
            chrom: max(piece.end for piece, _ in pieces)
            for chrom, pieces in self._pieces.items()
        }

    @functools.cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """What the file holds, chromosome by chromosome, in file order."""
        return tuple(p for pieces in self._pieces.values() for p, _ in pieces)

    def covers(self, chrom: str, start: int, end: int) -> bool:
        """Whether one record holds all of the interval (0-based, half-open, bp)."""
        return self._find(chrom, start, end) is not None

    def fetch(self, chrom: str, start: int, end: int) -> str:
        """The letters of an interval, upper and lower case as in the file.

        Args:
            chrom: named as in the file.
            start: first bp, from 0.
            end: bp behind the last.

        Raises:
            InputError: for a chromosome that the file has not, an interval beyond the
                chromosome's end, one that no record holds whole, or an empty one.
        """
        found = self._find(chrom, start, end)
        if found is None:
            raise self._why_not(chrom, start, end)
        piece, record = found
        first, last = start - piece.start, end - piece.start
        low = bisect.bisect_right(record.starts, first) - 1
        high = bisect.bisect_left(record.starts, last)
        parts = [
            _letters(self._block(stretch.block)[stretch.first : stretch.last])
            for stretch in record.stretches[low:high]
        ]
        offset = record.starts[low]
        letters = b"".join(parts)[first - offset : last - offset]
        return letters.decode("latin-1")

    def _find(self, chrom: str, start: int, end: int) -> tuple[Piece, _Record] | None:
        for piece, record in self._pieces.get(chrom, ()):
            if piece.start <= start < end <= piece.end:
                return piece, record
        return None

    def _why_not(self, chrom: str, start: int, end: int) -> InputError:
        where = f"{chrom}:{start}-{end}"
        if chrom not in self._pieces:
            return InputError(self._path, f"has no {chrom!r}", self._remedy(chrom))
        if not 0 <= start < end:
            return InputError(
                where, "is not an interval", "0-based, half-open: 0 <= start < end"
            )
        if end > self.chromosomes[chrom]:
            return InputError(
                self._path,
                f"{where} ends beyond the {self.chromosomes[chrom]:,} bp of {chrom}",
                "Take the FASTA of the assembly that the intervals are from",
            )
        return InputError(
            self._path,
            f"no record holds all of {where}",
            f"Keep to its pieces of {chrom}, or give a FASTA of whole chromosomes",
        )

    def _remedy(self, chrom: str) -> str:
        for style in ("chr", "plain"):
            (name,) = rename_chromosomes(pd.Series([chrom]), style)
            if name in self._pieces:
                return f"It is named {name!r} there: name the chromosomes alike"
        some = ", ".join(list(self._pieces)[:5])
        return f"Its {len(self._pieces)} names begin with {some}: another assembly?"


def _read_records(path: Path, blocks: Blocks) -> list[_Record]:
    """Reads the file once, and notes where the letters of each record are."""
    records: list[_Record] = []
    header: bytes | None = None  # as far as it is read, while within one
    before = b"\n"
    for number, block in enumerate(blocks.scan()):
        at = 0
        while at < len(block):
            if header is None:
                stop = _find(block, b">", at)
                if stop < len(block):
                    before = block[stop - 1 : stop] if stop else before
                    if before not in b"\r\n":
                        raise _not_fasta(path, "has a '>' within a line")
                    header = b""
                _add_letters(records, number, block, at, stop, path)
            else:
                stop = _find(block, b"\n", at)
                header += block[at:stop]
                if stop < len(block):
                    records.append(_Record(_name(header, path)))
                    header = None
                elif len(header) > _LONGEST_HEADER:
                    raise _not_fasta(path, "has a header line that does not end")
            at = stop + 1
        before = block[-1:]
    _check_records(records, header, path)
    return records


def _add_letters(
    records: list[_Record], number: int, block: bytes, first: int, last: int, path: Path
) -> None:
    """Adds bytes `first` to `last` of a block to the last record."""
    for at in range(first, last, _STRETCH_BYTES):
        stretch = _Stretch(number, at, min(at + _STRETCH_BYTES, last))
        letters = len(_letters(block[stretch.first : stretch.last]))
        if letters and not records:
            raise _not_fasta(path, "does not begin with '>'")
        if letters:
            records[-1].add(stretch, letters)


def _check_records(records: list[_Record], header: bytes | None, path: Path) -> None:
    if header is not None:
        raise _not_fasta(path, "ends within a header line")
    if not any(record.length for record in records):
        raise _not_fasta(path, "holds no sequence")
    (name, count), *_ = collections.Counter(r.name for r in records).most_common(1)
    if count > 1:
        raise _not_fasta(path, f"has {count} records named {name!r}")


def _piece(record: _Record, path: Path) -> Piece:
    """The interval that a record's name states, or a whole chromosome.

    Intervals count from 0 and are half-open (bedtools), or count from 1 and include
    their end (samtools): the number of letters tells which.
    """
    match = _PIECE.fullmatch(record.name)
    if match is None:
        return Piece(record.name, 0, record.length)
    chrom, start, end = match["chrom"], int(match["start"]), int(match["end"])
    excess = record.length - (end - start)
    if excess == 0 or (excess == 1 and start >= 1):
        return Piece(chrom, start - excess, end)
    raise InputError(
        path,
        f"record {record.name!r} should hold {end - start:,} bp and holds "
        f"{record.length:,}",
        "Is the file complete? Names state start and end in bp, counted from 0",
    )


def _name(header: bytes, path: Path) -> str:
    words = header.decode("utf-8", "replace").split()
    if not words:
        raise _not_fasta(path, "has a header line without a name")
    return words[0]


def _letters(text: bytes) -> bytes:
    return text.translate(None, b" \t\r\n")


def _find(text: bytes, mark: bytes, start: int) -> int:
    """Where the mark comes next, or the length of the text."""
    place = text.find(mark, start)
    return len(text) if place < 0 else place


def _not_fasta(path: Path, problem: str) -> InputError:
    return InputError(path, problem, "Give a FASTA file: '>name' lines and sequence")

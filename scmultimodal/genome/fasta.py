"""Sequences of a genome by interval, from FASTA: plain, bgzip or gzip."""

import bisect
import contextlib
import functools
import io
import zlib
from pathlib import Path

import pandas as pd

from scmultimodal.genome.blocks import open_blocks
from scmultimodal.genome.fasta_records import (
    FastaError,
    Piece,
    Record,
    letters_of,
    named_piece,
    read_records,
)
from scmultimodal.genome.intervals import rename_chromosomes
from scmultimodal.schemas.errors import InputError

_REMEDIES = {
    OSError: "Check the path and its permissions",
    EOFError: "It is truncated: copy it again",
    zlib.error: "It is damaged: copy it again",
    FastaError: "Give a complete FASTA file: '>name' lines and sequence",
}


class Genome:
    """A FASTA file, open for reading by interval.

        with Genome.open("hg38.fa.gz") as genome:
            genome.fetch("chr1", 10_000, 13_000)

    One pass over the file finds the records; no index is read or written. Memory stays
    bounded, for plain gzip too. A record named `chr1:100-200` is a piece of chr1, and
    several pieces may share a chromosome. Not for use by several threads at once.
    """

    def __init__(self, path: Path, file: io.BufferedIOBase):
        """Reads through the file; use `Genome.open`."""
        self._path, self._file = path, file
        blocks = open_blocks(file)
        # Who asks for one place asks for its neighbours next: keep the last blocks.
        self._block = functools.lru_cache(maxsize=4)(blocks.read)
        self._pieces: dict[str, list[tuple[Piece, Record]]] = {}
        for record in read_records(blocks):
            piece = named_piece(record)
            self._pieces.setdefault(piece.chrom, []).append((piece, record))

    @classmethod
    def open(cls, path: str | Path) -> "Genome":
        """Opens a FASTA file; plain, bgzip and gzip are told apart by content.

        Raises:
            InputError: for a file that cannot be read, is no FASTA or is truncated.
        """
        path = Path(path)
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("rb"))
                genome = cls(path, file)
            except tuple(_REMEDIES) as error:
                remedy = next(_REMEDIES[k] for k in _REMEDIES if isinstance(error, k))
                raise InputError(path, f"cannot be read: {error}", remedy) from error
            stack.pop_all()
        return genome

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> "Genome":
        """The genome itself."""
        return self

    def __exit__(self, *_: object) -> None:
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

    def is_whole(self, chrom: str) -> bool:
        """Whether a record has the name of the chromosome: no piece of it."""
        return any(record.name == chrom for _, record in self._pieces.get(chrom, ()))

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
            letters_of(self._block(stretch.block)[stretch.first : stretch.last])
            for stretch in record.stretches[low:high]
        ]
        offset = record.starts[low]
        letters = b"".join(parts)[first - offset : last - offset]
        return letters.decode("latin-1")

    def _find(self, chrom: str, start: int, end: int) -> tuple[Piece, Record] | None:
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
        if self.is_whole(chrom) and end > self.chromosomes[chrom]:
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

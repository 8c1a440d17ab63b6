"""The lines of a fragments file as numbers, some at a time.

A compiled loop reads them: pandas' reader takes several times as long, allows no
comment but at the head, and cannot say which line is wrong.
"""

import concurrent.futures
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Int32

from scmultimodal.genome import text_files
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.name_table import Names, NameTable, number_of
from scmultimodal.singlecell.peak_index import MOST_BP, is_position

REMEDY = "Give fragments.tsv.gz: chrom, start, end, barcode and reads, in tabs"
_BYTES_PER_LINE = 64  # or a little less
_LONGEST_LINE = 2**16
_SHOWN = 20  # letters of what is wrong
_BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_ONE = np.uint64(1)
_TAB, _NEWLINE, _RETURN, _COMMENT = b"\t\n\r#"


class Lines(NamedTuple):
    """Fragments; names are numbered in the order in which they first occur."""

    chrom: Int32[np.ndarray, " fragments"]
    start: Int32[np.ndarray, " fragments"]
    end: Int32[np.ndarray, " fragments"]
    barcode: Int32[np.ndarray, " fragments"]


class FragmentLines:
    """Reads a file from its beginning to its end, once.

    Attributes:
        chroms: names of the chromosomes seen so far.
        barcodes: names of the barcodes seen so far.
    """

    def __init__(self, path: Path, *, lines_at_once: int):
        """Opens nothing yet.

        Args:
            path: chrom, start, end, barcode, and what else there is, in tabs; gzip is
                recognised by content. Lines of `#` are comments.
            lines_at_once: about how many lines are held in memory.
        """
        self.chroms: list[str] = []
        self.barcodes: list[str] = []
        self._path = path
        self._bytes_at_once = lines_at_once * _BYTES_PER_LINE

    def __iter__(self) -> Iterator[Lines]:
        """All fragments, in order.

        Raises:
            InputError: the file is missing, damaged or empty, or a line has too few
                columns, an empty name, or anything but 0 <= start < end.
        """
        chroms, barcodes = NameTable(), NameTable()
        lines_before = 0
        with text_files.reading(self._path, remedy=REMEDY):
            for text in _pages(self._path, self._bytes_at_once):
                num_lines = text.count(b"\n")
                for table in (chroms, barcodes):
                    table.reserve(num_lines, len(text))
                numbers = np.empty((4, num_lines), np.int32)
                letters = np.frombuffer(text, np.uint8)
                size, wrong = _parse(letters, chroms.table, barcodes.table, numbers)
                if wrong:
                    line = text.split(b"\n", wrong)[wrong - 1]
                    raise _explain(self._path, lines_before + wrong, line)
                lines_before += num_lines
                self.chroms += chroms.names(len(self.chroms))
                self.barcodes += barcodes.names(len(self.barcodes))
                if size:
                    yield Lines(*numbers[:, :size])
        if not self.barcodes:
            raise InputError(self._path, "holds no fragments", REMEDY)


def _pages(path: Path, bytes_at_once: int) -> Iterator[bytes]:
    """Whole lines; the next ones are unpacked while these are worked on."""
    with path.open("rb") as file, concurrent.futures.ThreadPoolExecutor(1) as pool:
        pages = _whole_lines(_unpacked(file), bytes_at_once, path)
        page = next(pages, b"")
        while page:
            following = pool.submit(next, pages, b"")
            yield page
            page = following.result()


def _unpacked(file: io.BufferedReader) -> io.BufferedIOBase | gzip.GzipFile:
    head = file.read(14)
    file.seek(0)
    if head[:2] != b"\x1f\x8b":
        return file
    if head[3:4] == b"\x04" and head[12:] == b"BC":
        # Cut between two of its members, a bgzip file still is good gzip.
        file.seek(-min(len(_BGZIP_END), file.seek(0, io.SEEK_END)), io.SEEK_END)
        if file.read() != _BGZIP_END:
            raise EOFError("bgzip's last block is missing")
        file.seek(0)
    return gzip.open(file)


def _whole_lines(
    file: io.BufferedIOBase | gzip.GzipFile, bytes_at_once: int, path: Path
) -> Iterator[bytes]:
    rest = b""
    while block := file.read(bytes_at_once):
        whole, newline, after = block.rpartition(b"\n")
        if newline:
            yield rest + whole + newline
            rest = after
        else:
            rest += block
        if len(rest) > max(_LONGEST_LINE, bytes_at_once):
            raise InputError(path, f"has a line of {len(rest)} bytes", REMEDY)
    if rest:
        yield rest + b"\n"


# The type checker of the tests would wrap what numba compiles: hence no_type_check.
@numba.njit(nogil=True, cache=True)
@no_type_check
def _parse(text, chroms: Names, barcodes: Names, numbers):
    """Fills in chrom, start, end and barcode.

    Returns:
        How many fragments there are, and the number of the first line that is none,
        from 1; 0 if all are.
    """
    at, size = np.uint64(0), np.uint64(text.size)
    row, line = 0, 0
    while at < size:
        line += 1
        if text[at] == _COMMENT or _is_end(text, at):
            at = _line_end(text, at) + _ONE
            continue
        first = _field_end(text, at)
        second = _field_end(text, first + _ONE) if text[first] == _TAB else first
        third = _field_end(text, second + _ONE) if text[second] == _TAB else second
        if text[third] != _TAB or first == at:
            return row, line
        begin, last = third + _ONE, _field_end(text, third + _ONE)
        line_end = _line_end(text, last)
        if text[last] == _NEWLINE and text[last - _ONE] == _RETURN:
            last -= _ONE
        start = _position(text, first + _ONE, second)
        end = _position(text, second + _ONE, third)
        if start < 0 or start >= end or begin == last:
            return row, line
        numbers[0, row] = number_of(text, at, first, chroms)
        numbers[1, row], numbers[2, row] = start, end
        numbers[3, row] = number_of(text, begin, last, barcodes)
        row += 1
        at = line_end + _ONE
    return row, 0


@numba.njit(nogil=True, cache=True)
@no_type_check
def _is_end(text, at):
    return text[at] == _NEWLINE or (text[at] == _RETURN and text[at + _ONE] == _NEWLINE)


@numba.njit(nogil=True, cache=True)
@no_type_check
def _field_end(text, at):
    while text[at] != _TAB and text[at] != _NEWLINE:
        at += _ONE
    return at


@numba.njit(nogil=True, cache=True)
@no_type_check
def _line_end(text, at):
    while text[at] != _NEWLINE:
        at += _ONE
    return at


@numba.njit(nogil=True, cache=True)
@no_type_check
def _position(text, begin, end):
    """The number between; -1 where there is none up to MOST_BP."""
    value = -1 if begin == end else 0
    while begin < end:
        digit = np.int64(text[begin]) - 48
        if digit < 0 or digit > 9 or value > MOST_BP:
            return -1
        value = 10 * value + digit
        begin += _ONE
    return value if value <= MOST_BP else -1


def _explain(path: Path, number: int, line: bytes) -> InputError:
    """What is wrong with a line."""
    fields = line.decode(errors="replace").rstrip("\r").split("\t")
    where = f"line {number}"
    if len(fields) < 4:
        problem = f"{where} has {len(fields)} columns, not 4 or more"
        return InputError(path, problem, REMEDY)
    chrom, *ends, barcode = (field[:_SHOWN] for field in fields[:4])
    if not chrom or not barcode:
        problem = f"{where} has no {'barcode' if chrom else 'chrom'}"
        return InputError(path, problem, REMEDY)
    for name, text in zip(("start", "end"), ends, strict=True):
        if not is_position(text):
            problem = f"{where}: {name} {text!r} is no position in bp"
            remedy = f"Positions are whole numbers from 0 to {MOST_BP}"
            return InputError(path, problem, remedy)
    problem = f"{where}: a fragment {chrom}:{ends[0]}-{ends[1]}"
    remedy = "Fragments are 0-based and half-open: 0 <= start < end"
    return InputError(path, problem, remedy)

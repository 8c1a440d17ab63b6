"""A file's bytes in blocks that can be read again in any order, plain or gzipped.

Gzip has no index. One pass over the file notes where blocks start: at the members of
a bgzip file, and within long members by a copy of the decompressor's state (40 KB). So
a genome of 3 Gb in one gzip member is random access for 31 MB of memory and no file.
"""

import io
import zlib
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

_PLAIN_BYTES = 1 << 16
_MEMBER_BYTES = 1 << 18
_STATE_BYTES = 1 << 22
_READ_BYTES = 1 << 16
_GZIP = 31  # zlib's wbits for a gzip header and a checked trailer
_BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


@runtime_checkable
class Blocks(Protocol):
    """Blocks of bytes, numbered from 0."""

    def scan(self) -> Iterator[bytes]:
        """All blocks in order; to be exhausted once before `read`.

        Raises:
            EOFError: for gzip data that end early.
            zlib.error: for gzip data that are damaged.
        """
        ...

    def read(self, number: int) -> bytes:
        """The block of this number."""
        ...


def open_blocks(file: io.BufferedIOBase) -> Blocks:
    """Blocks of an open file; gzip is recognised by content."""
    file.seek(0)
    return _GzipBlocks(file) if file.read(2) == b"\x1f\x8b" else _PlainBlocks(file)


class _PlainBlocks:
    def __init__(self, file: io.BufferedIOBase):
        self._file = file

    def scan(self) -> Iterator[bytes]:
        self._file.seek(0)
        while block := self._file.read(_PLAIN_BYTES):
            yield block

    def read(self, number: int) -> bytes:
        self._file.seek(number * _PLAIN_BYTES)
        return self._file.read(_PLAIN_BYTES)


class _GzipBlocks:
    """Plain gzip and bgzip, of one member or many."""

    def __init__(self, file: io.BufferedIOBase):
        self._file = file
        self._starts = []  # (byte of the file, the decompressor there or None)

    def scan(self) -> Iterator[bytes]:
        self._check_bgzip_end()
        position, state = 0, None
        self._starts = []
        while True:
            start = (position, state and state.copy())
            block, position, state = self._inflate(position, state)
            if not block:
                break
            self._starts.append(start)
            yield block
        if state is not None:
            raise EOFError("gzip data end early")

    def read(self, number: int) -> bytes:
        position, state = self._starts[number]
        return self._inflate(position, state and state.copy())[0]

    def _inflate(self, position: int, state):
        """One block, where the next one starts, and the state there.

        The state is None between two members: bgzip's blocks need none.
        """
        self._file.seek(position)
        parts, size, packed = [], 0, b""
        while size < (_STATE_BYTES if state else _MEMBER_BYTES):
            packed = packed or self._file.read(_READ_BYTES)
            if not packed:
                break
            if state is None:
                packed = packed.lstrip(b"\0")  # members may be padded
                if not packed:
                    continue
                state = zlib.decompressobj(_GZIP)
            parts.append(state.decompress(packed, _STATE_BYTES - size))
            size += len(parts[-1])
            packed = state.unused_data if state.eof else state.unconsumed_tail
            state = None if state.eof else state
        return b"".join(parts), self._file.tell() - len(packed), state

    def _check_bgzip_end(self) -> None:
        """A bgzip file that was cut between two members lacks its last, empty one."""
        self._file.seek(0)
        head = self._file.read(14)
        self._file.seek(0, 2)
        self._file.seek(max(self._file.tell() - len(_BGZIP_END), 0))
        is_bgzip = head[3:4] == b"\x04" and head[12:] == b"BC"
        if is_bgzip and self._file.read() != _BGZIP_END:
            raise EOFError("bgzip's last block is missing")

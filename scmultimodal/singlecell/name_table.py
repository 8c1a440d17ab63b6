"""Names as numbers, for compiled loops over text: a hash table of bytes."""

from typing import NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Int32, Int64, UInt8

_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # FNV-1a
_ONE = np.uint64(1)
_NEWLINE = 10


class Names(NamedTuple):
    """What compiled code sees of a table; see `number_of`.

    Attributes:
        slots: number of a name where its hash points to, or -1; twice as many as
            there is room for names, a power of two.
        letters: all names, each with a newline after it.
        ends: where each of them ends, before the newline.
        size: how many there are.
    """

    slots: Int32[np.ndarray, " slots"]
    letters: UInt8[np.ndarray, " letters"]
    ends: Int64[np.ndarray, " names"]
    size: Int64[np.ndarray, "1"]


class NameTable:
    """Names in the order in which they came.

    Attributes:
        table: for compiled code; another one after `reserve`.
    """

    def __init__(self):
        """Has room for a few names."""
        self.table = _empty(16, 256)

    def __len__(self) -> int:
        return int(self.table.size[0])

    def reserve(self, names: int, letters: int) -> None:
        """Makes room for so many more names of so many letters in all."""
        old, size = self.table, len(self)
        used = int(old.ends[size - 1]) + 1 if size else 0
        names, letters = names + size, letters + used + names
        if names <= len(old.ends) and letters <= len(old.letters):
            return
        names = max(1 << (names - 1).bit_length(), len(old.ends))
        self.table = _empty(names, max(2 * letters, len(old.letters)))
        _copy(old, self.table)

    def names(self, first: int = 0) -> list[str]:
        """The names from number `first` on.

        Raises:
            UnicodeDecodeError: where one is no text.
        """
        table, size = self.table, len(self)
        if first >= size:
            return []
        begin = table.ends[first - 1] + 1 if first else 0
        text = table.letters[begin : table.ends[size - 1]].tobytes()
        return text.decode().split("\n")


def _empty(names: int, letters: int) -> Names:
    return Names(
        slots=np.full(2 * names, -1, np.int32),
        letters=np.empty(letters, np.uint8),
        ends=np.empty(names, np.int64),
        size=np.zeros(1, np.int64),
    )


# The type checker of the tests would wrap what numba compiles: hence no_type_check.
@numba.njit(nogil=True, cache=True)
@no_type_check
def number_of(text, begin, end, names: Names):
    """Number of the name `text[begin:end]` (uint64), which is added if it is new."""
    mask = np.uint64(names.slots.size - 1)
    slot = _hash(text, begin, end) & mask
    while names.slots[slot] >= 0:
        if _is_name(text, begin, end, names, names.slots[slot]):
            return names.slots[slot]
        slot = (slot + _ONE) & mask
    number = np.int32(names.size[0])
    names.slots[slot] = number
    to = np.uint64(names.ends[number - 1] + 1 if number else 0)
    while begin < end:
        names.letters[to] = text[begin]
        begin, to = begin + _ONE, to + _ONE
    names.letters[to] = _NEWLINE
    names.ends[number] = to
    names.size[0] += 1
    return number


@numba.njit(nogil=True, cache=True)
@no_type_check
def _hash(text, begin, end):
    value = _BASIS
    while begin < end:
        value = (value ^ np.uint64(text[begin])) * _PRIME
        begin += _ONE
    return value ^ (value >> np.uint64(32))


@numba.njit(nogil=True, cache=True)
@no_type_check
def _is_name(text, begin, end, names, number):
    first = np.uint64(names.ends[number - 1] + 1 if number else 0)
    if np.uint64(names.ends[number]) - first != end - begin:
        return False
    while begin < end:
        if text[begin] != names.letters[first]:
            return False
        begin, first = begin + _ONE, first + _ONE
    return True


@numba.njit(nogil=True, cache=True)
@no_type_check
def _copy(old, new):
    begin = np.uint64(0)
    for number in range(old.size[0]):
        end = np.uint64(old.ends[number])
        number_of(old.letters, begin, end, new)
        begin = end + _ONE

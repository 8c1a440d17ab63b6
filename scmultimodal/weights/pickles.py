"""Reads a tree of arrays out of a pickle without unpickling it.

A pickle is a program that may call anything. This reader is another machine: it knows
only the few instructions that dictionaries and numpy arrays are written with. Names in
the file are compared with a list and stand for nothing else: no module is imported, no
function of the file is called, and any other instruction ends the reading. Lengths are
checked against the file before anything is allocated.

Arrays come as numpy pickles them, or behind joblib's `NumpyArrayWrapper`: the
instructions describe the array, and its bytes follow in the file, after padding to an
alignment since joblib 1.2.
"""

import enum
import math
import os
import pickletools
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from scmultimodal.schemas.errors import InputError

Tree = Mapping[str, Mapping[str, np.ndarray]]

_REMEDY = "get the file again from where it was published"
_DAMAGE = (AttributeError, LookupError, TypeError, ValueError, struct.error)
"""What reading a file that is cut off or scrambled may end in."""
_NUMBERS = re.compile(r"[fiu][1248]|b1")
_MOST_AXES = 8


class _Name(enum.Enum):
    """What a name in the file may stand for."""

    ARRAY = "array"
    DTYPE = "dtype"
    RECONSTRUCT = "reconstruct"
    WRAPPER = "wrapper"


_NAMES = {
    ("numpy", "ndarray"): _Name.ARRAY,
    ("numpy", "dtype"): _Name.DTYPE,
    ("numpy.core.multiarray", "_reconstruct"): _Name.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _Name.RECONSTRUCT,
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _Name.WRAPPER,
}


def load_tree(path: str | os.PathLike) -> Tree:
    """{module: {leaf: array}} of a pickle or an uncompressed joblib file.

    Raises:
        InputError: the file asks for anything but numbers, strings, tuples,
            dictionaries and arrays of numbers, or is damaged. Nothing was executed.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _Machine(_Bounded(file)).run()
    except _RefusedError as error:
        raise InputError(
            path, f"{error}; nothing in it was run", f"Do not unpickle it: {_REMEDY}"
        ) from None
    except OSError as error:
        raise InputError(path, f"cannot be read ({error})", _REMEDY) from error
    except _DAMAGE as error:
        raise InputError(
            path,
            f"is no pickle of protocol 2 to 5, or damaged ({str(error)[:200]})",
            f"Decompress it if it is compressed, or {_REMEDY}",
        ) from error


class _RefusedError(Exception):
    """The file asks for something that has no place among weights."""


class _Pending:
    """An object that the file has named and not yet filled."""

    def __init__(self, kind: _Name, value: Any = None):
        self.kind, self.value = kind, value


class _Bounded:
    """A file that is never asked for more than it holds."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self.tell, self.readline = file.tell, file.readline

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise ValueError(f"{size} bytes wanted, {self.left} left")
        return self._file.read(size)

    @property
    def left(self) -> int:
        return self._size - self.tell()


class _Machine:
    """A stack, a memo, and one method for each instruction that is known."""

    def __init__(self, file: _Bounded):
        self.file = file
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Tree:
        """Follows the instructions to their end."""
        if self.file.read(1) != b"\x80":
            raise ValueError("it begins otherwise")
        self.file.read(1)
        for opcode, argument, position in pickletools.genops(self.file):
            if opcode.name == "STOP":
                break
            if opcode.name == "FRAME":
                continue
            if opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name])
            elif opcode.name in _LITERALS:
                self.stack.append(argument)
            elif opcode.name in _TUPLES:
                self.stack.append(tuple(self._take(_TUPLES[opcode.name])))
            elif step := getattr(self, f"do_{opcode.name.lower()}", None):
                step() if opcode.arg is None else step(argument)
            else:
                raise _RefusedError(
                    f"it has the instruction {opcode.name} at byte {position}"
                )
        if self.file.left:
            raise ValueError(f"{self.file.left} bytes after the end")
        (tree,) = self.stack
        return _checked(tree)

    def do_mark(self) -> None:
        self.marks.append(len(self.stack))

    def do_empty_dict(self) -> None:
        self.stack.append({})

    def _pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def do_tuple(self) -> None:
        self.stack.append(tuple(self._pop_to_mark()))

    def _take(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("empty stack")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def do_setitem(self) -> None:
        self._set(self._take(2))

    def do_setitems(self) -> None:
        self._set(self._pop_to_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(target) is not dict or type(key) is not str:
                raise _RefusedError("it has keys that are no strings")
            target[key] = value

    def do_memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def do_binput(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def do_binget(self, index: int) -> None:
        value = self.memo[index]
        # A tree that contains itself, or one branch a million times, is no tree; and
        # a few bytes could become many arrays. Python has one b"" and one b"b".
        size = len(value) if type(value) is bytes else 2
        if type(value) in _ONCE and size > 1 and not _is_dtype(value):
            raise _RefusedError("it refers to one object from several places")
        self.stack.append(value)

    do_long_binput, do_long_binget = do_binput, do_binget

    def do_global(self, name: str) -> None:
        self._push_name(*name.split(" ", 1))

    def do_stack_global(self) -> None:
        self._push_name(*self._take(2))

    def _push_name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise _RefusedError("it has a name that is no string")
        if (module, name) not in _NAMES:
            wanted = f"{module}.{name}"[:80]
            raise _RefusedError(f"it asks for {wanted!a}, which is no array")
        self.stack.append(_NAMES[module, name])

    def do_reduce(self) -> None:
        function, arguments = self._take(2)
        if function is _Name.DTYPE:
            self.stack.append(_Pending(_Name.DTYPE, _dtype(arguments[0])))
        elif function is _Name.RECONSTRUCT:
            self.stack.append(_Pending(_Name.ARRAY))
        else:
            raise _RefusedError("it calls something")

    def do_newobj(self) -> None:
        kind, arguments = self._take(2)
        if kind is not _Name.WRAPPER or arguments != ():
            raise _RefusedError("it makes an object that is no array")
        self.stack.append(_Pending(_Name.WRAPPER))

    def do_build(self) -> None:
        target, state = self._take(2)
        if type(target) is not _Pending:
            raise _RefusedError("it sets the state of what is no array")
        if target.kind is _Name.DTYPE:
            target.value = target.value.newbyteorder(state[1])
        elif target.kind is _Name.ARRAY:
            _, shape, dtype, is_fortran, content = state
            target.value = _array(content, dtype, shape, "F" if is_fortran else "C")
        else:
            target.value = self._wrapped(state)
        self.stack.append(target)

    def _wrapped(self, state: Any) -> np.ndarray:
        """The array whose bytes follow its description."""
        if not _is_dtype(state["dtype"]) or state["subclass"] is not _Name.ARRAY:
            raise _RefusedError("it wraps what is no array")
        if state.get("numpy_array_alignment_bytes") is not None:
            self.file.read(self.file.read(1)[0])
        size = math.prod(_shape(state["shape"])) * state["dtype"].value.itemsize
        content = self.file.read(size)
        return _array(content, state["dtype"], state["shape"], state["order"])


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_ONCE = (dict, bytes, _Pending)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1"),
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
}


def _is_dtype(value: Any) -> bool:
    return type(value) is _Pending and value.kind is _Name.DTYPE


def _dtype(name: Any) -> np.dtype:
    if type(name) is not str or not _NUMBERS.fullmatch(name):
        raise _RefusedError("it has an array of something else than numbers")
    return np.dtype(name)


def _shape(shape: Any) -> tuple[int, ...]:
    is_short = type(shape) is tuple and len(shape) <= _MOST_AXES
    if not is_short or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("a shape that is none")
    return shape


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """An array of its own, in this machine's byte order."""
    if not _is_dtype(dtype) or type(content) is not bytes:
        raise _RefusedError("it has an array of something else than numbers")
    flat = np.frombuffer(content, dtype.value)
    array = flat.reshape(_shape(shape), order=order)
    return np.array(array, dtype.value.newbyteorder("="), order="C")


def _checked(tree: Any) -> Tree:
    """The tree with its arrays in place, if it is one."""
    if type(tree) is not dict or any(
        type(leaves) is not dict for leaves in tree.values()
    ):
        raise _RefusedError("it is no dictionary of dictionaries of arrays")
    for leaves in tree.values():
        for name, leaf in leaves.items():
            value = leaf.value if type(leaf) is _Pending else None
            if not isinstance(value, np.ndarray):
                raise _RefusedError(f"{name[:80]!a} is no array")
            leaves[name] = value
    return tree

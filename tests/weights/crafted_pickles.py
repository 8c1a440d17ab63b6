"""Pickles put together by hand: sound, hostile and damaged.

LIVE ones leave a file behind where Python unpickles them.
"""

import bz2
import gzip
import io
import pickle
import struct
import zlib

import joblib
import numpy as np


class Trap:
    """Leaves a file behind wherever it comes to life."""

    def __new__(cls, path=None, *, keyword=None):
        if path or keyword:
            open(path or keyword, "w").close()
        return super().__new__(cls)

    def __setstate__(self, path):
        open(path, "w").close()


class Reduced:
    """Is pickled as a call of Trap."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Trap, (self.path,)


# Instructions.


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    return pickle.dumps(value, 2)[2:-1]


def content(value):
    return b"B" + struct.pack("<I", len(value)) + value


def named(module, name):
    return text(module) + text(name) + b"\x93"


def many(*items):
    return b"(" + b"".join(items) + b"t"


def call(function, *arguments):
    return function + many(*arguments) + b"R"


def shape(*sizes):
    return many(*map(number, sizes))


def file(leaf):
    """{"m": {"w": leaf}}."""
    return b"\x80\x04}" + text("m") + b"}" + text("w") + leaf + b"ss."


ARRAY = named("numpy", "ndarray")
WRAPPER = named("joblib.numpy_pickle", "NumpyArrayWrapper")
TRAP = named(__name__, "Trap")


def dtype(name="f4", order="<"):
    made = call(named("numpy", "dtype"), text(name), b"\x89", b"\x88")
    state = (number(3), text(order), b"NNN", number(-1), number(-1), number(0))
    return made + many(*state) + b"b"


def array(sizes=None, data=bytes(8), of=None, made=None):
    """As numpy pickles an array; each part can be another."""
    reconstruct = named("numpy._core.multiarray", "_reconstruct")
    made = made or call(reconstruct, ARRAY, shape(0), content(b"b"))
    sizes = sizes or shape(2)
    return made + many(number(1), sizes, of or dtype(), b"\x89", content(data)) + b"b"


def wrapped(sizes=None, of=None, subclass=ARRAY, kind=WRAPPER, data=b"\x00" + bytes(8)):
    """As joblib writes an array; each part can be another."""
    state = {
        "subclass": subclass,
        "shape": sizes or shape(2),
        "order": text("C"),
        "dtype": of or dtype(),
        "numpy_array_alignment_bytes": number(16),
    }
    items = b"".join(text(name) + value for name, value in state.items())
    return kind + b")\x81}(" + items + b"ub" + data


SOUND = {"array": file(array()), "wrapped": file(wrapped())}


# Files that would run something: (path of a file that this would leave) -> content.


def object_array(path, dump):
    stream = io.BytesIO()
    dump({"m": {"w": np.array([Reduced(path)], object)}}, stream)
    return stream.getvalue()


def npy(path):
    np.save(path + ".npy", np.array([Reduced(path)], object))
    return file(call(named("numpy", "load"), text(path + ".npy"), b"N", b"\x88"))


LIVE = {
    "os.system, GLOBAL and REDUCE": lambda p: (
        b"\x80\x02cos\nsystem\n" + many(text(f"touch '{p}'")) + b"R."
    ),
    "os.system, protocol 0": lambda p: (
        b"cos\nsystem\n(S\"touch '" + p.encode() + b"'\"\ntR."
    ),
    "builtins.eval": lambda p: file(
        call(named("builtins", "eval"), text(f"open({p!r}, 'w')"))
    ),
    "builtins.exec": lambda p: file(
        call(named("builtins", "exec"), text(f"open({p!r}, 'w')"))
    ),
    "getattr chain": lambda p: file(
        call(
            call(
                named("builtins", "getattr"),
                call(named("importlib", "import_module"), text("os")),
                text("system"),
            ),
            text(f"touch '{p}'"),
        )
    ),
    "dotted name": lambda p: file(
        call(named("pathlib", "Path.touch"), call(named("pathlib", "Path"), text(p)))
    ),
    "a call within the arguments of another": lambda p: file(
        array(
            made=call(
                named("numpy._core.multiarray", "_reconstruct"),
                ARRAY,
                shape(0),
                call(TRAP, text(p)),
            )
        )
    ),
    "a call for a shape": lambda p: file(wrapped(sizes=call(TRAP, text(p)))),
    "a call for a key": lambda p: b"\x80\x04}" + call(TRAP, text(p)) + b"}s.",
    "BUILD": lambda p: file(TRAP + b")\x81" + text(p) + b"b"),
    "INST": lambda p: b"\x80\x02(" + text(f"touch '{p}'") + b"ios\nsystem\n.",
    "OBJ": lambda p: file(b"(" + named("os", "system") + text(f"touch '{p}'") + b"o"),
    "NEWOBJ": lambda p: file(TRAP + many(text(p)) + b"\x81"),
    "NEWOBJ_EX": lambda p: file(TRAP + b")}" + text("keyword") + text(p) + b"s\x92"),
    "EXT1": lambda p: file(call(b"\x82\xf0", text(p))),
    "EXT4": lambda p: file(call(b"\x84\xf0\x00\x00\x00", text(p))),
    "STACK_GLOBAL of names in the memo": lambda p: (
        b"\x80\x04}"
        + text("system")
        + b"q\x01}s"
        + text("os")
        + b"q\x02}s"
        + text("m")
        + call(b"h\x02h\x01\x93", text(f"touch '{p}'"))
        + b"s."
    ),
    "numpy.load": npy,
    "numpy's runstring": lambda p: file(
        call(
            named("numpy.testing._private.utils", "runstring"),
            text(f"open({p!r}, 'w')"),
            b"}",
        )
    ),
    "array of objects": lambda p: object_array(p, pickle.dump),
    "array of objects behind joblib's wrapper": lambda p: object_array(p, joblib.dump),
    "the wrapper is another class": lambda p: file(
        wrapped(kind=TRAP, data=b"").replace(b")\x81", many(text(p)) + b"\x81")
    ),
    "an array of another class": lambda p: file(wrapped(subclass=call(TRAP, text(p)))),
}


HOSTILE = {
    "PERSID": file(b"Pid\n"),
    "BINPERSID": file(text("id") + b"Q"),
    "INST of an array": file(b"(inumpy\nndarray\n"),
    "OBJ of an array": file(b"(" + ARRAY + b"o"),
    "NEWOBJ of a large array": file(ARRAY + many(shape(2**40)) + b"\x81"),
    "NEWOBJ_EX of an array": file(ARRAY + b")}\x92"),
    "call of a large array": file(call(ARRAY, shape(2**40))),
    "call of the wrapper": file(call(WRAPPER, ARRAY)),
    "wrapper with arguments": file(WRAPPER + many(ARRAY) + b"\x81"),
    "state of a class": file(ARRAY + b"}" + text("x") + b"Nsb"),
    "state of a dictionary": file(b"}}b"),
    "EXT1 of nothing known": file(b"\x82\x01"),
    "subclass of an array": file(wrapped(subclass=named("numpy", "matrix"))),
    "array in a file beside it": file(
        named("joblib.numpy_pickle_compat", "NDArrayWrapper") + b")\x81"
    ),
    "objects": file(array(of=dtype("O8"))),
    "objects in the wrapper": file(wrapped(of=dtype("O"))),
    "fields": file(array(of=dtype("f4,O"))),
    "bytes of any length": file(array(of=dtype("V1000000000"))),
    "dates": file(array(of=dtype("M8[ns]"))),
    "complex": file(array(of=dtype("c8"))),
    "dtype of a class": file(array(of=call(named("numpy", "dtype"), ARRAY))),
    "dtype that is a string": file(wrapped(of=text("f4"))),
    "dictionary in itself": b"\x80\x04}q\x01" + text("m") + b"h\x01s.",
    "one array twice": b"\x80\x04}"
    + text("m")
    + b"}"
    + text("v")
    + array()
    + b"q\x01s"
    + text("w")
    + b"h\x01ss.",
    "many arrays of few bytes": b"\x80\x04}"
    + text("m")
    + b"}"
    + text("v")
    + array(data=bytes(8)).replace(content(bytes(8)), content(bytes(8)) + b"q\x01")
    + b"s"
    + text("w")
    + array().replace(content(bytes(8)), b"h\x01")
    + b"ss.",
    "buffer outside": b"\x80\x05}" + text("m") + b"\x97s.",
    "BYTEARRAY8": b"\x80\x05\x96" + bytes(8) + b".",
    "list": file(b"]"),
    "set": file(b"\x8f"),
    "float": file(b"G" + bytes(8)),
    "POP": file(b"N0N"),
    "DUP": file(b"N2"),
    "key that is a number": b"\x80\x04}" + number(1) + b"}s.",
    "item of a tuple": file(b")NNs"),
    "leaf that is a number": file(number(1)),
    "name that is a number": file(number(1) + number(2) + b"\x93"),
    "leaf that is a name": file(ARRAY),
    "array that was never filled": file(WRAPPER + b")\x81"),
    "array alone": b"\x80\x04" + array() + b".",
    "deep tuples": file(b")" + b"\x85" * 5_000),
    "deep dictionaries": b"\x80\x04"
    + (b"}" + text("a")) * 5_000
    + b"N"
    + b"s" * 5_000
    + b".",
}


DAMAGED = {
    "empty": b"",
    "text": b"<html>404</html>",
    "zip": b"PK\x03\x04" + bytes(100),
    "safetensors": b"\x02" + bytes(7) + b"{}",
    "gzip": gzip.compress(SOUND["wrapped"]),
    "zlib, a million times larger": zlib.compress(bytes(10**7)),
    "bz2": bz2.compress(bytes(10**6)),
    "bytes after the end": SOUND["array"] + b"x",
    "second pickle after the end": SOUND["array"] * 2,
    "two values": b"\x80\x04}}.",
    "nothing": b"\x80\x04.",
    "unknown instruction": b"\x80\x04\xff.",
    "memo that was never filled": file(b"h\x07"),
    "mark that was never set": b"\x80\x04t.",
    "key without value": file(b"}(" + text("a") + b"u"),
    "short array": file(array(data=bytes(7))),
    "long array": file(array(data=bytes(12))),
    "shape of another size": file(array(shape(3))),
    "large shape": file(array(shape(2**40))),
    "shape that overflows": file(array(shape(2**32, 2**32))),
    "large and empty": file(array(shape(0, 2**70), data=b"")),
    "negative shape": file(array(shape(-1))),
    "shape of booleans": file(array(many(b"\x88", number(2)))),
    "shape that is none": file(array(number(2))),
    "more axes than there are": file(array(shape(*[1] * 40), data=bytes(4))),
    "large shape behind the wrapper": file(wrapped(shape(2**40))),
    "overflow behind the wrapper": file(wrapped(shape(2**32, 2**32))),
    "padding beyond the end": file(wrapped(data=b"\xff" + bytes(8))),
    "bytes beyond the end": file(b"B\xff\xff\xff\x7f"),
    "8-byte length": file(b"\x8e" + struct.pack("<Q", 2**62)),
    "text beyond the end": file(b"\x8d" + struct.pack("<Q", 2**62)),
    "number beyond the end": file(b"\x8b" + struct.pack("<i", 2**31 - 1)),
    "number without end": file(b"L" + b"9" * 10_000 + b"\n"),
    "long line": file(b"S" + b"x" * 10_000 + b"\n"),
    "byte order that is none": file(array(of=dtype(order="?"))),
    "state that is short": file(call(named("numpy", "dtype"), text("f4")) + b")b"),
}

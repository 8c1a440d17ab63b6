"""HDF5 and requests that break a rule: each is told in a line, and nothing is left."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.workflows import test_malformed_requests as requests
from tests.workflows import test_malformed_text as text
from tests.workflows.malformed import SAME, Difference


def put(name, values, **options):
    """Replaces a dataset; attributes stay."""

    def change(file):
        attributes = dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, data=values, **options).attrs.update(attributes)

    return change


def changed(name, function):
    return lambda file: put(name, function(file[name][:]))(file)


def filled(name, number, dtype):
    return changed(name, lambda old: np.full(old.shape, number, dtype))


def value(name, place, number):
    return lambda file: file[name].__setitem__(place, number)


def repeated(name):
    return lambda file: file[name].__setitem__(1, file[name][0])


def attribute(name, key, content):
    return lambda file: file[name].attrs.__setitem__(key, content)


def delete(name):
    return lambda file: file.__delitem__(name)


def declare(name, shape, dtype="i4", **options):
    """Values that nobody wrote."""

    def change(file):
        attributes = dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, shape, dtype, **options).attrs.update(attributes)

    return change


def link(name, target):
    def change(file):
        del file[name]
        file[name] = target

    return change


def elsewhere(file):
    external = [("other.bin", 0, h5py.h5f.UNLIMITED)]
    declare("X/data", file["X/data"].shape, external=external)(file)


def virtual(file):
    count = file["X/data"].shape
    layout = h5py.VirtualLayout(count, np.int32)
    layout[:] = h5py.VirtualSource("other.h5", "x", count)
    del file["X/data"]
    file.create_virtual_dataset("X/data", layout)


def proteins(file):
    del file["mod"].attrs["mod-order"], file["mod/atac"]
    file.move("mod/rna", "mod/prot")


def twice(file):
    del file["mod"].attrs["mod-order"]
    file.copy("mod/rna", "mod/gex")


HUGE = 2**34
NAMES = {"dtype": h5py.string_dtype(), "chunks": True}
OTHER = h5py.ExternalLink("other.h5", "/X")
UNFIT = "a sparse matrix is broken: indptr of /?(X|matrix) does not fit"
BROKEN = {
    "rna": {
        "an index too large": (value("X/indices", 3, 10**6), "column 1000000 of 300"),
        "an index below 0": (value("X/indices", 3, -1), "names column -1 of 300"),
        "indices of fractions": (changed("X/indices", lambda x: x / 2), UNFIT),
        "too few indices": (changed("X/indices", lambda x: x[1:]), UNFIT),
        "pointers that fall": (value("X/indptr", 5, 10**6), UNFIT),
        "pointers not from 0": (value("X/indptr", 0, 1), UNFIT),
        "pointers beyond the end": (value("X/indptr", -1, 10**6), UNFIT),
        "a pointer too few": (changed("X/indptr", lambda x: x[1:]), UNFIT),
        "pointers of fractions": (changed("X/indptr", lambda x: x / 2), UNFIT),
        "64 GiB of counts": (declare("X/data", HUGE, chunks=True), "17179869184 val"),
        "64 GiB of one piece": (declare("X/indices", HUGE), "declares 17179869184 val"),
        "64 GiB of pointers": (declare("X/indptr", HUGE, chunks=True), "declares 171"),
        "64 GiB of names": (declare("obs/_index", HUGE, **NAMES), "declares 171798691"),
        "64 GiB, dense": (declare("X", (4, HUGE), chunks=True), "declares 687194767"),
        "a huge part": (
            declare("X/data", 2**29, chunks=(2**29,)),
            "declares 536870912",
        ),
        "a link to another file": (link("X", OTHER), "X is a link to another file"),
        "cells of another file": (link("obs", OTHER), "obs is a link to another file"),
        "counts in another file": (elsewhere, "X/data is stored in another file"),
        "a view of another file": (virtual, "X/data is stored in another file"),
        "a link to nothing": (link("X", h5py.SoftLink("/x")), "is no complete HDF5"),
        "a negative count": (value("X/data", 7, -2), "value -2 of feature .* in cell"),
        "NaN": (filled("X/data", np.nan, "f4"), "value nan of feature .* in cell"),
        "infinity": (filled("X/data", np.inf, "f8"), "value inf of feature .* in cell"),
        "infinity of 16 bits": (filled("X/data", np.inf, "f2"), "value inf of feature"),
        "fractions": (
            changed("X/data", lambda x: x / 3),
            "of feature .* is not a count",
        ),
        "more than 24 bits": (filled("X/data", 2**24 + 1, "i4"), "value 1.67772e"),
        "more than 31 bits": (filled("X/data", 2**31, "u4"), r"value 2\.14748e\+09 of"),
        "a little more": (filled("X/data", 2**31, "f4"), r"value 2\.14748e\+09 of"),
        "more than 32 bits": (filled("X/data", 2**40, "i8"), r"value 1\.09951e\+12 of"),
        "letters": (filled("X/data", b"x", "S1"), "holds .S1 values|X cannot be read"),
        "complex counts": (filled("X/data", 1j, "c8"), "holds complex64 values"),
        "no matrix": (delete("X"), "has no matrix X"),
        "no values": (delete("X/data"), "X cannot be read"),
        "a cube": (declare("X", (200, 300, 2)), r"X is \(200, 300, 2\) for 200 cells"),
        "a number": (declare("X", ()), r"X is \(\) for 200 cells"),
        "a cell twice": (repeated("obs/_index"), "cell name .* occurs 2 times"),
        "a feature twice": (repeated("var/_index"), "feature name .* occurs 2 times"),
        "no names": (delete("obs/_index"), "cannot be read"),
        "no table of cells": (delete("obs"), "cannot be read"),
        "unknown names": (attribute("obs", "encoding-type", "runes"), "cannot be read"),
        "an unknown class": (value("obs/cell_type/codes", 0, 99), "cannot be read"),
        "names of bytes": (
            filled("var/_index", b"\xff\xfe", "S2"),
            "cannot be read|occurs",
        ),
    },
    "csc": {
        "an index too large": (value("X/indices", 3, 10**6), "column 1000000 of 200"),
        "pointers that fall": (value("X/indptr", 5, 10**6), UNFIT),
        "a negative count": (value("X/data", 7, -2), "value -2 of feature .* in cell"),
    },
    "dense": {
        "a cell too few": (changed("X", lambda x: x[1:]), r"X is \(199, 300\) for 200"),
        "NaN": (value("X", (3, 4), np.nan), "value nan of feature .* in cell"),
    },
    "no_cells": {"no cells": (bool, "it has no cells")},
    "no_features": {"no features": (bool, "it has no features")},
    "both": {
        "no RNA and no ATAC": (proteins, "neither RNA nor ATAC"),
        "RNA twice": (twice, "has rna twice"),
        "a modality of another file": (link("mod/rna", OTHER), "link to another file"),
        "no modalities": (delete("mod"), "cannot be read"),
        "an order of others": (attribute("mod", "mod-order", ["x"]), "cannot be read"),
    },
    "atac": {
        "a peak that ends first": (
            changed("var/end", lambda x: x - 10**6),
            "0 <= start",
        ),
        "a peak nowhere": (filled("var/start", np.nan, "f8"), "not whole numbers"),
    },
    "h5": {
        "no matrix": (delete("matrix/barcodes"), "is no matrix of Cell Ranger"),
        "another shape": (put("matrix/shape", [4, 4]), r"declares \(4, 4\)"),
        "an index too large": (value("matrix/indices", 3, 10**6), "column 1000000 of"),
        "pointers that fall": (value("matrix/indptr", 5, 10**6), UNFIT),
        "64 GiB": (
            declare("matrix/data", HUGE, chunks=True),
            "declares 17179869184 val",
        ),
        "a cell too few": (changed("matrix/barcodes", lambda x: x[1:]), "199 barcodes"),
        "a cell twice": (repeated("matrix/barcodes"), "cell name .* occurs 2 times"),
        "numbers for names": (put("matrix/barcodes", np.arange(200)), "cannot be read"),
    },
}
CASES = [(source, what) for source, broken in BROKEN.items() for what in broken]


@pytest.mark.parametrize(("source", "what"), CASES)
def test_broken_hdf5(bench, small, tmp_path, source, what):
    change, says = BROKEN[source][what]
    path = Path(shutil.copy(small.path(source), tmp_path))
    with h5py.File(path, "a") as file:
        change(file)
    said = bench.refuses(*small.command(source, {source: path}))
    assert str(path) in said, said
    assert re.search(says, said), said


def round_trip(file):
    file["uns/round"] = file["/"]


FINE = {
    "links that go round": ("rna", round_trip),
    "counts of 16 bits": ("rna", changed("X/data", lambda x: x.astype("f2"))),
    "counts of 64 bits": ("rna", changed("X/data", lambda x: x.astype("u8"))),
    "indices of 64 bits": ("rna", changed("X/indices", lambda x: x.astype("i8"))),
    "peaks from the last": ("atac", None),
}


@pytest.mark.parametrize("what", FINE)
def test_what_is_allowed_gives_the_same_store(bench, small, tmp_path, what):
    source, change = FINE[what]
    path = tmp_path / "fine.h5ad"
    if change is None:
        small.adata[source][:, ::-1].write_h5ad(path)
    else:
        shutil.copy(small.path(source), path)
        with h5py.File(path, "a") as file:
            change(file)
    found = bench.prepare(*small.command(source, {source: path})).store
    assert Difference.between(bench.whole(small, source), found) == SAME


def test_there_are_a_hundred(tally):
    counts = {
        "HDF5": len(CASES),
        "text": len(text.CASES),
        "requests": len(requests.BROKEN) + len(requests.TAKEN),
    }
    assert sum(counts.values()) >= 100
    tally(f"{sum(counts.values())} malformed inputs refused: {counts}")

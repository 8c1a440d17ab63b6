"""Text that breaks a rule: each is told in a line, and nothing is left."""

import gzip
import re

import pytest

from tests.workflows.malformed import SAME, Difference

BINARY = bytes(range(256)) * 4


def line(number, new):
    """Puts a line for another."""

    def change(old):
        lines = old.split(b"\n")
        lines[number] = new.encode()
        return b"\n".join(lines)

    return change


def field(number, column, new):
    """Puts a word for another, in tabs."""

    def change(old):
        words = old.split(b"\n")[number].decode().split("\t")
        words[column] = new
        return line(number, "\t".join(words))(old)

    return change


def content(text):
    return lambda old: text.encode() if isinstance(text, str) else text


def swapped(some, other):
    return lambda old: old.replace(some.encode(), other.encode())


def added(text):
    return lambda old: old + text.encode()


def nothing(old):
    return b""


def lost(old):
    return None


def half(old):
    packed = gzip.compress(old, mtime=0)
    return packed[: len(packed) // 2]


def elsewhere(old):
    return re.sub(rb"\t\d+\t\d+\t", b"\t5\t9\t", old)


def deep(old):
    return b"".join(b"chr2\t%d\t2000000\n" % start for start in range(12_000))


CHAIN = "chain 9 chr4 200 + 0 50 chr4 200 + 0 50 1\n50\n\n"
MATRIX = "%%MatrixMarket matrix {} integer general"
BROKEN = {
    "matrix.mtx": {
        "empty": (nothing, "it ends too soon"),
        "binary": (content(BINARY), "not a text file"),
        "cut": (lambda old: old[:-400], "declares .* and has"),
        "64 GiB": (line(2, "500 200 17179869184"), "more than it can"),
        "dense": (line(0, MATRIX.format("array")), "not coordinate"),
        "another size": (line(2, "501 200 9"), "501 × 200, and there"),
        "no sizes": (line(2, "500 x 9"), "cannot be read"),
        "beyond the last": (line(9, "501 1 1"), "outside the matrix"),
        "from 0": (line(9, "0 1 1"), "outside the matrix"),
        "negative": (line(9, "1 1 -3"), "value -3 of feature"),
        "fraction": (line(9, "1 1 0.5"), "value 0.5 of feature"),
        "NaN": (line(9, "1 1 nan"), "cannot be read|not a count"),
        "letters": (line(9, "1 1 many"), "cannot be read"),
        "too large": (line(9, "1 1 4294967296"), "not a count"),
        "lost": (lost, "without a matrix.mtx"),
    },
    "barcodes.tsv": {
        "lost": (lost, "no barcodes.tsv"),
        "too few": (lambda old: old[:-25], "199 barcodes"),
        "binary": (content(BINARY), "not a text file"),
        "twice": (lambda old: old[:24] * 200, "occurs 200"),
    },
    "features.tsv": {
        "lost": (lost, "no features.tsv"),
        "empty": (nothing, "cannot be read"),
        "twice": (lambda old: old[: old.find(b"\n") + 1] * 500, "occurs 500"),
    },
    "table": {
        "empty": (nothing, "fewer than two lines"),
        "binary": (content(BINARY), "table.csv"),
        "a name alone": (content("cell,ENSG00000000001\n"), "fewer than"),
        "ragged": (line(3, "a,1,2"), "holds ''"),
        "too wide": (line(3, "a" + ",1" * 900), "cannot be read"),
        "letters": (line(3, "a" + ",x" * 300), "holds 'x'"),
        "negative": (line(3, "a" + ",-1" * 300), "value -1 of"),
        "NaN": (line(3, "a" + ",NaN" * 300), "holds 'NaN'|not a count"),
        "a cell twice": (lambda old: old + old.split(b"\n")[-2], "occurs 2 times"),
    },
    "fragments": {
        "empty": (nothing, "holds no fragments"),
        "comments": (content("# id=x\n# y\n"), "holds no fragments"),
        "binary": (content(BINARY), "line 1 "),
        "no barcode": (line(7, "chr2\t5\t9"), "line 8 has 3 columns"),
        "ends first": (field(7, 2, "1"), "line 8: a fragment"),
        "negative": (field(7, 1, "-5"), "line 8: start '-5' is no"),
        "letters": (field(7, 1, "five"), "line 8: start 'five'"),
        "too far": (field(7, 2, "9" * 30), "line 8: end '999"),
        "no chromosome": (field(7, 0, ""), "line 8 has no chrom"),
        "a long line": (lambda old: b"x" * 10**8, "a line of"),
        "cut": (half, "gzip data end early"),
        "of another kind": (content("PK\3\4" + "x" * 99), "line 1 "),
        "other cells": (swapped("-1\t", "-2\t"), "none of the 1000 in cells.tsv"),
        "other names": (swapped("chr", "scaffold"), "no fragment is on a chromosome"),
        "elsewhere": (elsewhere, "no fragment of .* ends within a peak"),
    },
    "peaks": {
        "empty": (nothing, "holds no peaks"),
        "binary": (content(BINARY), "not a text file"),
        "end first": (line(4, "chr2\t900\t800"), "line 5: a peak chr2:900-800"),
        "of no length": (line(4, "chr2\t900\t900"), "line 5: a peak"),
        "negative": (line(4, "chr2\t-5\t900"), "line 5: '-5' is no position"),
        "fractions": (line(4, "chr2\t5.5\t900"), "line 5: '5.5' is no"),
        "two columns": (line(4, "chr2\t900"), "line 5 has 2 columns"),
        "spaces": (line(0, "chr2 5 900"), "line 1 has 1 columns"),
        "two styles": (line(4, "2\t5\t900"), "named in two ways"),
        "cut": (half, "peaks.bed"),
        "too deep": (deep, "overlap .* deep"),
    },
    "cells": {
        "empty": (nothing, "names no cell"),
        "binary": (content(BINARY), "not a text file"),
        "twice": (lambda old: old + old[:19], "occurs 2 times"),
        "strangers": (content("ACGT-1\nTTTT-1\n"), "none of the 2 in cells.tsv"),
    },
    "genes": {
        "empty": (nothing, "holds no genes"),
        "binary": (content(BINARY), "not a text file"),
        "letters": (field(4, 1, "x"), "line 5: start 'x' is not "),
        "end first": (field(4, 2, "1"), "line 5.* spans"),
        "no strand": (field(4, 5, "."), "line 5: strand '.'"),
        "a short line": (line(4, "chr1\t5"), "line 5 has 2 columns"),
        "FASTA": (content(">chr1\nACGT\n"), "format not recognised"),
        "two styles": (field(4, 0, "1"), "named in two ways"),
        "too far": (field(4, 2, "9" * 30), "genes.bed"),
        "cut": (half, "gzip data end early"),
    },
    "gtf": {
        "no genes": (swapped("\tgene\t", "\texon\t"), "holds no genes"),
        "no ID": (
            lambda old: old[:99] + old[99:].replace(b"_id", b"_no"),
            "no gene_id",
        ),
        "letters": (field(0, 3, "x"), "start 'x' is not "),
        "end first": (field(0, 4, "1"), "line 1.* spans"),
        "no strand": (field(0, 6, "."), "strand '.'"),
    },
    "chain": {
        "empty": (nothing, "holds no chain"),
        "binary": (content(BINARY), "not a text file"),
        "cut": (lambda old: old[:-20], "ends within a chain|line "),
        "no number": (line(1, "many"), "line 2 is 'many'"),
        "no end": (line(0, "chain 5 chr4"), "line 1 is 'chain 5 chr4'"),
        "other sums": (line(1, "5 5 5"), r"is damaged \(.*end does not match"),
        "two sizes": (added(CHAIN), "is 'chain 9 chr4 200 "),
        "too large": (line(1, "9" * 30 + " 5 5"), "chain"),
        "other chromosomes": (swapped(" chr", " contig"), "lifts none of"),
        "elsewhere": (content(CHAIN), "lifts none of"),
    },
}


CASES = [(source, what) for source, broken in BROKEN.items() for what in broken]


@pytest.mark.parametrize(("source", "what"), CASES)
def test_broken_text(bench, small, tmp_path, source, what):
    change, says = BROKEN[source][what]
    new = change(small.file(source).read_bytes())
    arguments = small.with_other(source, new, tmp_path / "broken")
    said = bench.refuses(*arguments)
    assert re.search(r"broken/|peaks\.bed|cells\.tsv", said), said
    assert re.search(says, said), said


def backwards(old):
    lines = old.splitlines(keepends=True)
    return b"".join(reversed(lines))


def packed(old):
    return gzip.compress(old, mtime=0)


FINE = {
    "from the end": (backwards, ("peaks", "fragments", "cells")),
    "twice": (lambda old: old * 2, ("peaks",)),
    "with comments": (
        lambda old: b"# a\n" + old,
        ("peaks", "fragments", "genes", "gtf"),
    ),
    "of Windows": (swapped("\n", "\r\n"), ("peaks", "fragments", "genes", "gtf")),
    "without an end": (bytes.rstrip, ("peaks", "fragments", "genes", "matrix.mtx")),
    "packed": (packed, ("peaks", "fragments", "cells", "genes", "gtf", "chain")),
}


@pytest.mark.parametrize(
    ("what", "source"), [(what, of) for what, fine in FINE.items() for of in fine[1]]
)
def test_what_is_allowed_gives_the_same_store(bench, small, tmp_path, what, source):
    new = FINE[what][0](small.file(source).read_bytes())
    found = bench.prepare(*small.with_other(source, new, tmp_path / "fine")).store
    assert Difference.between(bench.whole(small, source), found) == SAME

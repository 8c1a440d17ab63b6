"""Counts of fragments files: by hand, against a double loop, and of real fragments."""

import gzip
import json
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from scmultimodal.genome.intervals import parse_peak_names
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import barcodes, peak_index
from scmultimodal.singlecell.fragment_files import open_fragments
from scmultimodal.singlecell.name_table import NameTable, number_of

FRAGMENTS = """# id=a sample

chr1\t100\t300\tAA-1\t4
chr1\t150\t160\tAA-1\t1
chr1\t199\t900\tCC-1
# between lines, too
chr2\t5\t6\tAA-1\t2\tmore
chr1\t300\t320\tGG-1\t1
"""
PEAKS = "chr1\t100\t200\nchr1\t290\t310\nchr2\t0\t50\nchr1\t150\t300\textra\n"


def write(folder, fragments=FRAGMENTS, peaks=PEAKS, cells="AA-1\nCC-1\n"):
    folder.mkdir(exist_ok=True)
    for name, text in (("f.tsv", fragments), ("p.bed", peaks), ("c.txt", cells)):
        (folder / name).write_text(text)
    return {"path": folder / "f.tsv", "peaks": folder / "p.bed"}


def matrix(plan):
    """The counts as a dense frame."""
    shape = len(plan.barcodes), len(plan.peaks)
    total = np.zeros(shape, int)
    for part in plan.entries():
        np.add.at(total, (part.rows, part.columns), part.counts)
    return pd.DataFrame(total, index=plan.barcodes, columns=plan.peaks.index)


# By hand.


@pytest.mark.parametrize("lines_at_once", [1, 3, 1000])
@pytest.mark.parametrize(
    ("counts", "wanted"),
    [
        # The first fragment has 100 in peak 0, 299 in peaks 1 and 3; the second both
        # ends in 0 and 3; the third one of them in 0 and 3; the fourth both in 2.
        ("fragments", [[2, 1, 1, 2], [1, 0, 0, 1]]),
        ("insertions", [[3, 1, 2, 3], [1, 0, 0, 1]]),
    ],
)
def test_by_hand(tmp_path, counts, wanted, lines_at_once):
    plan = open_fragments(
        **write(tmp_path),
        barcodes=tmp_path / "c.txt",
        counts=counts,
        lines_at_once=lines_at_once,
    )
    found = matrix(plan)
    assert found.to_numpy().tolist() == wanted
    assert found.index.tolist() == ["AA-1", "CC-1"]
    assert found.columns[:2].tolist() == ["chr1:100-200", "chr1:290-310"]
    facts = json.loads(json.dumps(plan.facts))
    assert facts["fragments"] == 5
    assert facts["fragments_in_cells"] == facts["fragments_in_peaks"] == 4
    assert (facts["barcodes_in_file"], facts["barcodes_found"]) == (3, 2)


def test_a_fragment_that_spans_a_peak_says_nothing(tmp_path):
    files = write(tmp_path, "1\t10\t900\ta\n1\t9\t20\ta\n", "1\t100\t200\n1\t10\t11\n")
    (tmp_path / "c.txt").write_text("a")
    for counts in ("fragments", "insertions"):
        plan = open_fragments(**files, barcodes=tmp_path / "c.txt", counts=counts)
        assert matrix(plan).to_numpy().tolist() == [[0, 1]]
        assert plan.facts["fragments_in_peaks"] == 1


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["gzip", "plain"])
def test_files_are_known_by_content(tmp_path, pack):
    files = write(tmp_path)
    files["path"].write_bytes(pack(FRAGMENTS.replace("\n", "\r\n").encode()[:-2]))
    files["peaks"] = tmp_path / "p.bed.gz"
    head = "track name=peaks\n#chr\tstart\tend\n"
    peaks = PEAKS + PEAKS.splitlines()[0] + "\tagain\n"
    files["peaks"].write_bytes(gzip.compress((head + peaks).encode(), mtime=0))
    found = matrix(open_fragments(**files, barcodes=tmp_path / "c.txt"))
    assert found.to_numpy().tolist() == [[2, 1, 1, 2], [1, 0, 0, 1]]


@pytest.mark.parametrize("plain", ["fragments", "peaks"])
def test_chromosomes_may_be_named_either_way(tmp_path, plain):
    texts = {"fragments": FRAGMENTS, "peaks": PEAKS}
    texts[plain] = texts[plain].replace("chr", "")
    plan = open_fragments(**write(tmp_path, **texts), barcodes=tmp_path / "c.txt")
    assert matrix(plan).to_numpy().tolist() == [[2, 1, 1, 2], [1, 0, 0, 1]]
    assert plan.peaks["chrom"].iloc[0] == ("1" if plain == "peaks" else "chr1")


def test_columns_of_peaks_by_name(tmp_path):
    files = write(tmp_path, peaks="name\tend\tchrom\tstart\nx\t200\tchr1\t100\n")
    plan = open_fragments(**files, barcodes=tmp_path / "c.txt")
    assert plan.peaks.to_numpy().tolist() == [["chr1", 100, 200]]


@pytest.mark.parametrize("lines_at_once", [1, 1000])
def test_tiles_are_those_that_hold_something(tmp_path, lines_at_once):
    text = FRAGMENTS.replace("chr1\t150", "chr3\t0\t1\tTT\nchr1\t150")
    write(tmp_path, text)
    plan = open_fragments(
        tmp_path / "f.tsv",
        tile_bp=100,
        barcodes=tmp_path / "c.txt",
        lines_at_once=lines_at_once,
    )
    # Chromosomes as they come; the tile of the third one is of no cell.
    assert plan.peaks.index.tolist() == [
        "chr1:100-200", "chr1:200-300", "chr1:300-400", "chr1:800-900", "chr3:0-100",
        "chr2:0-100",
    ]  # fmt: skip
    assert matrix(plan).to_numpy().tolist() == [[2, 1, 0, 0, 0, 1], [1, 0, 0, 1, 0, 0]]


# Against a double loop.


places = st.tuples(
    st.sampled_from(["chr1", "chr2", "chrUn_1"]), st.integers(0, 60), st.integers(1, 40)
)
LENGTHS = st.sampled_from([1, 2, 7, 1000])


@settings(max_examples=60)
@given(
    fragments=st.lists(st.tuples(places, st.sampled_from("abcdefghij")), min_size=1),
    peaks=st.lists(places, min_size=1, max_size=12, unique=True),
    counts=st.sampled_from(["fragments", "insertions"]),
    lines_at_once=LENGTHS,
)
def test_as_two_loops_count(tmp_path_factory, fragments, peaks, counts, lines_at_once):
    cells = list("jbd")
    wanted = np.zeros((len(cells), len(peaks)), int)
    for (chrom, start, length), name in fragments:
        for column, (other, low, width) in enumerate(peaks):
            ends = [low <= end < low + width for end in (start, start + length - 1)]
            if name in cells and chrom == other:
                count = sum(ends) if counts == "insertions" else any(ends)
                wanted[cells.index(name), column] += count
    folder = tmp_path_factory.mktemp("loops")
    lines = [f"{c}\t{s}\t{s + n}\t{name}\t3\n" for (c, s, n), name in fragments]
    bed = [f"{c}\t{s}\t{s + n}\n" for c, s, n in peaks]
    files = write(folder, "".join(lines), "".join(bed), "\n".join(cells))
    plan = open_fragments(
        **files,
        barcodes=folder / "c.txt",
        counts=counts,
        lines_at_once=lines_at_once,
    )
    if not wanted.any():
        with pytest.raises(InputError):
            matrix(plan)
    else:
        assert matrix(plan).to_numpy().tolist() == wanted.tolist()


@given(st.lists(st.lists(st.text("ab-é", min_size=1, max_size=3), max_size=30)))
def test_names_get_numbers_in_order(pages):
    table, known = NameTable(), {}
    for page in pages:
        text = np.frombuffer("".join(page).encode(), np.uint8)
        table.reserve(len(page), len(text))
        at = np.uint64(0)
        for name in page:
            end = at + np.uint64(len(name.encode()))
            number = number_of(text, at, end, table.table)
            assert number == known.setdefault(name, len(known))
            at = end
        assert table.names() == list(known)
        assert table.names(3) == list(known)[3:]


# Cells.


@pytest.mark.parametrize(
    "text",
    [
        "A-1\nC-1\n",
        "# cells\nbarcode\nA-1\n\nC-1",
        ",cluster\nA-1,3\nC-1,4\n",
        '"cell_id"\t"cluster"\n"A-1"\t3\n"C-1"\t4\n',
        "A-1\t3\nC-1\t4\n",
        "barcode,total,is__cell_barcode\nNO_BARCODE,9,0\nA-1,5,1\nG-1,1,0\nC-1,5,1\n",
        "barcode,gex_barcode,is_cell\nA-1,A-1,1\nT-1,T-1,0\nC-1,C-1,1\n",
    ],
    ids=["list", "headed", "csv", "quoted", "tsv", "singlecell", "arc"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_lists_of_cells(tmp_path, text, packed):
    path = tmp_path / ("c.gz" if packed else "c")
    data = gzip.compress(text.encode(), mtime=0) if packed else text.encode()
    path.write_bytes(data)
    assert barcodes.read_barcodes(path).tolist() == ["A-1", "C-1"]


@pytest.mark.parametrize("spread", [0, 0.6])
@pytest.mark.parametrize("seed", range(3))
def test_cells_stand_above_the_knee(seed, spread):
    rng = np.random.default_rng(seed)
    cells = rng.poisson(1000 * np.exp(rng.normal(0, spread, 400)))
    background = rng.poisson(5 * np.exp(rng.normal(0, spread, 9000)))
    everything = np.concatenate([cells, background])
    knee = barcodes.find_knee(everything[everything > 0], "simulated")
    assert np.mean(cells >= knee.least) > 0.995
    assert np.sum(background >= knee.least) == 0
    assert knee.lower < knee.least < knee.upper


@pytest.mark.parametrize("lines_at_once", [2, 1000])
def test_cells_of_the_knee(tmp_path, lines_at_once):
    names = [f"c{i:03}" for i in range(150)]
    sizes = [40] * 9 + [1 + i % 2 for i in range(141)]
    lines = [
        f"1\t{n}\t{n + 50}\t{name}\t1\n"
        for name, size in zip(reversed(names), sizes, strict=True)
        for n in range(size)
    ]
    files = write(tmp_path, "".join(lines), "1\t0\t30\n")
    plan = open_fragments(**files, lines_at_once=lines_at_once)
    assert plan.barcodes.tolist() == names[-9:]
    assert matrix(plan).to_numpy().tolist() == [[30]] * 9
    knee = {"barcodes_in_file": 150, "upper": 40, "lower": 2, "least": 9}
    assert plan.facts["knee"] == knee


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        (np.arange(1, 100), "99 barcodes, too few"),
        (np.full(500, 7), "no knee"),
        (np.random.default_rng(0).poisson(1000, 500), "no knee"),
        (np.random.default_rng(0).lognormal(8, 0.6, 3000).astype(int), "no knee"),
    ],
    ids=["few", "equal", "cells alone", "varied cells alone"],
)
def test_where_no_knee_is(sizes, words):
    with pytest.raises(InputError, match=rf"{words}.*--barcodes"):
        barcodes.find_knee(sizes, "simulated")


# What is wrong.

LINE = "chr1\t5\t9\ta\t1\n"
PACKED = gzip.compress(FRAGMENTS.encode() * 50, mtime=0)
BGZIP = bytes.fromhex("1f8b08040000000000ff0600424302001b00") + PACKED[10:]
FRAGMENT_FILES = {
    "nothing": (b"", "holds no fragments"),
    "comments alone": (b"# a\n\n#b", "holds no fragments"),
    "three columns": (b"chr1\t5\t9\n", "line 1 has 3 columns, not 4"),
    "spaces": (LINE.replace("\t", " ").encode(), "line 1 has 1 columns"),
    "cut": (LINE.encode() * 9 + b"chr1\t5", "line 10 has 2 columns"),
    "a header": (b"chrom\tstart\tend\tbarcode\n", "line 1: start 'start' is no pos"),
    "a fraction": (b"#\n\nchr1\t5.5\t9\ta\n", "line 3: start '5.5'"),
    "negative": (b"chr1\t-5\t9\ta\n", "line 1: start '-5'"),
    "no start": (b"chr1\t\t9\ta\n", "line 1: start ''"),
    "far away": (b"chr1\t5\t2147483648\ta\n", "line 1: end '2147483648'"),
    "endless number": (b"chr1\t5\t" + b"9" * 5000 + b"\ta\n", "line 1: end '9999"),
    "empty fragment": (b"chr1\t5\t5\ta\n", r"line 1: a fragment chr1:5-5.*half-open"),
    "backwards": (LINE.encode() + b"chr1\t9\t5\ta\n", "line 2: a fragment chr1:9-5"),
    "no barcode": (b"chr1\t5\t9\t\t3\n", "line 1 has no barcode"),
    "no chromosome": (b"\t5\t9\ta\n", "line 1 has no chrom"),
    "zeros": (bytes(300_000), "(has a line of|line 1 has 1 col)"),
    "zeros packed": (
        gzip.compress(bytes(10**7), mtime=0),
        "(has a line of|line 1 has 1 col)",
    ),
    "binary": (np.random.default_rng(0).bytes(5_000), "line 1 "),
    "no text": (LINE.encode() + b"chr1\t5\t9\t\xff\xfe\n", "is not a text file"),
    "truncated": (PACKED[:-9], "gzip data end early"),
    "cut short": (PACKED[:5], "gzip data end early"),
    "flipped": (PACKED[:40] + b"\xff\xff" + PACKED[42:], "(line|gzip|is damaged)"),
    "wrong sum": (PACKED[:-8] + b"1234" + PACKED[-4:], "is damaged"),
    "something after": (PACKED + b"something", "is damaged"),
    "bgzip without its end": (BGZIP, "gzip data end early"),
}


@pytest.mark.parametrize("what", FRAGMENT_FILES)
@pytest.mark.parametrize("lines_at_once", [100, 10_000])
def test_broken_fragments_are_errors_in_words(tmp_path, what, lines_at_once):
    content, words = FRAGMENT_FILES[what]
    files = write(tmp_path) | {"lines_at_once": lines_at_once}
    files["path"].write_bytes(content)
    with pytest.raises(InputError, match=rf"f\.tsv: {words}"):
        matrix(open_fragments(**files, barcodes=tmp_path / "c.txt"))
    with pytest.raises(InputError, match=rf"f\.tsv: {words}"):
        open_fragments(files["path"])  # which takes its cells and tiles from it


def test_tiles_need_chromosomes_named_one_way(tmp_path):
    write(tmp_path, FRAGMENTS + "2\t5\t9\tAA-1\n")
    with pytest.raises(InputError, match=r"f\.tsv: chromosomes are named in two ways"):
        open_fragments(tmp_path / "f.tsv", barcodes=tmp_path / "c.txt")


PEAK_FILES = {
    "nothing": (b"", "holds no peaks"),
    "a header alone": (b"# a\nchrom\tstart\tend\n", "holds no peaks"),
    "two columns": (b"chr1\t5\t9\nchr1\t5\n", "line 2 has 2 columns, not 3"),
    "spaces": (b"chr1 5 9\n", "line 1 has 1 columns"),
    "a word": (b"#\nchr1\t5\tnine\n", "line 2: 'nine' is no position"),
    "negative": (b"chr1\t-5\t9\n", "line 1: '-5' is no position"),
    "endless number": (b"chr1\t5\t" + b"9" * 5000, "line 1: '9999"),
    "empty": (b"chr1\t5\t5\n", "line 1: a peak chr1:5-5"),
    "two styles": (b"chr1\t5\t9\n2\t5\t9\n", "named in two ways"),
    "no text": (b"chr1\t5\t9\n\xff\xfe\n", "is not a text file"),
    "another assembly": (b"chr1\t20000\t20100\n", "no fragment of 4 in cells"),
    "another species": (b"chrA\t5\t9\n", r"chromosome of .*'chrA'.*'chr1'"),
}


@pytest.mark.parametrize("what", PEAK_FILES)
def test_broken_peaks_are_errors_in_words(tmp_path, what):
    content, words = PEAK_FILES[what]
    files = write(tmp_path)
    files["peaks"].write_bytes(content)
    with pytest.raises(InputError, match=words):
        matrix(open_fragments(**files, barcodes=tmp_path / "c.txt"))


CELL_FILES = {
    "nothing": (b"", "names no cell"),
    "a header alone": (b"barcode,is_cell\nAA-1,0\n", "names no cell"),
    "twice": (b"AA-1\nCC-1\nAA-1\n", "barcode 'AA-1' occurs 2 times"),
    "others": (b"AA-2\nCC\n", r"none of the 2 in c\.txt \('AA-2' …\).*its 3.*'AA-1'"),
    "cut": (b"barcode,total,is_cell\nAA-1,5,1\nCC-1,5", "row 'CC-1' has 2 columns"),
    "no text": (b"\xff\xfe\n", "is not a text file"),
    "no line end": (b'"' + b"A" * 200_000, "is no table"),
}


@pytest.mark.parametrize("what", CELL_FILES)
def test_broken_lists_are_errors_in_words(tmp_path, what):
    content, words = CELL_FILES[what]
    files = write(tmp_path)
    (tmp_path / "c.txt").write_bytes(content)
    with pytest.raises(InputError, match=words):
        matrix(open_fragments(**files, barcodes=tmp_path / "c.txt"))


@pytest.mark.parametrize("which", ["path", "peaks", "barcodes"])
def test_missing_files(tmp_path, which):
    files = write(tmp_path) | {"barcodes": tmp_path / "c.txt"}
    files[which] = tmp_path / "missing.gz"
    with pytest.raises(InputError, match=r"missing\.gz: cannot be read"):
        open_fragments(**files)


@pytest.mark.parametrize("name", ["tile_bp", "lines_at_once"])
def test_arguments_out_of_range(tmp_path, name):
    with pytest.raises(InputError, match=f"{name}: 0 "):
        open_fragments(**write(tmp_path), **{name: 0})


def test_an_unknown_choice(tmp_path):
    """Outside the tests no type checker stands before the check."""
    code = f"""
from scmultimodal.singlecell.fragment_files import open_fragments
open_fragments({str(write(tmp_path)["path"])!r}, counts="reads")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "InputError: counts: 'reads' is unknown. Use one of" in run.stderr


def test_peaks_that_all_overlap(tmp_path, monkeypatch):
    peaks = "".join(f"chr1\t{i}\t{2000 - i}\n" for i in range(500))
    plan = open_fragments(**write(tmp_path, peaks=peaks), barcodes=tmp_path / "c.txt")
    assert matrix(plan).to_numpy().sum() > 0
    monkeypatch.setattr(peak_index, "_MOST_COVERED", 1000)
    with pytest.raises(InputError, match=r"p\.bed: has peaks that overlap 500 deep"):
        matrix(plan)


# Real fragments.


def test_real_fragments(tmp_path, data_folder):
    """Against two loops over a sample, and against what Cell Ranger counted.

    The file holds 48 stretches of the genome alone: 124 of 174 peaks lie within one.
    On these, 9,108 of 9,113 places with a count are the same. The others differ by 1:
    Cell Ranger takes the base after a fragment for one of its two insertions.
    """
    folder = data_folder / "multiome_muon_fragments"
    path = folder / "test_rna_atac_fragments.tsv.gz"
    with h5py.File(folder / "test_rna_atac.h5mu") as file:
        atac = file["mod/atac"]
        cells = atac["obs/_index"].asstr()[:]
        names = atac["var/_index"].asstr()[:]
        parts = (atac[f"X/{part}"][:] for part in ("data", "indices", "indptr"))
        theirs = sp.csr_matrix(tuple(parts), shape=(len(cells), len(names))).toarray()
    peaks = parse_peak_names(names)
    peaks.to_csv(tmp_path / "p.bed", sep="\t", header=False, index=False)
    (tmp_path / "c.txt").write_text("\n".join(cells))
    found = {
        counts: matrix(
            open_fragments(
                path,
                peaks=tmp_path / "p.bed",
                barcodes=tmp_path / "c.txt",
                counts=counts,
                lines_at_once=50_000,
            )
        )
        for counts in ("fragments", "insertions")
    }
    with gzip.open(path, "rt") as file:
        lines = [line.split() for line in file]
    sample = set(cells[::25])
    wanted = {name: found[name].loc[cells[::25]] * 0 for name in found}
    for chrom, start, end, name, _ in lines:
        if name in sample:
            for peak, (other, low, high) in zip(names, peaks.to_numpy(), strict=True):
                if other == chrom:
                    ends = low <= int(start) < high, low <= int(end) - 1 < high
                    wanted["fragments"].loc[name, peak] += any(ends)
                    wanted["insertions"].loc[name, peak] += sum(ends)
    for name, frame in wanted.items():
        assert frame.to_numpy().sum() > 500
        pd.testing.assert_frame_equal(found[name].loc[frame.index], frame)
    frame = pd.DataFrame(lines).astype({1: int, 2: int})
    inside = within_stretches(peaks, frame.sort_values([0, 1], kind="stable"))
    ours, theirs = found["insertions"].to_numpy()[:, inside], theirs[:, inside]
    assert inside.sum() == 124
    assert ours.sum() == 21_601
    assert np.count_nonzero(ours + theirs) == 9_113
    assert np.abs(ours - theirs).sum() == np.count_nonzero(ours != theirs) == 5
    # What one would estimate without the file: ceil(insertions / 2).
    estimated = (ours + 1) // 2
    assert np.mean(estimated == found["fragments"].to_numpy()[:, inside]) > 0.999


def within_stretches(peaks, fragments, gap=1_000, margin=500):
    """Which peaks lie well within fragments that follow each other closely."""
    reach = fragments.groupby(0)[2].cummax().groupby(fragments[0]).shift()
    begins = reach.isna() | (fragments[1] > reach + gap)
    stretches = fragments.groupby(begins.cumsum()).agg({0: "first", 1: "min", 2: "max"})
    return np.array(
        [
            (
                (stretches[0] == chrom)
                & (stretches[1] <= start - margin)
                & (stretches[2] >= end + margin)
            ).any()
            for chrom, start, end in peaks.to_numpy()
        ]
    )


def test_real_fragments_in_tiles(data_folder):
    path = data_folder / "multiome_muon_fragments" / "test_rna_atac_fragments.tsv.gz"
    plan = open_fragments(path, counts="insertions")
    total = sum(int(part.counts.sum()) for part in plan.entries())
    # Tiles lie side by side: each insertion is in one.
    assert total == 2 * plan.facts["fragments_in_cells"]
    assert plan.facts["fragments"] == 367_439
    assert plan.facts["barcodes_in_file"] == 24_508
    assert plan.facts["knee"]["least"] > 2
    for _, start in plan.peaks.groupby("chrom")["start"]:
        assert start.is_monotonic_increasing
    chroms = plan.peaks["chrom"].drop_duplicates().tolist()
    assert chroms[:3] == ["chr1", "chr2", "chr4"]

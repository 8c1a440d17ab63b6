"""Tables of regions: what is read, what is refused, and in which words."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.genome import regions
from scmultimodal.genome.regions import RegionTable
from scmultimodal.schemas.errors import InputError
from tests import builders

TABLE = """\
name\tchrom\tstart\tend\tT cell\tB
a\tchr2\t100\t200\t0.5\t0
b\tchr1\t30\t40\t1\t2e-1
c\tchr1\t10\t30\t0\t3
"""


def write(folder, text, name="tracks.tsv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(function, *arguments):
    with pytest.raises(InputError) as error:
        function(*arguments)
    (line,) = str(error.value).splitlines()
    return line


def places(frame):
    return list(zip(frame["chrom"], frame["start"], frame["end"], strict=True))


# Reading.


@pytest.mark.parametrize(
    "pack", [str.encode, lambda text: gzip.compress(text.encode())]
)
def test_a_table_with_a_header(tmp_path, pack):
    table = regions.read_tracks(write(tmp_path, pack(TABLE)))
    # Sorted, and every value with its region.
    assert places(table.regions) == [
        ("chr1", 10, 30),
        ("chr1", 30, 40),
        ("chr2", 100, 200),
    ]
    assert table.samples == ("T cell", "B")
    np.testing.assert_array_equal(
        table.values, np.float32([[0, 3], [1, 0.2], [0.5, 0]])
    )
    assert table.lengths() == pytest.approx((130 / 3, np.std([20, 10, 100])))
    assert len(table.closed_to_gaps) == 0


@pytest.mark.parametrize(
    "header",
    [
        "#chrom\tstart\tend\tx",
        "seqnames\tStart\tStop\tx",
        "chr\tchromStart\tchromEnd\tx",
    ],
)
def test_headers_in_the_usual_spellings(tmp_path, header):
    text = f"track name=1\n\n{header}\r\nchr1\t5\t9\t1.5\r\n"
    table = regions.read_tracks(write(tmp_path, text))
    assert (places(table.regions), table.samples) == ([("chr1", 5, 9)], ("x",))
    assert table.values.tolist() == [[1.5]]


@pytest.mark.parametrize(
    ("row", "values"),
    [
        ("chr1\t5\t9\t1.5\t2", [[1.5, 2]]),  # bedGraph and more
        ("chr1\t5\t9\tpeak1\t2", [[2]]),  # a name is no value
        ("chr1\t5\t9\tpeak1\t900\t+\t7", [[7]]),  # BED6: its score is none
        ("chr1\t5\t9\t3\t900\t.\t7\t8", [[7, 8]]),
    ],
)
def test_bed_without_a_header(tmp_path, row, values):
    assert regions.read_tracks(write(tmp_path, row)).values.tolist() == values


NARROW = "chr1\t100\t200\tpeak1\t540\t.\t7.5\t-1\t4.25\t30\n"
NARROW_2 = "chr1\t300\t401\tpeak2\t20\t+\t2\t3.1\t-1\t-1\n"
BROAD = "chr1\t100\t200\tpeak1\t540\t.\t7.5\t-1\t4.25\n"
COUNTS = "chr1\t100\t200\tpeak1\t540\t.\t7\t8\t9\t30\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("T.narrowPeak", NARROW + NARROW_2),
        ("T.narrowpeak.gz", gzip.compress((NARROW + NARROW_2).encode(), mtime=0)),
        ("T.bed", f"track type=narrowPeak\n{NARROW}{NARROW_2}"),
        ("T.bed", NARROW_2 + NARROW),
        (
            "T.tsv",
            "#chrom\tchromStart\tchromEnd\tname\tscore\tstrand\tsignalValue\tpValue"
            f"\tqValue\tpeak\n{NARROW}{NARROW_2}",
        ),
    ],
)
def test_narrow_peaks(tmp_path, name, text):
    table = regions.read_tracks(write(tmp_path, text, name))
    assert places(table.regions) == [("chr1", 100, 200), ("chr1", 300, 401)]
    assert table.samples == ("signalValue",)
    assert table.values.tolist() == [[7.5], [2]]
    # An offset from the start, or -1 where none was called: the middle.
    assert table.regions["summit"].tolist() == [130, 350]


def test_a_name_says_what_whole_numbers_are(tmp_path):
    table = regions.read_tracks(write(tmp_path, COUNTS, "T.narrowPeak"))
    assert (table.values.tolist(), table.regions["summit"].tolist()) == ([[7]], [130])


@pytest.mark.parametrize("name", ["T.broadPeak", "my.T.broadPeak.gz"])
def test_broad_peaks(tmp_path, name):
    text = gzip.compress(BROAD.encode()) if name.endswith("gz") else BROAD
    table = regions.read_tracks(write(tmp_path, text, name))
    assert (table.samples, table.values.tolist()) == (("signalValue",), [[7.5]])
    assert table.regions["summit"].tolist() == [150]


def test_four_samples_behind_bed6_are_no_narrow_peaks(tmp_path):
    text = "chr1\t100\t200\tpeak1\t540\t.\t7.5\t8\t4.25\t0.5\n"
    table = regions.read_tracks(write(tmp_path, text))
    assert table.values.tolist() == [[7.5, 8, 4.25, 0.5]]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("T.bed", COUNTS, ["may be narrowPeak or 4 samples", ".narrowPeak", "header"]),
        # The offset lies beyond the peak.
        ("T.bed", NARROW.replace("30", "100"), ["may be narrowPeak or 4 samples"]),
        ("T.bed", BROAD, ["may be broadPeak, BED9 or 3 samples", ".broadPeak"]),
        ("T.bed", BROAD[:-1] + "\t1\t2\t3\n", ["may be BED12 or 6 samples"]),
        (
            "T.narrowPeak",
            BROAD,
            ["T.narrowPeak", "is no narrowPeak: 9 columns, not 10"],
        ),
        ("T.broadPeak", NARROW, ["is no broadPeak: 10 columns, not 9"]),
        ("T.narrowPeak", NARROW.replace(".\t7", "?\t7"), ["strand '?' of chr1:100"]),
        (
            "T.narrowPeak",
            NARROW.replace("\t30", "\t3.5"),
            ["peak '3.5' at chr1:100-200", "whole number"],
        ),
        ("T.narrowPeak", NARROW.replace("\t30", "\t100"), ["summit 200 of chr1:100"]),
        ("T.narrowPeak", NARROW.replace("7.5", "-1"), ["-1 of 'signalValue'"]),
        ("T.narrowPeak", NARROW.replace("7.5", "x"), ["no column of values"]),
    ],
)
def test_what_may_be_peaks_of_encode(tmp_path, name, text, words):
    line = refusal(regions.read_tracks, write(tmp_path, text, name))
    for word in words:
        assert word in line


def test_summits_are_read_and_stand_in_the_middle_otherwise(tmp_path):
    text = "chrom\tstart\tend\tsummit\tx\nchr1\t20\t30\t29\t1\nchr1\t5\t9\t5\t2\n"
    table = regions.read_tracks(write(tmp_path, text))
    assert (table.samples, table.regions["summit"].tolist()) == (("x",), [5, 29])
    table = regions.read_tracks(write(tmp_path, TABLE))
    assert table.regions["summit"].tolist() == [20, 35, 150]


def test_order_of_the_rows_does_not_matter(tmp_path):
    header, *rows = TABLE.splitlines(keepends=True)
    there = regions.read_tracks(write(tmp_path, header + "".join(rows)))
    back = regions.read_tracks(write(tmp_path, header + "".join(rows[::-1])))
    pd.testing.assert_frame_equal(there.regions, back.regions)
    np.testing.assert_array_equal(there.values, back.values)


# Refusing.

HEAD = "chrom\tstart\tend\tT\tB\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["is empty", "header: chrom, start, end"]),
        ("\n\n", ["is empty"]),
        (HEAD, ["holds no region", "header: chrom, start, end"]),
        (
            "a\tb\tc\nchr1\t1\t2\n",
            ["no columns chrom, start and end", "['a', 'b', 'c']"],
        ),
        ("chrom\tstart\tend\nchr1\t1\t2\n", ["no column of values", "each sample"]),
        ("chr1\t1\t2\tpeak\n", ["no column of values"]),
        (f"{HEAD}chr1\t1\t2\thigh\tlow\n", ["no column of values"]),
        (f"{HEAD}chr1\t1\t2\t1\n", ["row 2 has 4 columns, not 5", "complete"]),
        (f"{HEAD}chr1 1 2 1 2\n", ["row 2 has 1 columns, not 5", "tabs"]),
        (f"{HEAD}chr1\t1\t2.5\t1\t1\n", ["end '2.5'", "whole number of bp"]),
        (f"{HEAD}chr1\tx\t2\t1\t1\n", ["start 'x'", "whole number of bp"]),
        (f"{HEAD}chr1\t-1\t2\t1\t1\n", ["start '-1'", "whole number of bp"]),
        (f"{HEAD}chr1\t\t2\t1\t1\n", ["start ''", "whole number of bp"]),
        (f"{HEAD}chr1\t9\t9\t1\t1\n", ["'chr1:9-9'", "0 <= start < end"]),
        (f"{HEAD}chr1\t1\t2\t1\t-2\n", ["-2", "'B'", "chr1:1-2", "from 0"]),
        (f"{HEAD}chr1\t1\t2\tinf\t1\n", ["inf", "'T'", "chr1:1-2", "finite"]),
        (f"{HEAD}chr1\t1\t2\t\t1\nchr1\t3\t4\t1\t1\n", ["value '' of 'T' at chr1:1-2"]),
        (
            f"{HEAD}chr1\t1\t2\t1\tNA\nchr1\t3\t4\t1\tNA\nchr1\t5\t6\t1\t2\n",
            ["value 'NA' of 'B' at chr1:1-2 (2 such)", "finite"],
        ),
        (
            f"{HEAD}chr1\t50\t90\t1\t1\nchr1\t20\t51\t1\t1\nchr2\t20\t60\t1\t1\n",
            ["chr1:20-51 and chr1:50-90 overlap (1 such", "Merge"],
        ),
        (HEAD + "chr1\t5\t9\t1\t1\n" * 2, ["chr1:5-9 overlap (1 such"]),
        (f"{HEAD}chr1\t1\t2\t1\t1\n2\t1\t2\t1\t1\n", ["two ways", "'chr1'", "'2'"]),
        (
            "chrom\tstart\tend\tsummit\tx\nchr1\t5\t9\t9\t1\n",
            ["summit 9 of chr1:5-9", "within its region"],
        ),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", ["is not a text file"]),
        (
            gzip.compress(TABLE.encode(), mtime=0)[:-12],
            ["end early", "Copy the file again"],
        ),
        (b"\x1f\x8b" + b"?" * 30, ["is damaged", "Check the file"]),
    ],
    ids=lambda x: repr(x)[-24:] if isinstance(x, str | bytes) else "",
)
def test_bad_tables(tmp_path, text, words):
    line = refusal(regions.read_tracks, write(tmp_path, text))
    for word in ["tracks.tsv", *words]:
        assert word in line


def test_a_word_among_numbers_is_named(tmp_path):
    rows = "".join(f"chr1\t{i}0\t{i}5\t{i}\t1\n" for i in range(1, 9))
    text = f"{HEAD}{rows}chr1\t90\t95\tNA?\t1\n"
    line = refusal(regions.read_tracks, write(tmp_path, text))
    for word in ("tracks.tsv", "'NA?'", "'T'", "chr1:90-95", "finite numbers"):
        assert word in line


def test_a_missing_file(tmp_path):
    line = refusal(regions.read_tracks, tmp_path / "none.tsv")
    assert "none.tsv: cannot be read" in line
    assert "No such file" in line


def test_two_samples_of_one_name():
    frame = pd.DataFrame({"chrom": ["chr1"], "start": [1], "end": [2]})
    line = refusal(RegionTable.build, "t", frame, np.ones((1, 2)), ["a", "a"])
    assert line.startswith("t: has two samples 'a'")


# Tables.


def test_chromosomes_are_renamed_wherever_they_stand():
    rows = [("1", 0, 5, 1.0), ("GL000194.1", 0, 5, 1.0), ("MT", 0, 5, 1.0)]
    table = builders.region_table(*rows)
    closed = pd.DataFrame({"chrom": ["X"], "start": [1], "end": [2]})
    table = RegionTable.build(
        "t", table.regions, table.values, ["s"], closed_to_gaps=closed
    )
    named = table.renamed("chr")
    assert named.regions["chrom"].tolist() == ["chr1", "GL000194.1", "chrM"]
    assert named.closed_to_gaps["chrom"].tolist() == ["chrX"]
    assert named.renamed("plain").regions["chrom"].tolist() == [r[0] for r in rows]


def test_what_is_not_kept_is_closed_to_gaps():
    rows = [("chr1", 10, 20, 1.0), ("chr1", 30, 45, 2.0), ("chr2", 0, 5, 3.0)]
    frame = pd.DataFrame({"chrom": ["chr3"], "start": [1], "end": [2]})
    table = builders.region_table(*rows)
    for closed, before in ((None, []), (frame, [("chr3", 1, 2)])):
        table = RegionTable.build(
            "t", table.regions, table.values, ["s"], closed_to_gaps=closed
        )
        kept = table.keep(np.array([True, False, True]))
        assert places(kept.regions) == [("chr1", 10, 20), ("chr2", 0, 5)]
        assert kept.values.tolist() == [[1], [3]]
        assert places(kept.closed_to_gaps) == [*before, ("chr1", 30, 45)]
        assert kept.closed_to_gaps["start"].dtype == np.int64
        assert kept.lengths() == (7.5, 2.5)


INTERVALS = st.lists(
    st.tuples(
        st.sampled_from(["chr1", "chr2"]), st.integers(0, 60), st.integers(1, 20)
    ),
    min_size=1,
    max_size=6,
)


@given(INTERVALS)
def test_overlap_is_refused_and_touching_is_not(rows):
    frame = pd.DataFrame(
        [(c, s, s + size) for c, s, size in rows], columns=["chrom", "start", "end"]
    )
    bases = [(c, b) for c, s, e in places(frame) for b in range(s, e)]
    build = (RegionTable.build, "t", frame, np.ones((len(frame), 1)), ["s"])
    if len(set(bases)) < len(bases):
        assert "overlap" in refusal(*build)
    else:
        table = build[0](*build[1:])
        assert places(table.regions) == sorted(places(frame))

"""Which part of the genome serves for what, and that none serves for two."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scmultimodal.genome import region_splits
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.region_splits import SPLITS, ChromosomeSplit, Territories
from scmultimodal.schemas.errors import InputError
from tests import builders

LENGTH = 120


def genome_of(folder, **records):
    """An open genome of chromosomes of that many bp, or of `name=length` records."""
    path = folder / "genome.fa"
    path.write_bytes(builders.fasta({n: builders.dna(s) for n, s in records.items()}))
    return Genome.open(path)


def rows_of(territories):
    return list(zip(*(column.tolist() for column in territories), strict=True))


# Chromosomes.


def test_the_study_trains_on_1_to_19_x_and_y():
    split = ChromosomeSplit()
    assert split.train == (*map(str, range(1, 20)), "X", "Y")
    assert (split.validation, split.test) == (("22",), ("20", "21"))
    assert len(set(split.all())) == 24


@pytest.mark.parametrize(
    ("one", "other"), [("1", "1"), ("chr1", "1"), ("MT", "chrM"), ("KI1", "KI1")]
)
def test_a_chromosome_is_in_one_part(one, other):
    with pytest.raises(InputError, match=f"chromosome '{other}' is named twice"):
        ChromosomeSplit(train=(one, "2"), validation=(), test=("3", other))


@pytest.mark.parametrize("style", ["chr", ""])
def test_territories_by_chromosome(tmp_path, style):
    names = ["22", "GL000194.1", "1", "20", "X"]
    lengths = {
        (f"{style}{name}" if name[0] != "G" else name): 200 + place
        for place, name in enumerate(names)
    }
    with genome_of(tmp_path, **lengths) as genome:
        found = region_splits.by_chromosome(ChromosomeSplit(), genome)
    code = {name: SPLITS.index(name) for name in SPLITS}
    assert {name: rows_of(t) for name, t in found.items()} == {
        f"{style}22": [(0, 200, 0, code["validation"])],
        f"{style}1": [(0, 202, 1, code["train"])],
        f"{style}20": [(0, 203, 2, code["test"])],
        f"{style}X": [(0, 204, 3, code["train"])],
    }


def test_pieces_of_a_chromosome_share_its_group_and_no_base(tmp_path):
    records = {"chr1:100-180": 80, "chr1:0-50": 50, "chr1:40-90": 50, "chr1:45-60": 15}
    with genome_of(tmp_path, **records) as genome:
        split = ChromosomeSplit(train=(), validation=(), test=("1",))
        (found,) = region_splits.by_chromosome(split, genome).values()
        assert rows_of(found) == [(0, 50, 0, 2), (50, 90, 0, 2), (100, 180, 0, 2)]
        # What lies in a territory lies in one record.
        assert all(genome.covers("chr1", s, e) for s, e, *_ in rows_of(found))


# Regions.


def read(folder, *rows, header="chrom\tstart\tend\tsplit\n"):
    path = folder / "regions.tsv"
    path.write_text(header + "".join("\t".join(map(str, row)) + "\n" for row in rows))
    return region_splits.read_region_split(path)


def test_splits_are_read_in_the_order_of_the_file(tmp_path):
    rows = [
        ("chr2", 5, 9),
        ("chr1", 7, 9),
        ("chr1", 3, 7),
        ("chr1", 9, 10),
        ("X", 0, 1),
    ]
    words = ["Train ", "valid", "val", "test", ""]
    rows = [(*r, w) for r, w in zip(rows[:4], words[:4], strict=True)]
    table = read(tmp_path, *rows, ("chr3", 0, 1, ""), ("chr3", 1, 2, "none"))
    assert table["start"].tolist() == [5, 7, 3, 9, 0, 1]
    assert table["split"].tolist() == [
        "train",
        "validation",
        "validation",
        "test",
        "none",
        "none",
    ]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("chr1", 0, 9, "tset")], ["split 'tset' is unknown", "train, validation"]),
        (
            [("chr1", 0, 9, "train"), ("chr1", 8, 12, "test")],
            ["chr1:0-9 and chr1:8-12 overlap"],
        ),
        (
            [("chr1", 0, 9, "train"), ("1", 0, 9, "test")],
            ["two ways", "'chr1' and '1'"],
        ),
        ([("chr1", 9, 9, "train")], ["'chr1:9-9'", "0 <= start < end"]),
    ],
)
def test_splits_that_are_refused(tmp_path, rows, words):
    with pytest.raises(InputError) as error:
        read(tmp_path, *rows)
    for word in ["regions.tsv", *words]:
        assert word in str(error.value)


def test_a_table_without_splits(tmp_path):
    with pytest.raises(InputError, match=r"regions.tsv: has no column 'split'.*'part'"):
        read(tmp_path, ("chr1", 0, 9, "x"), header="chrom\tstart\tend\tpart\n")


def test_territories_by_region(tmp_path):
    table = read(
        tmp_path, ("1", 50, 90, "test"), ("2", 0, 9, "none"), ("1", 5, 50, "train")
    )
    with genome_of(tmp_path, **{"chr1:0-100": 100, "chr2": 20, "chr3": 20}) as genome:
        found = region_splits.by_region(table, genome)
    assert {name: rows_of(t) for name, t in found.items()} == {
        "chr1": [(5, 50, 2, 0), (50, 90, 0, 2)],
        "chr2": [(0, 9, 1, 3)],
    }


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("chr4", 0, 9), ["has no 'chr4'"]),
        (("chr2", 10, 21), ["chr2:10-21", "20"]),
        (("chr1", 0, 110), ["chr1:0-110"]),
    ],
)
def test_regions_that_the_genome_lacks(tmp_path, row, words):
    table = read(tmp_path, (*row, "train"))
    with (
        genome_of(tmp_path, **{"chr1:0-100": 100, "chr2": 20}) as genome,
        pytest.raises(InputError) as error,
    ):
        region_splits.by_region(table, genome)
    for word in ["genome.fa", *words]:
        assert word in str(error.value)


# Territories.


@st.composite
def territories(draw):
    ends = draw(st.lists(st.integers(0, LENGTH), max_size=10, unique=True))
    ends = np.sort(ends[: len(ends) // 2 * 2]).astype(np.int64).reshape(-1, 2)
    number = np.arange(len(ends))
    return Territories(ends[:, 0], ends[:, 1], number, number % len(SPLITS))


@given(territories(), st.lists(st.tuples(st.integers(0, LENGTH), st.integers(1, 40))))
def test_places_against_sets_of_bases(where, pairs):
    start = np.array([s for s, _ in pairs], np.int64)
    end = start + np.array([size for _, size in pairs], np.int64)
    known = [set(range(s, e)) for s, e, *_ in rows_of(where)]
    around, touch = [], []
    for low, high in zip(start, end, strict=True):
        mine = set(range(low, high))
        around.append(next((i for i, t in enumerate(known) if mine <= t), -1))
        touch.append(any(mine & t for t in known))
    assert where.around(start, end).tolist() == around
    assert where.cover(start, end).tolist() == [a >= 0 for a in around]
    assert where.touch(start, end).tolist() == touch


@settings(max_examples=30)
@given(st.permutations(range(6)), st.integers(0, 63))
def test_no_base_is_in_two_parts(tmp_path_factory, order, chosen):
    rows = [(f"chr{i % 2 + 1}", 10 * i, 10 * i + 10) for i in order]
    table = pd.DataFrame(rows, columns=["chrom", "start", "end"])
    table["split"] = [SPLITS[(chosen >> i) % 4] for i in range(6)]
    with genome_of(tmp_path_factory.mktemp("g"), chr1=60, chr2=60) as genome:
        found = region_splits.by_region(table, genome)
    part = {}
    for chrom, here in found.items():
        for start, end, group, split in rows_of(here):
            expected = (chrom, start, end, SPLITS[split])
            assert tuple(table.iloc[group]) == expected
            for base in range(start, end):
                assert part.setdefault((chrom, base), group) == group
    assert len(part) == 60

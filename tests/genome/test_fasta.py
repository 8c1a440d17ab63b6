"""FASTA files by interval, against the text itself."""

import gzip
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.genome import blocks, fasta_records
from scmultimodal.genome.fasta import Genome
from scmultimodal.schemas.errors import InputError
from tests import builders

PACKINGS = {"plain": bytes, "gzip": gzip.compress, "bgzip": builders.bgzip}
RECORDS = {"chr1": "ACGTNacgtn" * 30, "chr2": "TTGCA", "chrUn_1": "", "chrX": "G" * 61}

packed_all_ways = pytest.mark.parametrize("pack", PACKINGS.values(), ids=PACKINGS)
records_of_any_size = st.dictionaries(
    st.sampled_from(["chr1", "chr2", "scaffold.3", "HLA-A*01:01", "5"]),
    st.text("ACGTNacgt", max_size=400),
    min_size=1,
).filter(lambda records: any(records.values()))


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    """Sizes at which every record and every header straddles blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_PLAIN_BYTES", 23)
        patch.setattr(blocks, "_MEMBER_BYTES", 31)
        patch.setattr(blocks, "_STATE_BYTES", 150)
        patch.setattr(blocks, "_READ_BYTES", 11)
        patch.setattr(fasta_records, "_STRETCH_BYTES", 17)
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fasta") / "genome.fa"


def opened(path: Path, text: bytes) -> Genome:
    path.write_bytes(text)
    return Genome.open(path)


# Reading.


@packed_all_ways
@given(
    records=records_of_any_size,
    width=st.integers(1, 90),
    newline=st.sampled_from(["\n", "\r\n"]),
    data=st.data(),
)
def test_every_interval_is_a_slice_of_its_record(
    pack: Callable[[bytes], bytes], path, records, width, newline, data
):
    text = builders.fasta(records, width=width, newline=newline)
    with opened(path, pack(text)) as genome:
        assert genome.chromosomes == {name: len(s) for name, s in records.items()}
        for _ in range(8):
            name = data.draw(st.sampled_from([n for n, s in records.items() if s]))
            start = data.draw(st.integers(0, len(records[name]) - 1))
            end = data.draw(st.integers(start + 1, len(records[name])))
            assert genome.covers(name, start, end)
            assert genome.fetch(name, start, end) == records[name][start:end]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b">a\nACGT\nTT\n>b\nGG\n", id="as usual"),
        pytest.param(b">a\nACGT\nTT\n>b\nGG", id="no line end"),
        pytest.param(b"\n\n>a\nA\nCG\nTTT\n\n>b\n\nGG\n\n", id="ragged lines, blanks"),
        pytest.param(b">a  dna > rna\nACGT \n TT\n>b\tx\nG G\n", id="descriptions"),
        pytest.param(b">a\r\nACGT\r\nTT\r\n>b\r\nGG\r\n", id="Windows"),
    ],
)
@packed_all_ways
def test_layouts(path: Path, pack: Callable[[bytes], bytes], text: bytes):
    with opened(path, pack(text)) as genome:
        assert genome.chromosomes == {"a": 6, "b": 2}
        assert genome.fetch("a", 0, 6) == "ACGTTT"
        assert genome.fetch("a", 3, 5) == "TT"
        assert genome.fetch("b", 0, 2) == "GG"


def test_pieces_share_a_chromosome(path: Path):
    records = {"chr2:10-14": "ACGT", "chr1:0-3": "TTT", "chr2:30-32": "GC"}
    with opened(path, builders.fasta(records)) as genome:
        assert genome.pieces == (("chr2", 10, 14), ("chr2", 30, 32), ("chr1", 0, 3))
        assert genome.chromosomes == {"chr2": 32, "chr1": 3}
        assert genome.fetch("chr2", 11, 13) == "CG"
        assert genome.fetch("chr2", 30, 32) == "GC"
        intervals = itertools.combinations(range(35), 2)
        held = [pair for pair in intervals if genome.covers("chr2", *pair)]
        inside = [*itertools.combinations(range(10, 15), 2)]
        assert held == [*inside, *itertools.combinations(range(30, 33), 2)]


def test_pieces_of_samtools_count_from_one(path: Path):
    with opened(path, b">chr1:11-14\nACGT\n>chr2:11-14\nACG\n") as genome:
        assert genome.pieces == (("chr1", 10, 14), ("chr2", 11, 14))
        assert genome.fetch("chr1", 10, 12) == "AC"


def test_nothing_is_written_beside_the_file(tmp_path: Path):
    with opened(tmp_path / "genome.fa", builders.fasta(RECORDS)) as genome:
        genome.fetch("chr1", 0, 300)
    assert [file.name for file in tmp_path.iterdir()] == ["genome.fa"]


def test_the_file_is_closed(path: Path):
    with opened(path, builders.fasta(RECORDS)) as genome:
        pass
    with pytest.raises(ValueError, match="closed"):
        genome.fetch("chr1", 0, 1)


# What a person may get wrong.


@pytest.mark.parametrize(
    ("name", "interval", "message"),
    [
        ("whole", ("1", 0, 5), r"has no '1'. It is named 'chr1' there"),
        ("plain", ("chr1", 0, 5), r"has no 'chr1'. It is named '1' there"),
        ("plain", ("chrM", 0, 5), r"has no 'chrM'. It is named 'MT' there"),
        ("whole", ("chr9", 0, 5), r"no 'chr9'. Its 4 names .* chr1, chr2.*assembly"),
        ("whole", ("chr2", 2, 6), r"chr2:2-6 ends beyond the 5 bp of chr2.*assembly"),
        ("whole", ("chr2", 7, 9), r"chr2:7-9 ends beyond the 5 bp"),
        ("whole", ("chrUn_1", 0, 1), r"beyond the 0 bp of chrUn_1"),
        ("pieces", ("chr1", 8, 12), r"no record holds all of chr1:8-12.*pieces"),
        ("pieces", ("chr1", 18, 23), r"no record holds all of chr1:18-23"),
        ("whole", ("chr1", -1, 5), r"chr1:-1-5: is not an interval.*0 <= start < end"),
        ("whole", ("chr1", 5, 5), r"chr1:5-5: is not an interval"),
        ("whole", ("chr1", 6, 5), r"chr1:6-5: is not an interval"),
    ],
)
def test_intervals_that_are_not_there(path: Path, name, interval, message):
    files = {
        "whole": RECORDS,
        "plain": {"1": "ACGTACGT", "MT": "ACGTAC"},
        "pieces": {"chr1:10-20": "A" * 10, "chr1:20-30": "C" * 10},
    }
    with opened(path, builders.fasta(files[name])) as genome:
        assert not genome.covers(*interval)
        with pytest.raises(InputError, match=message) as error:
            genome.fetch(*interval)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "holds no sequence"),
        (b">a\n>b\n", "holds no sequence"),
        (b"ACGT\n", "does not begin with '>'"),
        (b"chr1\t0\t50\n", "does not begin with '>'"),
        (b">a\nAC>b\nGT\n", "has a '>' within a line"),
        (b">a\n" + b"A" * 18 + b"CC>b\nGT\n", "has a '>' within a line"),
        (b">a\nAC\n>", "ends within a header line"),
        (b">a\nAC\n>b", "ends within a header line"),
        (b">\nACGT\n", "header line without a name"),
        (b">a\nAC\n>b\nGT\n>a\nTT\n", "2 records named 'a'"),
        (b">a" + b"b" * 70_000, "header line that does not end"),
        (b">chr1:5-20\nACGT\n", r"'chr1:5-20' should hold 15 bp and holds 4"),
        (b">chr1:0-3\nACGT\n", r"should hold 3 bp and holds 4"),
    ],
)
@packed_all_ways
def test_what_is_no_fasta(path: Path, pack: Callable[[bytes], bytes], text, message):
    with pytest.raises(InputError, match=rf"genome\.fa: .*{message}.*FASTA file"):
        opened(path, pack(text))


@pytest.mark.parametrize("packing", ["gzip", "bgzip"])
def test_truncated_files(path: Path, packing: str):
    packed = PACKINGS[packing](builders.fasta(RECORDS))
    for length in range(2, len(packed)):
        with pytest.raises(InputError, match=r"truncated: copy it again"):
            opened(path, packed[:length])


def test_damaged_files(path: Path):
    packed = bytearray(gzip.compress(builders.fasta(RECORDS)))
    packed[-6] ^= 1  # of the checksum
    with pytest.raises(InputError, match=r"damaged: copy it again"):
        opened(path, bytes(packed))


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(InputError, match=r"hg38\.fa: cannot be read.*Check the path"):
        Genome.open(tmp_path / "hg38.fa")
    with pytest.raises(InputError, match="Check the path"):
        Genome.open(tmp_path)


# Real sequence.


@pytest.mark.parametrize(
    ("name", "num_pieces"),
    [("hg38_65x131kb.fa.gz", 65), ("hg38_chr1_chr9_first1Mb.fa.gz", 2)],
)
def test_real_pieces(data_folder: Path, name: str, num_pieces: int, monkeypatch):
    monkeypatch.setattr(blocks, "_STATE_BYTES", 1 << 20)
    monkeypatch.setattr(blocks, "_READ_BYTES", 1 << 14)
    monkeypatch.setattr(fasta_records, "_STRETCH_BYTES", 1 << 14)
    file = data_folder / "dna_hg38_regions" / name
    records = gzip.decompress(file.read_bytes()).decode().split(">")[1:]
    with Genome.open(file) as genome:
        assert len(genome.pieces) == len(records) == num_pieces
        for record in records:
            header, *lines = record.split()
            chrom, start, end = header.replace("-", ":").split(":")
            sequence, start, end = "".join(lines), int(start), int(end)
            assert genome.fetch(chrom, start, end) == sequence
            for at in range(start, end - 3_000, 29_989):
                window = sequence[at - start : at - start + 3_000]
                assert genome.fetch(chrom, at, at + 3_000) == window
        with pytest.raises(InputError, match="no record holds all of"):
            genome.fetch(chrom, end - 10, end + 1)

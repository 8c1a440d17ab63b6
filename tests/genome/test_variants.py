"""Variants of a VCF, and the sequences with either allele."""

import gzip

import pytest

from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.variants import Variant, read_variants, sequences
from scmultimodal.schemas.errors import InputError
from tests import builders

CHR1 = builders.dna(60, seed=2)
HEAD = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\n"


@pytest.fixture
def genome(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_bytes(builders.fasta({"chr1": CHR1, "chr2": "ACGTNNACGT"}))
    with Genome.open(path) as opened:
        yield opened


@pytest.fixture
def write(tmp_path):
    def write(*rows, head=HEAD):
        path = tmp_path / "variants.vcf"
        lines = ["\t".join(map(str, row)) + "\n" for row in rows]
        path.write_text(head + "".join(lines))
        return path

    return write


def test_lines_by_hand(write, genome):
    path = write(
        ("chr1", 11, "rs1", CHR1[10].lower(), "A,<DEL>,*", "."),
        ("2", 3, ".", "GT", "g", "."),
    )
    assert list(read_variants(path, genome)) == [
        Variant(3, "chr1", 10, "rs1", CHR1[10], "A", "A"),
        Variant(3, "chr1", 10, "rs1", CHR1[10], None, "<DEL>"),
        Variant(3, "chr1", 10, "rs1", CHR1[10], None, "*"),
        Variant(4, "chr2", 2, ".", "GT", "G", "g"),
    ]
    packed = path.with_suffix(".vcf.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert list(read_variants(packed, genome)) == list(read_variants(path, genome))


def test_unknown_letters_of_the_genome_are_not_compared(write, genome):
    (variant,) = read_variants(write(("chr2", 4, ".", "TAC", "T")), genome)
    assert variant.ref == "TAC"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("chr1", 11, ".", "A"), "line 3 has 4 columns, not 5 or more"),
        (("chr1", 0, ".", "A", "C"), "line 3: position '0'"),
        (("chr1", "x", ".", "A", "C"), "line 3: position 'x'"),
        (("chr1", 11, ".", "<N>", "C"), "line 3: reference allele '<N>'"),
        (("chr9", 11, ".", "A", "C"), "line 3: has no 'chr9'"),
        (("chr1", 61, ".", "A", "C"), "line 3: chr1:60-61 ends beyond the 60 bp"),
        (
            ("chr2", 1, ".", "AG", "A"),
            "line 3: the reference allele AG has G at chr2:2, where the genome has C",
        ),
    ],
)
def test_what_is_wrong_names_the_line(write, genome, row, message):
    with pytest.raises(InputError, match=message):
        list(read_variants(write(row), genome))


def test_a_file_without_variants(write, genome):
    with pytest.raises(InputError, match="holds no variant"):
        list(read_variants(write(), genome))


def around(genome, start, ref, alt, window=20, *, fill=True):
    assert genome.fetch("chr1", start, start + len(ref)) == ref
    variant = Variant(3, "chr1", start, ".", ref, alt, alt)
    return sequences(variant, alt, genome, window, fill=fill)


def test_a_substitution_stands_in_the_middle(genome):
    found = around(genome, 30, CHR1[30], "X")
    assert found.ref == CHR1[20:40]
    assert found.alt == CHR1[20:30] + "X" + CHR1[31:40]
    assert found.offset == 10


@pytest.mark.parametrize(("ref", "alt"), [(1, 4), (4, 1), (3, 3)])
def test_what_is_behind_an_indel_moves(genome, ref, alt):
    ref, alt = CHR1[30 : 30 + ref], "ACGT"[:alt]
    found = around(genome, 30, ref, alt)
    assert len(found.ref) == len(found.alt) == 20
    start = 30 + len(ref) // 2 - 10
    assert found.ref == CHR1[start : start + 20]
    whole = CHR1[start:30] + alt + CHR1[30 + len(ref) :]
    assert found.alt == whole[:20]
    assert found.offset == 30 - start


def test_ends_of_the_genome(genome):
    found = around(genome, 2, CHR1[2], "A")
    assert found.ref == "N" * 8 + CHR1[:12]
    assert found.offset == 10
    assert found.ref[found.offset] == CHR1[2]
    cut = around(genome, 2, CHR1[2], "A", fill=False)
    assert cut.ref == CHR1[:12]
    assert cut.offset == 2
    last = around(genome, 58, CHR1[58:60], "A")
    assert last.ref == CHR1[49:60] + "N" * 9
    assert last.alt == CHR1[49:58] + "A" + "N" * 10
    assert around(genome, 58, CHR1[58:60], "A", fill=False).alt == CHR1[49:58] + "A"


@pytest.mark.parametrize("first", [0, 1])
def test_of_overlapping_records_the_one_with_most_around(tmp_path, first):
    """Whichever comes first: 20 to 60 has 12 bases behind the allele, 0 to 49 has 1."""
    pieces = [("chr1:1-49", CHR1[:49]), ("chr1:21-60", CHR1[20:])]
    path = tmp_path / "pieces.fa"
    path.write_bytes(builders.fasta(dict([pieces[first], pieces[1 - first]])))
    variant = Variant(1, "chr1", 46, ".", CHR1[46:48], "T", "T")
    across = Variant(2, "chr1", 48, ".", CHR1[48:50], "T", "T")
    with Genome.open(path) as genome:
        assert sequences(variant, "T", genome, 20, fill=False).ref == CHR1[37:57]
        assert sequences(across, "T", genome, 20, fill=False).ref == CHR1[39:59]

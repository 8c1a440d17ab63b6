"""GTF lines to features of transcripts."""

import gzip
from pathlib import Path

import pytest

from scmultimodal.genome.transcripts import read_transcripts
from scmultimodal.schemas.errors import InputError

GENE = 'gene_id "G1"; gene_type "lncRNA";'
PARTS = f'{GENE} transcript_id "T1";'


def line(feature="exon", start=11, end=20, strand="+", attributes=PARTS, chrom="chr1"):
    fields = (chrom, "havana", feature, start, end, ".", strand, ".", attributes)
    return "\t".join(map(str, fields)) + "\n"


@pytest.fixture
def write(tmp_path: Path):
    def write(*lines: str) -> Path:
        path = tmp_path / "genes.gtf"
        path.write_text("".join(lines))
        return path

    return write


def test_a_line_by_hand(write):
    path = write("##gff\n", "\n", line(attributes=f'{PARTS} tag "basic"; tag "CCDS";'))
    (row,) = read_transcripts(path).to_dict("records")
    assert row == {
        "feature": "exon",
        "chrom": "chr1",
        "start": 10,
        "end": 20,
        "strand": "+",
        "gene": "G1",
        "symbol": "G1",
        "transcript": "T1",
        "biotype": "lncRNA",
        "basic": True,
    }


def test_other_features_are_passed_over(write):
    path = write(line("transcript"), line("UTR"), line("start_codon"), line("CDS"))
    assert list(read_transcripts(path)["feature"]) == ["CDS"]


def test_gzip_reads_the_same(write, tmp_path):
    path = write(line("gene", attributes=GENE), line())
    packed = tmp_path / "genes.gtf.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_transcripts(packed).equals(read_transcripts(path))


def test_the_gene_line_may_say_the_biotype_for_all(write):
    bare = 'gene_id "G1"; transcript_id "T1";'
    of_ensembl = 'gene_id "G1"; gene_biotype "protein_coding";'
    path = write(line(attributes=bare), line("gene", attributes=of_ensembl))
    assert list(read_transcripts(path)["biotype"]) == ["protein_coding"] * 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no gene, exon or coding sequence"),
        (["a\tb\n"], "line 1 has 2 columns, not 9"),
        ([line(), line(attributes=GENE)], "line 2: the exon has no transcript_id"),
        ([line(attributes='transcript_id "T1";')], "line 1: the exon has no gene_id"),
        ([line(start="x")], "line 1: start 'x' is not a whole number"),
        ([line(end=10**11)], "line 1: end '100000000000' is not a whole number"),
        ([line(start=0)], "'line 1' spans -1 to 20 bp"),
        ([line(start=30)], "'line 1' spans 29 to 20 bp"),
        ([line(strand=".")], "line 1: strand '.'"),
        (
            [line(attributes='gene_id "G1"; transcript_id "T1";')],
            "line 1: G1 has no gene_type",
        ),
        (
            [line(), line(attributes=PARTS.replace("lncRNA", "TEC"))],
            "G1 is TEC and lncRNA",
        ),
        ([line(), line(chrom="1")], "chromosomes are named in two ways"),
    ],
)
def test_what_is_wrong_is_said(write, lines, message):
    with pytest.raises(InputError, match=message):
        read_transcripts(write(*lines))

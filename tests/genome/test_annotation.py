"""Gene annotations in their formats, good and bad."""

import gzip

import pytest

from scmultimodal.genome import read_genes
from scmultimodal.genome.annotation import GENE_COLUMNS
from scmultimodal.schemas.errors import InputError

GTF = (
    "#!genome-build GRCh38\n"
    "chr1\tHAVANA\tgene\t11\t20\t.\t+\t.\t"
    'gene_id "ENSG00000000001.7"; gene_type "x"; gene_name "A";\n'
    "chr1\tHAVANA\texon\t11\t15\t.\t+\t.\t"
    'gene_id "ENSG00000000001.7"; gene_name "A";\n'
    "chr2\tHAVANA\tgene\t101\t110\t.\t-\t.\t"
    'gene_id "ENSG00000000002.1"; gene_name "B";\n'
)
COLLAPSED = (
    "#chr\tstart\tend\tname\tscore\tstrand\tEnsembl_ID\tgene_type\n"
    "chr1\t10\t20\tA\t0\t+\tENSG00000000001\tlincRNA\n"
    "chr2\t100\t110\tB\t0\t-\tENSG00000000002\tlincRNA\n"
)
BED6 = "track name=x\nchr1\t10\t20\tA\t0\t+\nchr2\t100\t110\tB\t0\t-\n"
TABLE = "chr1\t10\t20\tA\t+\nchr2\t100\t110\tB\t-\n"
HEADED = "gene_id\tchromosome\tStart\tEnd\tStrand\tgene_name\n" + (
    "ENSG00000000001.2\tchr1\t10\t20\t+\tA\nENSG00000000002\tchr2\t100\t110\t-\tB\n"
)

BY_ID = [
    ["ENSG00000000001", "A", "chr1", 10, 20, "+"],
    ["ENSG00000000002", "B", "chr2", 100, 110, "-"],
]
BY_SYMBOL = [[symbol, symbol, *place] for _, symbol, *place in BY_ID]


def _write(folder, text, packed=False):
    path = folder / "genes"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GTF, BY_ID),
        (COLLAPSED, BY_ID),
        (HEADED, BY_ID),
        (BED6, BY_SYMBOL),
        (TABLE, BY_SYMBOL),
    ],
    ids=["gtf", "collapsed", "headed", "bed6", "table"],
)
def test_formats(tmp_path, text, expected, packed):
    genes = read_genes(_write(tmp_path, text, packed))
    assert tuple(genes.columns) == GENE_COLUMNS
    assert genes.values.tolist() == expected
    kind = "ensembl" if expected is BY_ID else "symbol"
    assert genes.attrs["report"]["identifiers"] == kind


def test_bed_named_by_ensembl_id(tmp_path):
    genes = read_genes(_write(tmp_path, "1\t10\t20\tENSMUSG00000000001.3\t0\t+\n"))
    assert genes["gene_id"].tolist() == ["ENSMUSG00000000001"]


def test_a_dot_in_a_symbol_is_no_version(tmp_path):
    genes = read_genes(_write(tmp_path, "chr1\t10\t20\tRP11-34P13.7\t+\n"))
    assert genes["gene_id"].tolist() == ["RP11-34P13.7"]


def test_id_with_two_symbols_is_removed_and_named(tmp_path):
    text = COLLAPSED + "chr3\t5\t9\tC\t0\t-\tENSG00000000002\tlincRNA\n"
    genes = read_genes(_write(tmp_path, text))
    assert genes["gene_id"].tolist() == ["ENSG00000000001"]
    report = genes.attrs["report"]
    assert report["ids_with_several_symbols"] == ["ENSG00000000002"]


def test_of_several_places_the_first_on_a_primary_chromosome_stays(tmp_path):
    text = (
        "chr6_GL000251v2_alt\t1\t2\tA\t+\nchr6\t10\t20\tA\t+\n"
        "chrX\t5\t9\tP\t+\nchrY\t5\t9\tP\t+\nchr7_alt\t3\t4\tQ\t-\n"
    )
    genes = read_genes(_write(tmp_path, text))
    assert genes[["symbol", "chrom"]].values.tolist() == [
        ["A", "chr6"],
        ["P", "chrX"],
        ["Q", "chr7_alt"],
    ]
    assert genes.attrs["report"]["further_places_dropped"] == 2


def test_pseudoautosomal_ids_of_gencode_are_one_gene(tmp_path):
    line = 'chr{}\tX\tgene\t11\t20\t.\t+\t.\tgene_id "ENSG00000182378.{}";\n'
    text = line.format("X", "15") + line.format("Y", "15_PAR_Y")
    genes = read_genes(_write(tmp_path, text))
    assert genes[["gene_id", "chrom"]].values.tolist() == [["ENSG00000182378", "chrX"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no genes"),
        ("# only a comment\n", "holds no genes"),
        ("chr1\t10\t20\tA\t.\n", r"line 1: strand '\.'"),
        (TABLE + "chr1\t30\t30\tC\t+\n", "'line 3' spans 30 to 30 bp"),
        (TABLE + "chr1\t-4\t30\tC\t+\n", "spans -4 to 30 bp"),
        ("chr1\t1e3\t2000\tA\t+\n", "start '1e3' is not an integer"),
        ("chr1\t10\n", "format not recognised"),
        ("hello world\n", "format not recognised"),
        (TABLE + "chr1\t30\n", "line 3 has 2 columns, not 5"),
        (TABLE + "3\t10\t20\tC\t+\n", "named in two ways: 'chr1' and '3'"),
        (GTF.replace("\tgene\t", "\ttranscript\t"), "holds no genes"),
    ],
)
def test_errors_name_file_and_value(tmp_path, text, message):
    path = _write(tmp_path, text)
    with pytest.raises(InputError, match=message) as error:
        read_genes(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_damaged_files(tmp_path):
    path = _write(tmp_path, TABLE * 1_000, packed=True)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="end early"):
        read_genes(path)
    path.write_bytes(b"\x1f\x8b" + b"nonsense" * 10)
    with pytest.raises(InputError, match="is damaged"):
        read_genes(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        read_genes(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_genes(tmp_path / "absent.bed")


def test_real_annotations(data_folder):
    mouse = read_genes(data_folder / "mouse_cortex/mm10_genes.bed")
    assert len(mouse) == 35_976
    human = data_folder / "gene_annotation_hg38"
    genes = read_genes(human / "CollapsedGeneBounds.hg38.intGENCODEv43.bed.gz")
    assert len(genes) == 20_531
    fam138a = genes[genes["symbol"] == "FAM138A"].iloc[0]
    assert fam138a.tolist() == ["ENSG00000237613", "FAM138A", "chr1", 34610, 36081, "-"]
    gencode = read_genes(human / "snapatac2_gencode_subset.gtf.gz")
    assert gencode.iloc[0].tolist()[2:] == ["chr1", 17368, 17436, "-"]
    by_symbol = read_genes(human / "simba_hg38_genes.bed.gz")
    assert by_symbol.attrs["report"]["further_places_dropped"] == 267

"""Regulatory elements and polyA signals, in the layouts of those who publish them."""

from pathlib import Path

import pandas as pd
import pytest

from scmultimodal.genome.regulatory import read_polya, read_regulatory
from scmultimodal.schemas.errors import InputError


@pytest.fixture
def write(tmp_path: Path):
    def write(*rows: tuple, name: str = "elements.bed") -> Path:
        path = tmp_path / name
        path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
        return path

    return write


def kinds(table: pd.DataFrame) -> list[tuple]:
    return list(table.itertuples(index=False, name=None))


def test_candidates_of_encode(write):
    path = write(
        ("chr1", 100, 300, "EH38D1", "EH38E1", "pELS,CTCF-bound"),
        ("chr1", 400, 600, "EH38D2", "EH38E2", "PLS"),
        ("chr1", 700, 900, "EH38D3", "EH38E3", "CTCF-only,CTCF-bound"),
        ("chr1", 950, 990, "EH38D4", "EH38E4", "DNase-H3K4me3"),
    )
    assert kinds(read_regulatory(path)) == [
        ("chr1", 100, 300, "enhancer"),
        ("chr1", 400, 600, "promoter"),
        ("chr1", 700, 900, "CTCF"),
        ("chr1", 950, 990, "other"),
        ("chr1", 100, 300, "CTCF"),
        ("chr1", 700, 900, "CTCF"),
    ]


def test_the_regulatory_build_as_gff_and_as_a_table(write):
    gff = write(
        ("##gff-version 3",),
        ("1", "Build", "CTCF_binding_site", 101, 300, ".", ".", ".", "ID=a"),
        ("1", "Build", "open_chromatin_region", 401, 500, ".", ".", ".", "ID=b"),
        name="build.gff3",
    )
    table = write(
        ("chrom", "start", "end", "label"),
        ("1", 100, 300, "CTCF_binding_site"),
        ("1", 400, 500, "ocr"),
        name="build.tsv",
    )
    expected = [("1", 100, 300, "CTCF"), ("1", 400, 500, "other")]
    assert kinds(read_regulatory(gff)) == kinds(read_regulatory(table)) == expected


def test_signals_of_gencode_are_no_sites(write):
    def line(kind, start):
        return ("chr1", "HAVANA", kind, start, start + 5, ".", "+", ".", "gene_id")

    path = write(line("polyA_signal", 11), line("polyA_site", 31), name="polyas.gtf")
    assert kinds(read_polya(path)) == [("chr1", 10, 16)]
    assert kinds(read_polya(write(("chr1", 10, 16)))) == [("chr1", 10, 16)]
    with pytest.raises(InputError, match="holds no polyA_signal but polyA_site"):
        read_polya(write(line("polyA_site", 31), name="sites.gtf"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("chr1", 1, 9, "x", "y", "z")], "has no column of kinds"),
        ([("chrom", "start", "end", "label"), ("1", 1, 9, "hat")], "'hat' is no kind"),
        ([("1", "b", "enhancer", 9, 3, ".", ".", ".", "")], "spans 8 to 3"),
        (
            [("1", "b", "enhancer", 1, 3, ".", ".", ".", ""), ("1", "b")],
            "line 2 has 2 columns, not 9",
        ),
        (
            [
                ("1", "b", "enhancer", 1, 3, ".", ".", ".", ""),
                ("1", "b", "enhancer", 1, "x", ".", ".", ".", ""),
            ],
            "line 2: '1' to 'x'",
        ),
    ],
)
def test_what_is_wrong_is_said(write, rows, message):
    with pytest.raises(InputError, match=message):
        read_regulatory(write(*rows))

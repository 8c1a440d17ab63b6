"""Elements by hand, against brute force, and on real chr9."""

import gzip
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scmultimodal.genome import elements
from scmultimodal.genome.elements import ELEMENTS, ElementRules, Painter
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.regulatory import read_regulatory
from scmultimodal.genome.transcripts import read_transcripts
from scmultimodal.schemas.errors import InputError

CHR9_BP = 1_000_000


def features(*rows: tuple) -> pd.DataFrame:
    """Of (feature, start, end, strand, gene, transcript, biotype) on chr1."""
    columns = ["feature", "start", "end", "strand", "gene", "transcript", "biotype"]
    return pd.DataFrame(rows, columns=columns).assign(chrom="chr1", basic=True)


def gene(strand: str = "+", biotype: str = "protein_coding", name: str = "1"):
    """Exons 10–20, 30–40, 42–60; coding 15–34 and the stop codon 34–37."""
    of = (strand, f"G{name}", f"T{name}", biotype)
    return features(
        ("gene", 10, 60, *of),
        ("exon", 10, 20, *of),
        ("exon", 30, 40, *of),
        ("exon", 42, 60, *of),
        ("CDS", 15, 20, *of),
        ("CDS", 30, 34, *of),
        ("stop_codon", 34, 37, *of),
    )


def places(table: pd.DataFrame, element: str) -> list[tuple[int, int]]:
    rows = table[table["element"] == element]
    return sorted(zip(rows["start"].tolist(), rows["end"].tolist(), strict=True))


def test_a_gene_by_hand():
    found = elements.of_transcripts(gene())
    assert {name: places(found, name) for name in elements.OF_GENES} == {
        "protein_coding_gene": [(10, 60)],
        "lncRNA": [],
        "exon": [(10, 20), (30, 40), (42, 60)],
        "intron": [(20, 30), (40, 42)],
        "splice_donor": [(20, 22)],  # 40–42 is too short for both sites
        "splice_acceptor": [(28, 30)],
        "5UTR": [(10, 15)],
        "3UTR": [(37, 40), (42, 60)],
    }


def test_the_reverse_strand_exchanges_ends():
    forward, reverse = (elements.of_transcripts(gene(strand)) for strand in "+-")
    swapped = {"splice_donor": "splice_acceptor", "5UTR": "3UTR"}
    swapped |= {b: a for a, b in swapped.items()}
    for name in elements.OF_GENES:
        other = swapped.get(name, name)
        assert places(reverse, name) == places(forward, other)


def test_other_biotypes_are_no_element_and_lncrna_has_no_utr():
    assert elements.of_transcripts(gene(biotype="snRNA")).empty
    without_coding = gene(biotype="antisense_RNA").iloc[:4]
    found = elements.of_transcripts(without_coding)
    assert places(found, "lncRNA") == [(10, 60)]
    assert set(found["element"]) == {
        *("lncRNA", "exon", "intron", "splice_donor", "splice_acceptor"),
    }


def test_transcripts_of_overlapping_genes_stay_apart():
    """An intron is between exons of one transcript; labels are the union."""
    other = gene("-", "lncRNA", "2").iloc[:4]
    moved = other.assign(start=other["start"] + 12, end=other["end"] + 12)
    both = elements.of_transcripts(pd.concat([gene(), moved], ignore_index=True))
    assert places(both, "intron") == [(20, 30), (32, 42), (40, 42), (52, 54)]
    labels = Painter(both).paint("chr1", 0, 80)
    assert elements.names(int(labels[33])) == (
        "protein_coding_gene",
        *("lncRNA", "exon", "intron", "splice_acceptor"),
    )


def test_basic_transcripts_alone():
    both = pd.concat([gene(), gene(name="1b")], ignore_index=True)
    both["gene"] = "G1"
    both["basic"] = (both["transcript"] == "T1") | (both["feature"] == "gene")
    moved = both["transcript"] == "T1b"
    both.loc[moved, ["start", "end"]] += 5
    found = elements.of_transcripts(both, ElementRules(basic_only=True))
    assert places(found, "exon") == [(10, 20), (30, 40), (42, 60)]


def test_regulation_by_hand():
    table = pd.DataFrame(
        [
            ("chr1", 0, 10, "promoter"),
            ("chr1", 20, 30, "enhancer"),
            ("chr1", 40, 50, "CTCF"),
            ("chr1", 60, 70, "other"),
        ],
        columns=["chrom", "start", "end", "kind"],
    )
    everywhere = pd.DataFrame({"chrom": ["chr1"], "start": [9], "end": [20]})
    invariant = elements.touches(table, everywhere)
    assert invariant.tolist() == [True, False, False, False]
    found = elements.of_regulation(table, invariant=invariant)
    assert found["element"].tolist() == [
        *("promoter_Tissue_invariant", "enhancer_Tissue_specific", "CTCF-bound"),
    ]
    only = elements.of_regulation(table, invariant=None)
    assert only["element"].tolist() == ["CTCF-bound"]


def test_open_in_half_of_the_samples_is_enough():
    table = pd.DataFrame({"chrom": "chr1", "start": [0, 20, 40], "end": [9, 30, 50]})
    first, second = table.iloc[[0, 1]], table.iloc[[0]]
    for share, expected in ((0.5, [True, True, False]), (0.6, [True, False, False])):
        assert elements.open_in(table, [first, second], share).tolist() == expected
    with pytest.raises(InputError, match="there is none"):
        elements.open_in(table, [], 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_what_brute_force_says(seed):
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 190, 60)
    table = pd.DataFrame(
        {
            "chrom": rng.choice(["chr1", "chr2"], 60),
            "start": start,
            "end": start + rng.integers(1, 30, 60),
            "element": rng.choice(list(ELEMENTS), 60),
        }
    )
    expected = np.zeros(230, np.uint16)
    for row in table[table["chrom"] == "chr2"].itertuples():
        for base in range(row.start, row.end):
            expected[base] |= 1 << ELEMENTS.index(row.element)
    painter = Painter(table)
    np.testing.assert_array_equal(painter.paint("chr2", 0, 230), expected)
    np.testing.assert_array_equal(painter.paint("chr2", 57, 101), expected[57:101])
    assert not painter.paint("chr3", 0, 9).any()


def test_bits_and_names_are_each_others_inverse():
    assert elements.bits([]) == 0
    assert elements.names(elements.bits(["3UTR", "exon"])) == ("exon", "3UTR")
    with pytest.raises(InputError, match="'hat' is no element"):
        elements.bits(["hat"])


@pytest.mark.parametrize("fields", [{"splice_bp": 0}, {"invariant_share": 0.0}])
def test_rules_out_of_range(fields):
    with pytest.raises(InputError):
        ElementRules(**fields)


# Real annotation.


@pytest.fixture(scope="module")
def chr9(data_folder: Path) -> pd.DataFrame:
    return read_transcripts(
        data_folder / "dna_hg38_regions" / "GRCh38.91_chr9_1_1000000.gtf.gz"
    )


def test_chr9_is_what_brute_force_says(chr9):
    """Base by base and transcript by transcript, with sets of positions."""
    found = elements.of_transcripts(chr9)
    labels = Painter(found).paint("9", 0, CHR9_BP)
    of = {name: set() for name in elements.OF_GENES}
    coding_types = {"protein_coding"}
    noncoding_types = {"lincRNA", "antisense_RNA", "sense_intronic"}
    for row in chr9[chr9["feature"] == "gene"].itertuples():
        name = "lncRNA" if row.biotype in noncoding_types else "protein_coding_gene"
        if row.biotype in coding_types | noncoding_types:
            of[name].update(range(row.start, row.end))
    kept = chr9[chr9["biotype"].isin(coding_types | noncoding_types)]
    for _, parts in kept[kept["transcript"] != ""].groupby("transcript"):
        exons = sorted(
            (r.start, r.end) for r in parts.itertuples() if r.feature == "exon"
        )
        coded = [
            base
            for r in parts.itertuples()
            if r.feature in ("CDS", "stop_codon")
            for base in (r.start, r.end - 1)
        ]
        forward = parts["strand"].iloc[0] == "+"
        for low, high in exons:
            of["exon"].update(range(low, high))
            if coded:
                before = range(low, min(high, min(coded)))
                behind = range(max(low, max(coded) + 1), high)
                of["5UTR" if forward else "3UTR"].update(before)
                of["3UTR" if forward else "5UTR"].update(behind)
        for (_, low), (high, _) in itertools.pairwise(exons):
            of["intron"].update(range(low, high))
            if high - low >= 4:
                first, last = {low, low + 1}, {high - 2, high - 1}
                of["splice_donor"] |= first if forward else last
                of["splice_acceptor"] |= last if forward else first
    for name, bases in of.items():
        expected = np.zeros(CHR9_BP, bool)
        expected[list(bases)] = True
        painted = labels >> ELEMENTS.index(name) & 1 == 1
        np.testing.assert_array_equal(painted, expected, err_msg=name)
    counts = {name: len(bases) for name, bases in of.items()}
    print(counts)
    assert counts["splice_donor"] > 200
    assert all(counts.values())


def test_utrs_of_chr9_are_those_that_ensembl_states(chr9, data_folder):
    """Ensembl says which end a UTR is of; GENCODE does not, so we do not read it."""
    path = data_folder / "dna_hg38_regions" / "GRCh38.91_chr9_1_1000000.gtf.gz"
    stated = {"five_prime_utr": "5UTR", "three_prime_utr": "3UTR"}
    expected = {name: np.zeros(CHR9_BP, bool) for name in stated.values()}
    for text in gzip.decompress(path.read_bytes()).decode().splitlines():
        fields = text.split("\t")
        if len(fields) == 9 and fields[2] in stated:
            start, end = int(fields[3]) - 1, int(fields[4])
            expected[stated[fields[2]]][start:end] = True
    labels = Painter(elements.of_transcripts(chr9)).paint("9", 0, CHR9_BP)
    for name, bases in expected.items():
        painted = labels >> ELEMENTS.index(name) & 1 == 1
        np.testing.assert_array_equal(painted, bases, err_msg=name)


def test_introns_of_chr9_begin_and_end_as_splicing_wants(chr9, data_folder):
    """GT … AG, by strand: labels and letters lie on one another."""
    sites = elements.of_transcripts(chr9)
    fasta = data_folder / "dna_hg38_regions" / "hg38_chr1_chr9_first1Mb.fa.gz"
    found = {"splice_donor": [], "splice_acceptor": []}
    with Genome.open(fasta) as genome:
        for row in sites[sites["element"].isin(list(found))].itertuples():
            text = genome.fetch("chr9", int(row.start), int(row.end)).upper()
            found[row.element].append(text)
    donors, acceptors = found["splice_donor"], found["splice_acceptor"]
    assert sum(s in ("GT", "AC") for s in donors) / len(donors) > 0.95
    assert sum(s in ("AG", "CT") for s in acceptors) / len(acceptors) > 0.95


def test_the_regulatory_build_at_hand(data_folder):
    name = "ensembl_regulatory_genomic_benchmarks.tsv.gz"
    table = read_regulatory(data_folder / "regulatory_hg38" / name)
    assert table["kind"].value_counts().to_dict() == {
        "enhancer": 85_512 + 21_378,
        "promoter": 75_934 + 18_859,
        "other": 69_902 + 17_476,
    }

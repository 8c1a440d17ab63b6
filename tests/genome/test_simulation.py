"""The made-up genome: its files are read as real ones, and it has all elements."""

from pathlib import Path

import pytest

from scmultimodal import datasets
from scmultimodal.genome import elements
from scmultimodal.genome.elements import ELEMENTS, ElementRules, Painter
from scmultimodal.genome.fasta import Genome
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import element_inputs
from scmultimodal.workflows.element_inputs import LabelFiles


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> datasets.SimulatedGenome:
    folder = tmp_path_factory.mktemp("genome")
    return datasets.simulate_genome(folder, chromosomes=2, length_bp=20_000)


@pytest.fixture(scope="module")
def annotation(made) -> element_inputs.Annotation:
    files = LabelFiles(
        gtf=(made.gtf,),
        polya=(made.polya,),
        regulatory=(made.regulatory,),
        invariant=made.invariant,
    )
    return element_inputs.read(files, ElementRules())


def test_all_elements_are_known_and_there(made, annotation):
    assert annotation.known == 2 ** len(ELEMENTS) - 1
    assert set(annotation.counts()) == set(ELEMENTS)
    assert all(annotation.counts().values())


def test_signals_stand_in_the_letters(made, annotation):
    """Donors, acceptors and polyA signals, on either strand."""
    ends = {
        "splice_donor": {"GT", "AC"},
        "splice_acceptor": {"AG", "CT"},
        "polyA_signal": {"AATAAA", "TTTATT"},
    }
    with Genome.open(made.fasta) as genome:
        for name, allowed in ends.items():
            rows = annotation.table[annotation.table["element"] == name]
            found = {
                genome.fetch(r.chrom, int(r.start), int(r.end))
                for r in rows.itertuples()
            }
            assert found == allowed


def test_utrs_frame_what_is_coding(made, annotation):
    painter = Painter(annotation.table)
    labels = painter.paint("chr1", 0, 20_000)
    for name in ("5UTR", "3UTR"):
        of = labels[labels >> ELEMENTS.index(name) & 1 == 1]
        both = elements.bits(["exon", "protein_coding_gene"])
        assert len(of)
        assert (of & both == both).all()


def test_the_seed_decides(made, tmp_path):
    again = datasets.simulate_genome(tmp_path / "a", chromosomes=2, length_bp=20_000)
    other = datasets.simulate_genome(
        tmp_path / "b", chromosomes=2, length_bp=20_000, seed=1
    )
    for name in ("fasta", "gtf", "polya", "regulatory", "invariant"):
        written = Path(getattr(made, name)).read_text()
        assert Path(getattr(again, name)).read_text() == written
        assert Path(getattr(other, name)).read_text() != written


def test_too_small_to_hold_a_gene(tmp_path):
    with pytest.raises(InputError, match="1 chromosomes of 100 bp"):
        datasets.simulate_genome(tmp_path, chromosomes=1, length_bp=100)

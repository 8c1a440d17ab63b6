"""Labelled letters on disk: what was painted is read, whatever the chunks."""

import json

import numpy as np
import pandas as pd
import pytest

from scmultimodal.data import element_store
from scmultimodal.data.element_store import (
    ElementStore,
    Territory,
    format_report,
    write_element_store,
)
from scmultimodal.genome import elements
from scmultimodal.genome.elements import ELEMENTS, Painter
from scmultimodal.genome.fasta import Genome
from scmultimodal.schemas.errors import InputError
from tests import builders

ALL = 2 ** len(ELEMENTS) - 1
TERRITORIES = (
    Territory(chrom="chr1", start=5, end=60, group=0, split="train", known=ALL),
    Territory(chrom="chr2", start=0, end=40, group=1, split="test", known=0b101),
)


@pytest.fixture
def painter() -> Painter:
    table = pd.DataFrame(
        [
            ("chr1", 10, 30, "exon"),
            ("chr1", 20, 25, "protein_coding_gene"),
            ("chr2", 0, 8, "exon"),
            ("chr2", 4, 8, "intron"),
        ],
        columns=["chrom", "start", "end", "element"],
    )
    return Painter(table)


@pytest.fixture
def genome(tmp_path):
    letters = {"chr1": "NnRacgt" + builders.dna(93), "chr2": builders.dna(50, seed=1)}
    path = tmp_path / "genome.fa"
    path.write_bytes(builders.fasta(letters))
    with Genome.open(path) as opened:
        yield opened


@pytest.fixture
def write(tmp_path, genome, painter):
    def write(name: str = "store", **fields) -> ElementStore:
        fields = {"config": {}, "provenance": {"name": "x"}} | fields
        return write_element_store(
            tmp_path / name, TERRITORIES, genome, painter, **fields
        )

    return write


def test_letters_and_labels_by_hand(write, genome, painter):
    store = write()
    assert bytes(store.letters[:4]).decode() == genome.fetch("chr1", 5, 9).upper()
    np.testing.assert_array_equal(store.labels[:55], painter.paint("chr1", 5, 60))
    # What is not known in a territory is not labelled there.
    expected = np.zeros(40, np.uint16)
    expected[:8] = elements.bits(["exon"])
    np.testing.assert_array_equal(store.labels[55:], expected)
    letters, labels = store.interval("chr2", 2, 6)
    assert bytes(letters).decode() == genome.fetch("chr2", 2, 6)
    assert labels.tolist() == [4] * 4
    with pytest.raises(InputError, match="holds not all of chr1:0-9"):
        store.interval("chr1", 0, 9)


def test_other_letters_are_n(tmp_path, painter):
    path = tmp_path / "odd.fa"
    path.write_bytes(builders.fasta({"chr1": "ACGTacgtNnRyU-*"}))
    territory = Territory(
        chrom="chr1", start=0, end=15, group=0, split="train", known=ALL
    )
    with Genome.open(path) as genome:
        store = write_element_store(
            tmp_path / "odd", [territory], genome, painter, config={}, provenance={}
        )
    assert bytes(store.letters).decode() == "ACGTACGT" + 7 * "N"
    assert store.manifest["report"]["train"]["n"] == 7


def test_the_size_of_chunks_changes_nothing(write, monkeypatch):
    whole = write()
    monkeypatch.setattr(element_store, "CHUNK", 7)
    parts = write("parts")
    assert parts.manifest["files"] == whole.manifest["files"]
    assert parts.manifest["report"] == whole.manifest["report"]


def test_the_report_counts_bases(write):
    report = write().manifest["report"]
    train = report["train"]["elements"]
    assert train["exon"] == {"known_bp": 55, "bp": 20}
    assert train["protein_coding_gene"] == {"known_bp": 55, "bp": 5}
    test = report["test"]["elements"]
    assert test["exon"] == {"known_bp": 40, "bp": 8}
    assert test["intron"] == {"known_bp": 0, "bp": 0}
    table = format_report(report)
    assert "20 (36.36%)" in table
    assert "not known" in table


def test_splits_and_what_is_known(write):
    store = write()
    assert store.split("train").tolist() == [0]
    assert store.split("validation").tolist() == []
    with pytest.raises(InputError, match="has no split 'hat'"):
        store.split("hat")


def test_damage_is_noticed(write):
    path = write().path
    with pytest.raises(InputError, match="already holds"):
        write()
    write(overwrite=True)
    letters = path / "letters.npy"
    content = bytearray(letters.read_bytes())
    content[-1] ^= 1
    letters.write_bytes(content)
    ElementStore.open(path)
    with pytest.raises(InputError, match=r"letters\.npy: does not match the sha256"):
        ElementStore.open(path, verify=True)
    letters.write_bytes(content[:-1])
    with pytest.raises(InputError, match="bytes instead of"):
        ElementStore.open(path)
    letters.unlink()
    with pytest.raises(InputError, match="is missing"):
        ElementStore.open(path)


def test_nothing_half_written_stays(tmp_path, genome, painter):
    beyond = Territory(
        chrom="chr1", start=0, end=101, group=0, split="train", known=ALL
    )
    with pytest.raises(InputError, match="ends beyond the 100 bp"):
        write_element_store(
            tmp_path / "no", [beyond], genome, painter, config={}, provenance={}
        )
    with pytest.raises(InputError, match="would hold no territory"):
        write_element_store(
            tmp_path / "no", [], genome, painter, config={}, provenance={}
        )
    assert {path.name for path in tmp_path.iterdir()} == {"genome.fa"}


def test_another_set_of_elements_is_refused(write):
    path = write().path
    file = path / "manifest.json"
    content = json.loads(file.read_text())
    content["elements"][0] = "hat"
    del content["digest"]
    from scmultimodal.data import manifest

    content["digest"] = manifest._digest(content)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="has other elements"):
        ElementStore.open(path)

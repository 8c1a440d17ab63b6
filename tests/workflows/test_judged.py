"""Examples that are the same are known to be, and others are not."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from scmultimodal.data.element_store import Territory, write_element_store
from scmultimodal.genome.elements import Painter
from scmultimodal.genome.fasta import Genome
from scmultimodal.workflows import judged
from tests import builders


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return builders.simulated_store(tmp_path_factory.mktemp("store") / "a")


def test_cells_are_known_by_name_and_type(store):
    cells = store.split("test")
    found = judged.cells(store, cells)
    assert found == judged.cells(store, cells[::-1])
    assert found["examples"] == len(cells)
    assert found["simulated"] is True
    assert found["sha256"] != judged.cells(store, cells[:-1])["sha256"]
    obs = store.obs.copy()
    label = obs["label"].iloc[cells[0]]
    other = next(name for name in store.label_names if name != label)
    obs.loc[obs.index[cells[0]], "label"] = other
    relabelled = dataclasses.replace(store, obs=obs)
    assert found["sha256"] != judged.cells(relabelled, cells)["sha256"]


def test_types_have_the_scores_of_each_model(store, tmp_path):
    cells = store.split("test")
    labels = store.labels[cells]
    predictions = {"right": labels, "wrong": (labels + 1) % len(store.label_names)}
    judged.write(tmp_path, {"rna": judged.types(store, cells, predictions)})
    content = json.loads((tmp_path / judged.FILE).read_text())["rna"]
    assert content["sha256"] == judged.cells(store, cells)["sha256"]
    right, wrong = content["by_class"]["right"], content["by_class"]["wrong"]
    assert list(right) == list(store.label_names)
    assert {row["f1"] for row in right.values()} == {1.0}
    assert {row["f1"] for row in wrong.values()} == {0.0}
    assert sum(row["support"] for row in right.values()) == len(cells)


def test_spans_are_known_by_places_and_values(tmp_path):
    sequences = [["ACGTAC", "GGGTAC", "TTTTAC"]] * 4
    values = np.arange(12).reshape(4, 3)

    def of(name, values, rows):
        store = builders.region_store(tmp_path / name, sequences, values, num_tokens=3)
        return judged.spans(store, np.array(rows))

    found = of("a", values, [1, 2])
    assert found == of("b", values, [1, 2])
    assert found["examples"] == 2
    assert found["sha256"] != of("c", values, [1, 3])["sha256"]
    assert found["sha256"] != of("d", values + 1, [1, 2])["sha256"]


def test_bases_are_known_by_places_and_labels(tmp_path):
    letters = {"chr1": builders.dna(100), "chr2": builders.dna(50, seed=1)}
    (tmp_path / "genome.fa").write_bytes(builders.fasta(letters))

    def of(name, exon_end, start=0):
        exon = ("chr2", 4, exon_end, "exon")
        table = pd.DataFrame([exon], columns=["chrom", "start", "end", "element"])
        stretches = (("chr1", 0, 60, "train"), ("chr2", start, 40, "test"))
        territories = [
            Territory(chrom=c, start=a, end=b, group=g, split=s, known=5)
            for g, (c, a, b, s) in enumerate(stretches)
        ]
        with Genome.open(tmp_path / "genome.fa") as genome:
            store = write_element_store(
                tmp_path / name,
                territories,
                genome,
                Painter(table),
                config={},
                provenance={},
            )
        return judged.bases(store, store.split("test"))

    found = of("a", 8)
    assert found == of("b", 8)
    assert found["examples"] == 40
    assert found["sha256"] != of("c", 9)["sha256"]
    assert found["sha256"] != of("d", 8, start=1)["sha256"]

"""Cells to pseudobulk: by hand, and against a loop over cells."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.pseudobulk import PseudobulkConfig, pseudobulk
from scmultimodal.singlecell.readers import join_modalities
from tests import builders

CONFIG = PseudobulkConfig(label="type", counts="fragments", min_cell_fraction=0.0)


def cells(counts, types, **columns):
    """Cells by peaks of 100 bp, the first at 1,000 bp of chr1."""
    counts = np.array(counts)
    names = [f"chr1:{i}000-{i}100" for i in range(1, counts.shape[1] + 1)]
    atac = builders.annotated(counts, names)
    atac.obs["type"] = types
    for name, column in columns.items():
        atac.obs[name] = column
    return atac


def refusal(*arguments):
    with pytest.raises(InputError) as error:
        pseudobulk(*arguments)
    (line,) = str(error.value).splitlines()
    return line


def changed(**fields):
    return PseudobulkConfig(**({"label": "type", "counts": "fragments"} | fields))


def test_by_hand():
    counts = [[3, 0, 1, 0], [1, 0, 0, 0], [0, 2, 0, 0], [9, 9, 9, 0], [0, 1, 9, 0]]
    found = pseudobulk(cells(counts, ["B", "B", "A", None, ""]), CONFIG, "x.h5ad")
    # The cells without a label are of no type.
    assert found.table.samples == ("A", "B")
    assert found.table.values.T.tolist() == [[0, 2, 0, 0], [2, 0, 0.5, 0]]
    assert found.table.source == "x.h5ad"
    assert found.table.regions["start"].tolist() == [1_000, 2_000, 3_000, 4_000]
    assert json.loads(json.dumps(found.report)) == {
        "cells": 5,
        "cells_without_label": 2,
        "cells_per_type": {"A": 1, "B": 2},
        "types_too_small": {},
        "counts_taken_for": "fragments",
        "peaks": 4,
        "peaks_seen_too_rarely": 0,
        "means_set_to_zero": 0.1,
    }


@settings(max_examples=40)
@given(st.integers(0, 2**20), st.sampled_from([None, "lane"]))
def test_against_a_loop_over_cells(seed, batch):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.4, (30, 8))
    types = rng.choice(["A", "B", "C"], 30)
    lanes = rng.choice(["x", "y"], 30)
    counts[0, 0] = 1
    config = changed(batch=batch, min_cell_fraction=0.2)
    found = pseudobulk(cells(counts, types, lane=lanes), config)
    groups = [np.ones(30, bool)]
    if batch:
        groups = [lanes == lane for lane in set(lanes)]
    kept = [
        peak
        for peak in range(8)
        if any((counts[g, peak] > 0).sum() * 5 >= g.sum() for g in groups)
    ]
    assert found.table.regions["start"].tolist() == [1_000 * (p + 1) for p in kept]
    assert len(found.table.closed_to_gaps) == 8 - len(kept)
    for sample, name in enumerate(found.table.samples):
        members = [cell for cell in range(30) if types[cell] == name]
        for row, peak in enumerate(kept):
            mean = sum(int(counts[cell, peak]) for cell in members) / len(members)
            expected = np.float32(mean if mean >= 0.1 else 0)
            assert found.table.values[row, sample] == expected


def test_means_below_a_tenth_are_closed():
    counts = np.zeros((20, 3), int)
    counts[:1, 0] = counts[:2, 1] = counts[:3, 2] = 1
    found = pseudobulk(cells(counts, "A"), CONFIG).table
    np.testing.assert_array_equal(found.values[:, 0], np.float32([0, 0.1, 0.15]))


@pytest.mark.parametrize(("seen", "kept"), [(6, False), (7, True), (8, True)])
def test_a_share_that_is_exact_passes(seen, kept):
    """0.07 · 100 is a little above 7 for a computer."""
    counts = np.zeros((100, 2), int)
    counts[:seen, 0] = counts[:, 1] = 1
    found = pseudobulk(cells(counts, "A"), changed(min_cell_fraction=0.07)).table
    assert found.regions["start"].tolist() == ([1_000] if kept else []) + [2_000]
    # A rare peak is no region, and no place for a closed one either.
    assert found.closed_to_gaps["start"].tolist() == ([] if kept else [1_000])


def test_a_peak_of_one_batch_is_kept():
    counts = np.zeros((100, 2), int)
    counts[:2, 0] = counts[:, 1] = 1
    lanes = ["x"] * 20 + ["y"] * 80
    data = cells(counts, "A", lane=lanes)
    for batch, kept in [(None, 1), ("lane", 2)]:
        config = changed(batch=batch, min_cell_fraction=0.1)
        assert len(pseudobulk(data, config).table.regions) == kept


def test_reads_become_fragments_before_anything_else():
    counts = [[2, 1], [2, 4], [2, 2], [2, 0]]
    found = pseudobulk(cells(counts, "A"), changed(counts="auto"))
    # Fragments 1 1, 1 2, 1 1, 1 0.
    assert found.table.values[:, 0].tolist() == [1, 1]
    assert found.report["counts_taken_for"] == "reads"


def test_small_types_are_left_out_and_counted():
    found = pseudobulk(
        cells(np.ones((6, 2), int), list("AABCCC")), changed(min_cells=2)
    )
    assert found.table.samples == ("A", "C")
    assert found.report["types_too_small"] == {"B": 1}


def test_labels_may_be_numbers_or_stand_beside_the_modalities():
    counts = np.ones((4, 2), int)
    atac = cells(counts, [2, 2, 10, 10])
    assert pseudobulk(atac, CONFIG).table.samples == ("10", "2")
    del atac.obs["type"]
    both = join_modalities(
        {"atac": atac, "rna": builders.annotated(counts, ["a", "b"])}
    )
    both.obs["type"] = pd.Categorical(["B", "A", "A", None], ["A", "B", "unused"])
    found = pseudobulk(both, CONFIG)
    assert found.table.samples == ("A", "B")
    assert found.report["cells_without_label"] == 1


def test_order_of_cells_does_not_matter():
    rng = np.random.default_rng(0)
    data = cells(rng.poisson(1, (20, 5)), rng.choice(["A", "B"], 20))
    shuffled = data[rng.permutation(20)].copy()
    one, other = (pseudobulk(d, CONFIG).table for d in (data, shuffled))
    np.testing.assert_array_equal(one.values, other.values)


# Refusing.

NO_LABEL = anndata.AnnData(np.ones((2, 1)), var=pd.DataFrame(index=["chr1:1-2"]))


@pytest.mark.parametrize(
    ("data", "config", "words"),
    [
        (cells([[1]], "A"), changed(label="tpye"), ["no column 'tpye'", "one of type"]),
        (cells([[1]], "A"), changed(batch="lane"), ["no column 'lane'", "type"]),
        (NO_LABEL, CONFIG, ["no column 'type'", "no columns"]),
        (
            cells([[1], [1]], [None, np.nan]),
            CONFIG,
            ["no type of 'type' has 1 cells", "another column"],
        ),
        (cells([[1], [1]], "A"), changed(min_cells=3), ["no type of 'type' has 3"]),
        (
            cells([[0, 0], [0, 0]], "A"),
            changed(),
            ["holds no counts"],
        ),
        (
            cells([[1, 0], [0, 1], [0, 0]], "A"),
            changed(min_cell_fraction=0.5),
            ["no peak of 2 is seen in 50.00% of the cells", "Lower"],
        ),
        (cells([[1.5]], "A"), changed(), ["value 1.5", "is not a count"]),
        (cells([[-1]], "A"), changed(), ["value -1"]),
        (
            builders.annotated([[1]], ["ENSG1"]),
            changed(),
            ["ATAC"],
        ),
    ],
    ids=lambda x: x[0] if isinstance(x, list) else "",
)
def test_what_is_refused(data, config, words):
    line = refusal(data, config, "x.h5ad")
    for word in ["x.h5ad", *words]:
        assert word in line


def test_peaks_that_overlap():
    data = cells([[1, 1]], "A")
    data.var_names = ["chr1:100-200", "chr1:150-300"]
    line = refusal(data, CONFIG, "x.h5ad")
    assert "x.h5ad: chr1:100-200 and chr1:150-300 overlap" in line
    assert "Merge" in line


@pytest.mark.parametrize(
    "fields",
    [
        {"min_cell_fraction": -0.1},
        {"min_cell_fraction": 1.1},
        {"min_mean": -1.0},
        {"min_cells": 0},
    ],
)
def test_numbers_out_of_range(fields):
    with pytest.raises(InputError, match=next(iter(fields))):
        changed(**fields)

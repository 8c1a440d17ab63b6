"""The facts of a prepared dataset in the terminal."""

import copy

import pytest

from scmultimodal.evaluation import store_report

FACTS = {
    "store": "data/mine",
    "name": "mine, yours",
    "simulated": False,
    "cells": 1_500,
    "genes": 2_000,
    "cells_with": {"rna": 1_500, "atac": 400, "both": 400},
    "modalities": {
        "rna": {
            "cells": 1_500,
            "nonzeros": 750_000,
            "density": 0.25,
            "nonzeros_per_cell": {"p5": 200.0, "p50": 480.5, "p95": 1_200.0},
            "bins": [200, 200, 200, 300, 100],
            "evenness": 0.99999,
        },
        "atac": {
            "cells": 400,
            "nonzeros": 0,
            "density": 0.0,
            "nonzeros_per_cell": {"p5": None, "p50": None, "p95": None},
            "bins": [0, 0, 0, 0, 0],
            "evenness": None,
        },
    },
    "peak_tokens": None,
    "cell_filter": {
        "before": 1_600,
        "after": 1_500,
        "failed": {"rna": 0, "atac": 100},
        "min_feature_fraction": 0.01,
    },
    "splits": {"train": 1_000, "validation": 200, "test": 290, "left_out": 10},
    "left_out": {"A": 2, "B": 8},
    "labels": {f"cell type {number}": 100 - number for number in range(15)},
    "batches": None,
    "vocabulary": {"how": "union"},
    "annotation": {},
    "datasets": {
        "mine": {
            "cells": 400,
            "cells_with": {"rna": 400, "atac": 400, "both": 400},
            "genes_kept": 1_800,
            "genes_measured": 1_800,
            "gene_alignment": {"features": 2_400, "resolved": 1_800},
            "counts": {"taken_for": "reads"},
            "liftover": {"lifted": 77},
            "peak_aggregation": {
                "peaks": 80,
                "bands_bp": [10_000, 20_000, 50_000],
                "fragments": 1_000,
                "fragments_per_band": [500, 150, 100],
            },
        },
        "yours": {
            "cells": 1_100,
            "cells_with": {"rna": 1_100, "atac": 0, "both": 0},
            "genes_kept": 1_500,
            "genes_measured": 1_500,
            "gene_alignment": {"genes": 2_000, "found": 1_500},
        },
    },
    "recipe": {"strategy": "quantile", "num_bins": 5, "totals": {"rna": 1e4}},
    "shards": 2,
    "bytes": 12_345_678,
    "provenance": {
        "scmultimodal": "0.1.0",
        "revision": "0123456789abcdef0123+",
        "command": "scmultimodal prepare " + "--rna a-long-name.h5ad " * 9,
        "files": [
            {"name": "a.h5ad", "bytes": 999, "sha256": "a" * 64},
            {"name": "genes.gtf.gz", "bytes": 1_000, "sha256": "b" * 64},
        ],
    },
}


def lines(**changes):
    facts = copy.deepcopy(FACTS) | changes
    return store_report.format_table(facts).splitlines()


def line(beginning, **changes):
    """What stands behind the beginning of the one line that has it."""
    (found,) = [text for text in lines(**changes) if text.startswith(beginning)]
    return found.removeprefix(beginning).strip()


def test_cells_come_first():
    first = lines()[0]
    assert first == (
        "mine, yours: 1,500 cells x 2,000 genes, RNA and ATAC (400 cells have both)"
    )
    assert "SIMULATED" in lines(simulated=True)[0]


def test_modalities_stand_side_by_side():
    assert line("cells  ").split() == ["1,500", "400"]
    assert line("non-zero genes per cell").split() == ["480", "-"]
    assert line("  5-95 % of cells").split() == ["200-1,200", "-"]
    assert line("density") == "25.00 %            0.00 %".replace(" " * 12, " " * 2)
    assert line("bins 1-5, training cells") == "20 20 20 30 10 %       -"


def test_what_is_not_even_is_never_called_even():
    assert line("  evenness").endswith("0.999       -")


def test_many_bins_are_told_by_the_least_and_the_most():
    rna = FACTS["modalities"]["rna"] | {"bins": [1] * 8 + [2, 10]}
    shown = line("bins 1-10", modalities={"rna": rna})
    assert shown.endswith("5.0 to 50.0 % each")


def test_names_are_counted_and_the_rest_is_told():
    text = " ".join(lines())
    assert "15: cell type 0 100, cell type 1 99" in text
    assert "and 7 more" in text
    assert line("left out") == "2: B 8, A 2"
    assert line("splits") == "train 1,000, validation 200, test 290, left out 10"
    assert line("kept") == (
        "1,500 of 1,600 cells; fewer than 1 % of the genes: 100 in ATAC"
    )
    assert not any(text.startswith("batches") for text in lines())


def test_datasets_have_a_row_each():
    table = lines()
    (header,) = [i for i, text in enumerate(table) if text.startswith("dataset")]
    assert table[header].endswith("fragments within 10/20/50 kb")
    assert table[header + 1].split() == [
        "mine", "400", "75.0", "%", "of", "2,400", "1,800", "80", "77", "reads",
        "50/65/75", "%",
    ]  # fmt: skip
    assert table[header + 2].split() == [
        "yours", "1,100", "-", "1,500", "-", "-", "-", "-"
    ]  # fmt: skip
    assert len({len(text) for text in table[header : header + 3]}) == 1


def test_columns_that_say_nothing_are_left_out():
    table = lines(datasets={"yours": FACTS["datasets"]["yours"]})
    (header,) = [text for text in table if text.startswith("dataset")]
    assert header.split() == ["dataset", "cells", "measured"]


def test_provenance_is_told_in_short():
    assert line("made by") == "scmultimodal 0.1.0, revision 0123456789ab+"
    assert line("size") == "12.3 MB, shards: 2"
    text = "\n".join(lines())
    assert "files             a.h5ad        999 bytes  sha256 aaaaaaaaaaaa\n" in text
    assert text.endswith("genes.gtf.gz       1 kB  sha256 bbbbbbbbbbbb")


@pytest.mark.parametrize("files", [["a.h5ad"], [{"name": "a.h5ad"}], {"a": 1}])
def test_provenance_of_another_form_is_left_to_json(files):
    shown = lines(provenance={"files": files})
    assert not any(text.startswith("files") for text in shown)
    assert line("made by", provenance={}).startswith("scmultimodal an unknown version")


def test_long_lines_are_wrapped_beside_their_title():
    table = lines()
    (first,) = [i for i, text in enumerate(table) if text.startswith("command")]
    assert table[first + 1].startswith(" " * store_report.INDENT + "--rna a-long")
    (last,) = [i for i, text in enumerate(table) if text.startswith("files")]
    assert max(map(len, table[first:last])) <= store_report.WIDTH

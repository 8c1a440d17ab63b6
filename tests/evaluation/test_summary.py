"""The schema of `summary.json`, and the table in the terminal."""

import json

import numpy as np
import pytest

from scmultimodal.evaluation import summary
from scmultimodal.evaluation.classification import ClassificationScores
from scmultimodal.schemas.modality import Regime


def result(model, modality, accuracy, macro_f1=0.5):
    scores = ClassificationScores(
        accuracy=accuracy, mcc=0.25, macro_f1=macro_f1, weighted_f1=0.75
    )
    return summary.Result(model=model, modality=modality, scores=scores)


FIELDS = {
    "dataset": "mouse_cortex",
    "seed": 3,
    "split": {"train": np.int64(7), "validation": 1, "test": 2},
    "left_out": {"Rare": np.int64(4)},
}


def test_summary_is_what_the_issue_asks_for(tmp_path):
    path = tmp_path / "run" / "summary.json"
    results = [result("scmultimodal", Regime.RNA, np.float64(0.5))]
    written = summary.write_summary(path, **FIELDS, results=results, simulated=True)
    assert json.loads(path.read_text()) == written
    assert written == {
        "dataset": "mouse_cortex",
        "seed": 3,
        "split": {"train": 7, "validation": 1, "test": 2},
        "left_out": {"Rare": 4},
        "results": [
            {
                "model": "scmultimodal",
                "modality": "rna",
                "accuracy": 0.5,
                "mcc": 0.25,
                "macro_f1": 0.5,
                "weighted_f1": 0.75,
            }
        ],
        "simulated": True,
    }


def test_a_score_that_is_no_number_leaves_the_old_summary(tmp_path):
    path = tmp_path / "summary.json"
    summary.write_summary(path, **FIELDS, results=[])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        summary.write_summary(path, **FIELDS, results=[result("a", "rna", np.nan)])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_table_groups_by_modality_and_stars_the_best():
    results = [
        result("scmultimodal", "rna", 0.81234),
        result("scmultimodal", "atac", 0.4, macro_f1=0.2),
        result("logistic_regression", "rna", 0.8122),
        result("logistic_regression", "atac", 0.5, macro_f1=0.1),
    ]
    lines = summary.format_table(results).splitlines()
    words = [line.split() for line in lines[2:]]
    assert [row[:3] for row in words] == [
        ["rna", "scmultimodal", "0.812*"],
        ["logistic_regression", "0.812*", "0.250*"],
        ["atac", "scmultimodal", "0.400"],
        ["logistic_regression", "0.500*", "0.250*"],
    ]
    assert words[2][4] == "0.200*"
    assert words[3][3] == "0.100"
    stops = {line.rstrip("* ").rfind(".") for line in lines[2:]}
    assert len(stops) == 1, "numbers are aligned"
    assert lines[0].split()[:3] == ["modality", "model", "accuracy"]


def test_an_empty_table_is_a_header():
    assert len(summary.format_table([]).splitlines()) == 2

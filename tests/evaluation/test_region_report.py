"""What a set of spans is like: numbers by hand."""

import json

import numpy as np
import pytest

from scmultimodal.evaluation import region_report
from scmultimodal.genome.region_splits import SPLITS

# Spans of three regions: value, length, GC, CpG, N share of each.
TRAIN_1 = [(1, 200, 0.5, 3, 0), (4, 300, 0.6, 9, 0), (0, 100, 0.4, 1, 0)]
TRAIN_2 = [(0, 150, 0.1, 5, 0), (2, 160, 0.2, 5, 0), (3, 170, 0.3, 5, 0.5)]
TIED = [(2, 100, 0.9, 5, 0), (2, 900, 0.1, 5, 0), (0, 500, 0.5, 5, 0)]
# Long and rich in GC where it is closed.
TEST = [(0, 900, 0.9, 2, 0), (1, 300, 0.5, 1, 0.1), (2, 200, 0.6, 1, 0)]


def describe(*spans, split, samples=None):
    table = np.array(spans, np.float32)
    return region_report.describe(
        values=table[:, :, 0],
        features=table[:, :, 1:],
        cut=table[:, :, 1] > 800,
        split=np.array([SPLITS.index(name) for name in split], np.uint8),
        sample_index=np.array(samples or [0] * len(spans), np.int16),
        samples=("T", "B"),
    )


def test_by_hand():
    report = describe(
        TRAIN_1,
        TEST,
        TRAIN_2,
        TIED,
        split=["train", "test", "train", "train"],
        samples=[0, 1, 1, 1],
    )
    assert json.loads(json.dumps(report)) == report
    assert list(report["splits"]) == ["train", "test"]
    assert report["samples"] == {
        "T": {"train": 1, "test": 0},
        "B": {"train": 2, "test": 1},
    }
    train, test = report["splits"]["train"], report["splits"]["test"]
    numbers = ("spans", "regions", "ties", "regions_cut", "regions_with_n")
    assert [train[name] for name in numbers] == [3, 9, 1, 1, 1]
    assert [test[name] for name in numbers] == [1, 3, 0, 1, 1]
    # Open: 200 300 160 170 100 900; closed: 100 150 500.
    assert train["length_bp_open"]["p50"] == 185
    assert train["length_bp_closed"] == {
        "p5": 105,
        "p25": 125,
        "p50": 150,
        "p75": 325,
        "p95": 465,
    }
    assert train["value_open"]["p50"] == 2
    # The tied span is not judged. Length and GC order both others; CpG orders one,
    # and leaves the other to chance.
    assert train["one_feature"] == {
        "length": 1,
        "gc": 1,
        "cpg": pytest.approx((1 + 1 / 6) / 2, abs=1e-4),
        # Equal twice: 1/6. Highest where the value is, others equal: 1/2.
        "n_share": pytest.approx((1 / 6 + 1 / 2) / 2, abs=1e-4),
    }
    assert test["one_feature"] == {"length": 0, "gc": 0, "cpg": 0, "n_share": 0}


def test_the_direction_is_that_of_the_training_spans():
    parts = ["train", *["test"] * 4]
    report = describe(TRAIN_1, *[TEST] * 4, split=parts)
    judged = {name: s["one_feature"]["gc"] for name, s in report["splits"].items()}
    assert judged == {"train": 1, "test": 0}


def test_without_training_spans_the_direction_is_that_of_all():
    report = describe(TEST, split=["test"])
    assert report["splits"]["test"]["one_feature"]["length"] == 1


def test_ties_alone_are_not_judged():
    report = describe(TRAIN_1, TIED, split=["train", "validation"])
    judged = report["splits"]["validation"]["one_feature"]
    assert judged == dict.fromkeys(judged, None)
    table = region_report.format_table(report)
    (row,) = (line for line in table.splitlines() if "by length" in line)
    assert row.split() == ["ranked", "by", "length", "1.000", "-"]


def test_the_table_shows_every_split_in_a_column():
    report = describe(TRAIN_1, TEST, TRAIN_2, split=["train", "test", "train"])
    table = region_report.format_table(report).splitlines()
    assert table[0].split() == ["train", "test"]
    assert len({len(line) for line in table}) == 1
    rows = {line[:26].strip(): line[26:].split() for line in table[1:]}
    assert rows["spans"] == ["2", "1"]
    assert rows["with a tie"] == ["0", "0"]
    assert rows["cut to fit"] == ["0", "1"]
    assert rows["with N"] == ["1", "1"]
    assert rows["ranked by gc"] == ["1.000", "0.000"]
    assert rows["ranked by chance"] == ["0.167", "0.167"]
    assert rows["bp, closed (5-95 %)"] == ["125", "(102.5-147.5)", "900", "(900-900)"]

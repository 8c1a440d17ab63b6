"""Runs side by side: what is compared with what, and what is not."""

import json
import math

import pytest

from scmultimodal.evaluation import comparison
from scmultimodal.evaluation.comparison import Part, Score

SAME = {"a": "x", "b": "x", "c": "y"}


def score(run, accuracy, model="ours", loss=1.0, **fields):
    values = {"accuracy": accuracy, "loss": loss}
    return Score(run=run, model=model, values=values, **fields)


def part(*scores, examples=SAME, name="rna"):
    return Part(name=name, scores=scores, examples=examples)


def bold(table):
    return {(row, table.frame.columns[column]) for row, column in table.bold}


def test_the_best_is_bold_among_what_can_be_compared():
    table = comparison.scores_table(
        part(
            score("a", 0.5, loss=2.0),
            score("b", 0.6, loss=3.0),
            score("c", 0.9, loss=0.1),
            score("a", 0.55, model="lr", loss=2.0, is_baseline=True),
        )
    )
    assert table.frame["run"].tolist() == ["a", "b", "c", "a"]
    assert bold(table) == {(1, "accuracy"), (0, "loss"), (3, "loss")}
    assert table.marked == {3}


def test_differences_are_to_the_same_model_of_the_first_run():
    found = part(
        score("a", 0.5),
        score("b", 0.6),
        score("b", 0.7, model="new"),
        score("c", 0.9),
    )
    table = comparison.scores_table(found)
    (ours_a, ours_b, ours_c, new) = table.frame["± accuracy"]
    assert ours_b == pytest.approx(0.1)
    assert all(map(math.isnan, (ours_a, ours_c, new)))
    assert table.signed == {"± accuracy", "± loss"}
    (row,) = (s for s in comparison.as_json(found)["scores"] if s["model"] == "new")
    assert row["difference_to_first"] == {"accuracy": None, "loss": None}


def test_one_run_has_neither_runs_nor_differences():
    frame = comparison.scores_table(part(score("a", 0.5))).frame
    assert list(frame) == ["model", "accuracy", "loss"]


def test_a_model_that_reached_the_same_has_one_row():
    baselines = [score(run, 0.7, model="lr", is_baseline=True) for run in "abc"]
    ours = [score("a", 0.5), score("b", 0.5, loss=0.5), score("c", 0.5)]
    frame = comparison.scores_table(part(*ours, *baselines)).frame
    rows = list(frame[["model", "run"]].itertuples(index=False, name=None))
    assert rows == [("ours", x) for x in "abc"] + [("lr", "a = b"), ("lr", "c")]
    everywhere = part(*baselines, examples=dict.fromkeys("abc", "x"))
    assert comparison.scores_table(everywhere).frame["run"].tolist() == ["all"]


def test_other_examples_are_told_and_so_are_unknown_ones():
    scores = [score("a", 0.5), score("b", 0.6), score("c", 0.9)]
    parts = [part(*scores), part(*scores, name="atac")]
    (told,) = comparison.warnings(parts)
    assert told.startswith("Not comparable (rna, atac): c, judged on other examples")
    (told,) = comparison.warnings([part(*scores, examples={"b": "x"})])
    assert "b, c, perhaps not judged on the same examples as a" in told
    assert not comparison.warnings([part(*scores[:2])])


def test_an_unknown_value_is_never_the_best():
    table = comparison.scores_table(part(score("a", math.nan), score("b", 0.1)))
    assert (1, "accuracy") in bold(table)
    assert (0, "accuracy") not in bold(table)
    assert math.isnan(table.frame["± accuracy"][1])


def classes(run, first, second, model="ours", names=("T", "B"), **fields):
    by_class = {
        names[0]: {"f1": first, "support": 7.0},
        names[1]: {"f1": second, "support": 3.0},
    }
    return score(run, 0.5, model=model, by_class=by_class, **fields)


def test_classes_side_by_side():
    lr = {"model": "lr", "is_baseline": True}
    found = part(
        classes("a", 0.1, 0.9),
        classes("a", 0.2, 0.2, **lr),
        classes("a", 0.99, 0.99, model="nb", is_baseline=True),
        classes("b", 0.4, 0.8),
        classes("b", 0.2, 0.2, **lr),
        classes("c", 1.0, 1.0),
    )
    table = comparison.class_table(found, "f1")
    assert list(table.frame) == ["support", "a", "b", "± b", "lr"]
    assert table.frame["support"].tolist() == [7, 3]
    assert table.frame["± b"].tolist() == pytest.approx([0.3, -0.1])
    assert bold(table) == {(0, "b"), (1, "a")}


def test_runs_that_know_other_classes_are_left_out():
    other = classes("b", 0.4, 0.8, names=("T", "NK"))
    shown = comparison.class_scores(part(classes("a", 0.1, 0.9), other), "f1")
    assert [s.run for s in shown.values()] == ["a"]
    assert comparison.class_scores(part(score("a", 0.5)), "f1") == {}


def test_only_settings_that_differ_are_listed():
    found = comparison.differing(
        {
            "a": {"seed": 0, "path": {"dim": 8, "layers": 2}, "by": [1, 2], "x": None},
            "b": {"seed": 0, "path": {"dim": 16, "layers": 2}, "by": [1], "x": None},
            "c": {"seed": 0, "path": {"dim": 8, "layers": 2}, "by": [1, 2], "more": {}},
        }
    )
    assert found == {
        "path.dim": {"a": 8, "b": 16, "c": 8},
        "by": {"a": [1, 2], "b": [1], "c": [1, 2]},
        "x": {"a": None, "b": None},
        "more": {"c": {}},
    }
    table = comparison.settings_table(found, ["a", "b", "c"])
    assert table.frame.loc["by"].tolist() == ["[1, 2]", "[1]", "[1, 2]"]
    assert table.frame.loc["x"].tolist() == ["null", "null", "–"]


def test_a_group_that_a_run_lacks_is_one_setting():
    decoder = {"dim": 3, "hidden": 4}
    found = comparison.differing({"a": {"decoder": decoder}, "b": {"decoder": None}})
    assert found == {"decoder": {"a": decoder, "b": None}}
    assert comparison.differing({"a": decoder}) == {}


def test_json_has_no_nan():
    text = json.dumps(
        comparison.as_json(part(score("a", math.nan), classes("b", math.nan, 1.0))),
        allow_nan=False,
    )
    content = json.loads(text)
    assert content["comparable"] == ["a", "b"]
    assert content["scores"][0]["values"] == {"accuracy": None, "loss": 1.0}
    assert content["scores"][1]["by_class"]["T"] == {"f1": None, "support": 7.0}

"""Rankers side by side: shares, gains and their table by hand."""

import json

import numpy as np
import pytest

from scmultimodal.evaluation import intervals, ranking, ranking_summary

VALUES = np.array([[0.0, 1, 2], [2, 1, 0], [0, 2, 1], [1, 1, 0], [1, 2, 0]])
"""Five spans; the fourth is tied."""
GROUPS = np.array([0, 0, 1, 1, 2])
RANKERS = {
    "model": VALUES * 2 + 1,  # all right
    "half": np.array([[0.0, 1, 2], [2, 1, 0], [2, 1, 0], [0, 1, 2], [2, 1, 0]]),
    "coarse": np.array([[0.0, 0, 1], [1, 1, 1], [0, 1, 1], [0, 1, 2], [0, 1, 0]]),
}

# Where equals are guessed between: of span 1 one order in six is right, of the others
# one in two.
DUE = np.array([1 / 2, 1 / 6, 1 / 2, np.nan, 1 / 2])


def judge(**options):
    found = ranking_summary.judge(RANKERS, VALUES, GROUPS, **options)
    assert [result.name for result in found] == list(RANKERS)
    return {result.name: result for result in found}


def test_shares_by_hand():
    found = judge()
    shares = {name: result.full_order.mean for name, result in found.items()}
    assert shares == {"model": 1, "half": 0.5, "coarse": pytest.approx(np.nanmean(DUE))}
    for name, result in found.items():
        assert result.gains == {}
        assert result.full_order.num_values == result.scores.num_spans == 4
        assert result.full_order.num_groups == 3
        assert result.scores == ranking.score(RANKERS[name], VALUES)
    # Groups 0, 1, 2 have 2 of 2, 0 of 1 and 0 of 1 right.
    half = found["half"].full_order
    assert (half.low, half.high) == (0, 1)
    # Among the other scores equals are wrong.
    assert found["coarse"].scores.full_order == 0


def test_gains_are_paired_over_whoever_is_asked_for():
    found = judge(over=["coarse", "half"])
    gains = {name: result.gains for name, result in found.items()}
    assert [list(gain) for gain in gains.values()] == [
        ["coarse", "half"],
        ["coarse"],
        ["half"],
    ]
    right = np.array([1, 1, 0, np.nan, 0])
    expected = intervals.cluster_interval(1 - DUE, GROUPS)
    assert gains["model"]["coarse"] == expected
    assert gains["model"]["half"].mean == 0.5
    expected = intervals.cluster_interval(right - DUE, GROUPS)
    assert gains["half"]["coarse"] == expected
    assert gains["coarse"]["half"].mean == pytest.approx(-expected.mean)


def test_pairing_is_by_span_and_resampling_by_group():
    """Two rankers right on the same spans differ nowhere, whatever is drawn."""
    twice = {"a": RANKERS["half"], "b": RANKERS["half"] * 3}
    a, _ = ranking_summary.judge(twice, VALUES, GROUPS, over=["b"])
    assert (a.gains["b"].mean, a.gains["b"].low, a.gains["b"].high) == (0, 0, 0)
    assert a.full_order.high - a.full_order.low == 1
    one = ranking_summary.judge(twice, VALUES, np.zeros(5, int))
    assert np.isnan([one[0].full_order.low, one[0].full_order.high]).all()


def test_rows_are_json():
    result = judge(over=["coarse"])["half"]
    row = json.loads(json.dumps(result.as_row()))
    assert row["name"] == "half"
    assert row["full_order"]["mean"] == 0.5
    assert row["scores"]["num_ties"] == 1
    assert row["gains"]["coarse"]["num_groups"] == 3
    one = ranking_summary.judge(RANKERS, VALUES, np.zeros(5, int), over=["coarse"])
    shown = json.dumps([result.as_row() for result in one], allow_nan=False)
    assert '"low": null' in shown


def test_the_table():
    found = ranking_summary.judge(
        {name: RANKERS[name] for name in ("model", "half")},
        VALUES,
        GROUPS,
        over=["half"],
    )
    pairwise = np.mean([1, 1, 1 / 3, 2 / 3])
    half = found[1].scores
    assert half.pairwise == pytest.approx(pairwise)
    lines = ranking_summary.format_table(found).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["model", "half", "chance"]
    names = "ranker full order 95 % pairwise ndcg mrr gain over half"
    assert " ".join(lines[0].split()) == names
    assert set(lines[1]) == {"-", " "}
    gain = "+0.500 [0.000, 1.000]"
    assert lines[2].endswith(f"1.000  [1.000, 1.000]     1.000  1.000  1.000  {gain}")
    numbers = f"{half.pairwise:.3f}  {half.ndcg:.3f}  {half.mrr:.3f}"
    assert lines[3] == f"half         0.500  [0.000, 1.000]     {numbers}"
    assert lines[4] == "chance       0.167"
    # Columns stand below their names.
    assert lines[0].index("95 %") + 4 == lines[2].index("]") + 1

"""Results of elements: what can be judged, what is said where it cannot."""

import math

import numpy as np

from scmultimodal.evaluation import segmentation
from scmultimodal.genome.elements import ELEMENTS

STEPS = 4


def counts(confusion, scores):
    """Of the first elements; the others were never judged."""
    rest = len(ELEMENTS) - len(confusion)
    return (
        np.concatenate([confusion, np.zeros((rest, 4))]),
        np.concatenate([scores, np.zeros((rest, 2, STEPS))]),
    )


CONFUSION, SCORES = counts(
    [[6, 2, 4, 88], [0, 0, 0, 50], [0, 0, 5, 45]],
    [
        [[80, 8, 1, 1], [2, 2, 2, 4]],
        [[50, 0, 0, 0], [0, 0, 0, 0]],
        [[40, 5, 0, 0], [0, 5, 0, 0]],
    ],
)


def test_by_hand():
    first, second, third, *rest = segmentation.judge(CONFUSION, SCORES)
    expected = (6 * 88 - 2 * 4) / math.sqrt(8 * 10 * 90 * 92)
    assert (first.share, first.mcc, first.f1) == (0.1, expected, 12 / 18)
    precision = [4 / 5, 6 / 8, 8 / 18, 10 / 100]
    gains = [0.4, 0.2, 0.2, 0.2]
    np.testing.assert_allclose(first.auprc, np.dot(precision, gains))
    # Never there: nothing to judge. Never said: no correlation.
    assert second.share == 0
    assert not second.is_judged
    assert math.isnan(second.mcc)
    assert (third.mcc, third.f1) == (0, 0)
    assert third.auprc == 0.5
    assert all(math.isnan(r.share) and not r.is_judged for r in rest)


def test_a_common_factor_changes_nothing():
    plain = segmentation.judge(CONFUSION, SCORES)
    for a, b in zip(plain, segmentation.judge(CONFUSION / 7, SCORES / 7), strict=True):
        np.testing.assert_allclose(
            [a.share, a.mcc, a.f1, a.auprc], [b.share, b.mcc, b.f1, b.auprc]
        )


def test_means_are_over_what_is_judged():
    results = segmentation.judge(CONFUSION, SCORES)
    assert segmentation.mean(results, "mcc") == (results[0].mcc + 0) / 2
    assert math.isnan(segmentation.mean(results[3:], "mcc"))
    found = segmentation.numbers({"confusion": CONFUSION, "score_counts": SCORES})
    assert found["mcc"] == segmentation.mean(results, "mcc")
    assert {n for n in found if n.startswith("mcc ")} == {
        f"mcc {ELEMENTS[0]}",
        f"mcc {ELEMENTS[2]}",
    }


def test_the_table_names_what_it_cannot_judge():
    table = segmentation.format_table(segmentation.judge(CONFUSION, SCORES))
    *rows, last = table.splitlines()
    assert len(rows) == 4
    assert last.startswith("no base to judge by: lncRNA, intron")
    assert segmentation.as_rows(segmentation.judge(CONFUSION, SCORES))[1]["mcc"] is None

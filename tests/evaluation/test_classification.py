"""Scores by hand, and against scikit-learn on any labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from scmultimodal.evaluation import classification
from scmultimodal.schemas.errors import InputError

# Three classes: the third is never right, a fourth occurs nowhere.
LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTIONS = np.array([0, 0, 1, 1, 1, 0])


def test_confusion_matrix_has_true_classes_in_rows():
    matrix = classification.confusion_matrix(LABELS, PREDICTIONS, 4)
    assert matrix.tolist() == [[2, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0] * 4]


def test_scores_by_hand():
    scores = classification.score(LABELS, PREDICTIONS, 4)
    f1 = [2 / 3, 4 / 5, 0]
    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.macro_f1 == pytest.approx(sum(f1) / 3)
    assert scores.weighted_f1 == pytest.approx((3 * f1[0] + 2 * f1[1]) / 6)
    # c·s − Σ p·t = 4·6 − (3·3 + 3·2 + 0·1) = 9; spreads 36 − 14 and 36 − 18.
    assert scores.mcc == pytest.approx(9 / np.sqrt(22 * 18))


def test_class_table_by_hand():
    table = classification.class_table(LABELS, PREDICTIONS, ["a", "b", "c", "d"])
    assert table.index.tolist() == ["a", "b", "c", "d"]
    assert table["precision"].tolist() == pytest.approx([2 / 3, 2 / 3, 0, 0])
    assert table["recall"].tolist() == pytest.approx([2 / 3, 1, 0, 0])
    assert table["f1"].tolist() == pytest.approx([2 / 3, 4 / 5, 0, 0])
    assert table["support"].tolist() == [3, 2, 1, 0]
    assert table["predicted"].tolist() == [3, 3, 0, 0]


pairs = st.integers(1, 7).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(
            st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)),
            min_size=1,
            max_size=60,
        ),
    )
)


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(pairs)
def test_scores_equal_scikit_learn(drawn):
    num_classes, cells = drawn
    labels, predictions = (np.array(side) for side in zip(*cells, strict=True))
    scores = classification.score(labels, predictions, num_classes)
    f1 = {"y_true": labels, "y_pred": predictions, "zero_division": 0}
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(labels, predictions))
    assert scores.mcc == pytest.approx(
        metrics.matthews_corrcoef(labels, predictions), abs=1e-12
    )
    assert scores.macro_f1 == pytest.approx(metrics.f1_score(**f1, average="macro"))
    assert scores.weighted_f1 == pytest.approx(
        metrics.f1_score(**f1, average="weighted")
    )


@given(pairs)
def test_class_table_equals_scikit_learn(drawn):
    num_classes, cells = drawn
    labels, predictions = (np.array(side) for side in zip(*cells, strict=True))
    names = [str(index) for index in range(num_classes)]
    table = classification.class_table(labels, predictions, names)
    expected = metrics.precision_recall_fscore_support(
        labels, predictions, labels=range(num_classes), zero_division=0
    )
    ours = table[["precision", "recall", "f1", "support"]].to_numpy().T
    np.testing.assert_allclose(ours, np.stack(expected), atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "predictions", "match"),
    [
        ([], [], "no cell to score"),
        ([0, -1], [0, 0], "class -1 lies outside 0…1"),
        ([0, 1], [0, 2], "predictions: class 2"),
    ],
)
def test_classes_out_of_range_are_named(labels, predictions, match):
    with pytest.raises(InputError, match=match):
        classification.score(
            np.array(labels, int), np.array(predictions, int), num_classes=2
        )

"""Orders of regions judged by hand and by brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scmultimodal.evaluation import ranking
from scmultimodal.schemas.errors import InputError

NUMBERS = arrays(np.float64, (4, 3), elements=st.integers(0, 3))


def test_scores_by_hand():
    values = np.array([[0.0, 1, 2], [5, 0, 3], [0, 1, 1], [1, 0, 2]])
    scores = np.array([[0.1, 0.2, 0.3], [1, 2, 3], [1, 2, 3], [1, 0, 1]])
    found = ranking.score(scores, values)
    # Span 2 is tied. Span 1 has the best last and one of three pairs right, span 3
    # leaves its best and second equal: both take rank 2.
    assert (found.num_spans, found.num_ties) == (3, 1)
    assert found.full_order == 1 / 3
    np.testing.assert_allclose(found.pairwise, (1 + 1 / 3 + 2 / 3) / 3)
    np.testing.assert_allclose(found.mrr, (1 + 1 / 3 + 1 / 2) / 3)
    ideal = 3 + 1 / np.log2(3)
    dcg = [ideal, 1 + 3 / np.log2(4), 4 / np.log2(3)]
    np.testing.assert_allclose(found.ndcg, np.mean(dcg) / ideal)


def test_all_orders_of_three_give_chance():
    orders = np.array(list(itertools.permutations(range(3))), np.float64)
    found = ranking.score(orders, np.tile([0.0, 1, 2], (6, 1)))
    assert found.full_order == ranking.CHANCE
    np.testing.assert_allclose(found.pairwise, 1 / 2)
    np.testing.assert_allclose(found.mrr, 11 / 18)


@settings(max_examples=60)
@given(scores=NUMBERS, values=NUMBERS)
def test_equal_scores_at_chance_are_the_mean_over_all_ways_to_break_them(
    scores, values
):
    found = ranking.full_order(scores, values, equal_scores="chance")
    for span in range(4):
        if len(set(values[span])) < 3:
            assert np.isnan(found[span])
            continue
        # Orders that the scores allow, of which the values' is one or none.
        allowed = [
            order
            for order in itertools.permutations(range(3))
            if (np.diff(scores[span][list(order)]) >= 0).all()
        ]
        right = tuple(np.argsort(values[span]))
        assert found[span] == pytest.approx((right in allowed) / len(allowed))
    strict = ranking.full_order(scores, values)
    assert (np.isnan(strict) == np.isnan(found)).all()
    assert (np.nan_to_num(strict) <= np.nan_to_num(found)).all()


@settings(max_examples=40)
@given(scores=NUMBERS, values=NUMBERS, shift=st.integers(-5, 5))
def test_only_the_order_of_scores_counts(scores, values, shift):
    before = ranking.span_metrics(scores, values)
    after = ranking.span_metrics(np.exp(scores) + shift, values)
    for name, metric in before.items():
        np.testing.assert_array_equal(after[name], metric)


def test_a_constant_score_is_right_nowhere_but_by_chance():
    values = np.tile([0.0, 1, 2], (5, 1))
    nothing = np.zeros((5, 3))
    assert ranking.full_order_accuracy(nothing, values) == 0
    at_chance = ranking.full_order_accuracy(nothing, values, equal_scores="chance")
    assert at_chance == pytest.approx(ranking.CHANCE)


def test_no_span_with_an_order_has_no_accuracy():
    values = np.zeros((2, 3))
    assert np.isnan(ranking.full_order_accuracy(values, values))
    with pytest.raises(InputError, match="no span"):
        ranking.score(values, values)


def test_a_feature_ranks_in_the_direction_that_its_training_spans_tell():
    values = np.array([[0.0, 1, 2], [1, 2, 0], [2, 0, 1]])
    features = np.stack([values, -values, np.ones_like(values)], -1)
    # In the last span, which is not trained on, both features point the other way.
    features[2] *= -1
    rankers = ranking.one_feature_rankers(
        features, values, ("gc", "length", "n"), fit_on=np.array([0, 1])
    )
    assert list(rankers) == ["gc", "length", "n"]
    for name in ("gc", "length"):
        right = ranking.full_order(rankers[name], values)
        np.testing.assert_array_equal(right, [1, 1, 0])
    np.testing.assert_array_equal(ranking.full_order(rankers["n"], values), 0)


@pytest.mark.parametrize(
    ("scores", "values", "problem"),
    [
        (np.zeros((2, 3)), np.zeros((3, 3)), "shape"),
        (np.zeros((2, 3)), np.array([[0, 1, 2], [0, np.nan, 1]]), "span 1"),
    ],
)
def test_what_cannot_be_scored_is_refused(scores, values, problem):
    with pytest.raises(InputError, match=problem):
        ranking._check(scores, values)  # the type checker of tests is there before it


def test_a_value_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="span 0"):
        ranking.score(np.zeros((1, 3)), np.array([[0, np.inf, 1]]))

"""Ranking losses and metrics: by hand, as properties, and against plain numpy."""

import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scmultimodal.evaluation import ranking as numpy_ranking
from scmultimodal.ops import ranking

LOSSES = typing.get_args(ranking.LossName)
METRICS = ["full_order", "pairwise", "ndcg", "mrr"]
SPANS = 6
# Few different numbers: scores and values tie often.
NUMBERS = arrays(np.float32, (SPANS, 3), elements=st.integers(-3, 3))
ORDERS = st.lists(st.permutations(range(3)), min_size=SPANS, max_size=SPANS)


def array(*rows):
    return jnp.array(rows, jnp.float32)


def everywhere(scores):
    return jnp.ones(len(scores), bool)


def test_relevance_is_the_rank_or_the_value():
    values = array([0, 7.5, 1.25], [2, 2, 0])
    np.testing.assert_array_equal(ranking.relevance(values), [[0, 2, 1], [1, 1, 0]])
    np.testing.assert_array_equal(ranking.relevance(values, "counts"), values)


def test_a_span_is_tied_where_any_two_values_are_equal():
    values = array([0, 1, 2], [2, 0, 2], [0, 0, 1], [1, 1, 1])
    np.testing.assert_array_equal(ranking.tied(values), [False, True, True, True])


def test_softmax_loss_by_hand():
    scores, labels = array([1, 0, -1], [5, 5, 5]), array([0, 1, 2], [2, 1, 0])
    total, weight = ranking.loss(
        scores=scores, labels=labels, where=jnp.array([True, False])
    )
    # −Σ label · (score − log Σ exp score)
    log_sum = np.log(np.e + 1 + 1 / np.e)
    np.testing.assert_allclose(total, -(0 - log_sum) - 2 * (-1 - log_sum), rtol=1e-6)
    assert weight == 1


def test_pairwise_hinge_loss_by_hand():
    total, weight = ranking.loss(
        name="pairwise_hinge",
        scores=array([1, 0.5, 3], [0, 0, 0]),
        labels=array([0, 1, 2], [0, 1, 2]),
        where=jnp.ones(2, bool),
    )
    # Right pairs of span 0: 0.5 − 1 → 1.5, 3 − 1 → 0, 3 − 0.5 → 0; of span 1: 3 × 1.
    assert (total, weight) == (4.5, 2)


def test_metrics_by_hand():
    scores = array([1, 2, 3], [3, 2, 1], [2, 1, 3], [0, 0, 0])
    labels = array([0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 2])
    found = ranking.measure(scores=scores, labels=labels, where=everywhere(scores))
    ideal = 3 / np.log2(2) + 1 / np.log2(3)
    dcg = [ideal, 1 / np.log2(3) + 3 / np.log2(4), 3 + 1 / np.log2(4), 4 / np.log2(4)]
    expected = {
        "full_order": 1,
        "pairwise": 1 + 0 + 2 / 3 + 0,
        "ndcg": sum(dcg) / ideal,
        "mrr": 1 + 1 / 3 + 1 + 1 / 3,
    }
    for name, total in expected.items():
        np.testing.assert_allclose(found[name], (total, 4), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_a_sum_over_spans_whose_mask_is_exact(name):
    """A masked span adds neither loss nor gradient, whatever stands in it."""
    rng = np.random.default_rng(0)
    scores = jnp.array(rng.normal(size=(5, 3)), jnp.float32)
    labels = array(*[rng.permutation(3) for _ in range(5)])
    where = jnp.array([True, True, False, True, False])

    def total(scores, labels, where):
        return ranking.loss(name=name, scores=scores, labels=labels, where=where)

    (whole, weight), gradient = jax.value_and_grad(total, has_aux=True)(
        scores, labels, where
    )
    single = [total(*(a[i : i + 1] for a in (scores, labels, where))) for i in range(5)]
    np.testing.assert_allclose(whole, sum(loss for loss, _ in single), rtol=1e-5)
    assert weight == 3
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).sum(1) > 0).tolist() == where.tolist()
    wild = jnp.where(where[:, None], scores, 1e4)
    np.testing.assert_allclose(total(wild, labels, where)[0], whole, rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_falls_with_the_score_of_the_best_region(name):
    labels = array([0, 1, 2])

    def total(scores):
        where = jnp.ones(1, bool)
        return ranking.loss(name=name, scores=scores, labels=labels, where=where)[0]

    gradient = jax.grad(total)(array([0.2, -0.1, 0.05]))[0]
    assert gradient[2] < 0
    assert gradient[2] < gradient[0]


@pytest.mark.parametrize("name", LOSSES)
def test_an_empty_mask_gives_zero_over_zero_with_a_finite_gradient(name):
    def total(scores):
        return ranking.loss(
            name=name, scores=scores, labels=array([0, 0, 0]), where=jnp.zeros(1, bool)
        )

    (value, weight), gradient = jax.value_and_grad(total, has_aux=True)(
        array([0, 0, 0])
    )
    assert (value, weight) == (0, 0)
    np.testing.assert_array_equal(gradient, 0)


def test_metrics_of_an_empty_mask_are_zero_over_zero():
    nothing = array([0, 0, 0])
    found = ranking.measure(scores=nothing, labels=nothing, where=jnp.zeros(1, bool))
    assert list(found) == METRICS
    assert all((total, weight) == (0, 0) for total, weight in found.values())


@settings(max_examples=40)
@given(scores=NUMBERS, values=NUMBERS, orders=ORDERS)
def test_the_order_of_presentation_changes_nothing(scores, values, orders):
    """Ties of scores included: nothing is right by luck."""
    order = np.array(orders)
    shuffled = [np.take_along_axis(a, order, 1) for a in (scores, values)]
    for name, (total, weight) in _measure(scores, values).items():
        np.testing.assert_allclose(
            _measure(*shuffled)[name], (total, weight), rtol=1e-5, err_msg=name
        )


@settings(max_examples=60)
@given(scores=NUMBERS, values=NUMBERS)
def test_metrics_are_those_of_plain_numpy(scores, values):
    expected = numpy_ranking.span_metrics(
        scores.astype(np.float64), values.astype(np.float64)
    )
    for name, (total, weight) in _measure(scores, values).items():
        known = expected[name][~np.isnan(expected[name])]
        np.testing.assert_allclose(total, known.sum(), rtol=1e-5, atol=1e-6)
        assert weight == known.size


@settings(max_examples=30)
@given(scores=NUMBERS)
def test_equal_scores_are_never_right(scores):
    values = np.tile(np.float32([0, 1, 2]), (SPANS, 1))
    equal = np.array([len(set(row)) < 3 for row in scores.tolist()])
    total, _ = ranking.full_order(
        scores=jnp.array(scores), labels=jnp.array(values), where=jnp.array(equal)
    )
    assert total == 0


def test_a_score_that_is_no_number_is_wrong():
    scores, labels = array([np.nan, 1, 2]), array([0, 1, 2])
    found = ranking.measure(scores=scores, labels=labels, where=everywhere(scores))
    assert found["full_order"][0] == 0
    assert found["mrr"][0] == 1 / 2
    assert all(np.isfinite(total) for total, _ in found.values())


def _measure(scores, values):
    values = jnp.array(values)
    return _jitted(jnp.array(scores), ranking.relevance(values), ~ranking.tied(values))


@jax.jit
def _jitted(scores, labels, where):
    return ranking.measure(scores=scores, labels=labels, where=where)

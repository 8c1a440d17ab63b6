"""Losses by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from scmultimodal.ops import losses, metrics


def test_cross_entropy_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    value = losses.token_cross_entropy(logits=logits, labels=jnp.array([0, 2]))
    np.testing.assert_allclose(value, [-np.log(0.5), -np.log(0.8)], rtol=1e-6)


def test_masked_cross_entropy_sums_what_counts():
    logits = jnp.log(jnp.array([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]]))
    total, weight = losses.masked_cross_entropy(
        logits=logits,
        labels=jnp.array([0, 1, -1]),
        where=jnp.array([True, True, False]),
    )
    np.testing.assert_allclose(total, -np.log(0.5) - np.log(0.8), rtol=1e-6)
    assert weight == 2


def test_an_empty_mask_gives_zero_over_zero_with_a_finite_gradient():
    def total(logits):
        return losses.masked_cross_entropy(
            logits=logits, labels=jnp.array([-1]), where=jnp.array([False])
        )[0]

    value, gradient = jax.value_and_grad(total)(jnp.array([[1.0, 2.0]]))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_cell_mean_by_hand():
    mean, has_any = losses.cell_mean(
        values=jnp.array([[1.0, 3.0, 9.0], [1.0, 2.0, 3.0]]),
        where=jnp.array([[True, True, False], [False, False, False]]),
    )
    np.testing.assert_array_equal(mean, [2, 0])
    np.testing.assert_array_equal(has_any, [True, False])


def test_share_true_by_hand():
    right, of = metrics.share_true(
        values=jnp.array([True, False, True]), where=jnp.array([True, True, False])
    )
    assert (right, of) == (1, 2)

"""What counts as a spike, by hand and against numpy."""

import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.training import spikes


def test_the_limit_by_hand():
    # The median is 5, the deviations 4 3 2 1 0 1 2 3 4: their median is 2.
    recent = jnp.arange(1.0, 10.0)
    limit = 5 + 3 * 1.4826 * 2
    assert spikes.is_spike(jnp.float32(limit + 0.01), recent, 3.0)
    assert not spikes.is_spike(jnp.float32(limit - 0.01), recent, 3.0)
    assert not spikes.is_spike(jnp.float32(-1e9), recent, 3.0)


def test_outliers_before_do_not_move_the_limit():
    recent = np.random.default_rng(0).normal(2, 0.1, spikes.WINDOW)
    recent[::3] = 1e6
    assert spikes.is_spike(jnp.float32(9.0), jnp.asarray(recent, jnp.float32), 10.0)


def test_nothing_is_a_spike_until_the_window_is_full():
    recent = spikes.nothing_yet()
    for _ in range(spikes.WINDOW - 1):
        recent = spikes.remember(jnp.float32(1.0), recent)
        assert not spikes.is_spike(jnp.float32(1e9), recent, 10.0)
    recent = spikes.remember(jnp.float32(1.1), recent)
    assert spikes.is_spike(jnp.float32(1e9), recent, 10.0)


def test_a_loss_that_rose_for_good_is_a_spike_for_half_a_window():
    rng, recent = np.random.default_rng(0), spikes.nothing_yet()
    for loss in rng.normal(1, 0.01, spikes.WINDOW):
        recent = spikes.remember(jnp.float32(loss), recent)
    skipped = 0
    for loss in rng.normal(5, 0.01, spikes.WINDOW):
        skipped += bool(spikes.is_spike(jnp.float32(loss), recent, 10.0))
        recent = spikes.remember(jnp.float32(loss), recent)
    assert spikes.WINDOW // 4 < skipped <= spikes.WINDOW // 2


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_what_is_not_finite_is_not_remembered(loss):
    recent = jnp.arange(3.0)
    np.testing.assert_array_equal(spikes.remember(jnp.float32(loss), recent), recent)
    np.testing.assert_array_equal(
        spikes.remember(jnp.float32(7), recent), [1.0, 2.0, 7.0]
    )

"""Masks: shares, independence of devices, and what is never masked."""

import jax
import jax.numpy as jnp
import numpy as np

from scmultimodal.ops import masking

KEY = jax.random.PRNGKey(3)


def values(cells=64, tokens=200):
    drawn = np.random.default_rng(0).integers(0, 6, (cells, tokens))
    return drawn.astype(np.uint8)


def mask(v, row, share=0.15, replaced_share=0.9):
    return masking.mask_values(
        KEY,
        jnp.asarray(v),
        jnp.asarray(row),
        share=share,
        replaced_share=replaced_share,
        mask_value=6,
    )


def test_only_non_zero_values_are_masked_in_the_right_shares():
    v = values()
    masked = mask(v, np.arange(64))
    where, replaced = np.asarray(masked.where), np.asarray(masked.values) == 6
    assert not where[v == 0].any()
    assert abs(where[v > 0].mean() - 0.15) < 0.01
    assert abs(replaced[where].mean() - 0.9) < 0.02
    np.testing.assert_array_equal(np.asarray(masked.values)[~replaced], v[~replaced])
    assert not replaced[~where].any()


def test_a_row_is_masked_alike_wherever_it_stands():
    v, row = values(), np.arange(64)
    whole = mask(v, row)
    part = mask(v[40:48], row[40:48])
    np.testing.assert_array_equal(whole.where[40:48], part.where)
    np.testing.assert_array_equal(whole.values[40:48], part.values)


def test_rows_are_masked_differently():
    v = np.ones((2, 300), np.uint8)
    where = np.asarray(mask(v, np.arange(2), share=0.5).where)
    assert 0.3 < (where[0] != where[1]).mean() < 0.7


def test_positions_by_hand():
    where = jnp.asarray([[False, True, False, True, True], [False] * 5])
    np.testing.assert_array_equal(
        masking.positions(where, 4), [[1, 3, 4, 0], [0, 1, 2, 3]]
    )
    np.testing.assert_array_equal(masking.positions(where, 2)[0], [1, 3])


def test_a_draw_stays_below_what_it_may_choose_in_practice():
    assert masking.most_chosen(10_000, 0.15) == 1_500 + 215
    assert masking.most_chosen(12, 0.4) == 12
    drawn = masking.draw(jax.random.PRNGKey(0), jnp.arange(500), 400, 0.15).sum(1)
    assert drawn.max() <= masking.most_chosen(400, 0.15) < 110

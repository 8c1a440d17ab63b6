"""What cells are asked: balanced, allowed, and by the row of the global batch."""

import jax
import numpy as np

from scmultimodal.ops import queries

RNG = jax.random.PRNGKey(3)
CELLS, THINGS = 40, 25
ROW = np.arange(CELLS, dtype=np.int32)


def expression():
    rng = np.random.default_rng(0)
    true = rng.random((CELLS, THINGS)) < rng.random((CELLS, 1)) * 0.6
    true[0], true[1] = False, True
    allowed = rng.random((CELLS, THINGS)) < 0.8
    return true, allowed


def test_as_many_true_as_not_each_once_and_only_what_is_allowed():
    true, allowed = expression()
    found = queries.balanced(RNG, ROW, true, allowed, 8)
    ids, where = (np.asarray(a) for a in found)
    assert ids.shape == (CELLS, 8)
    for cell in range(CELLS):
        asked = ids[cell][where[cell]]
        kinds = [(k[cell] & allowed[cell]).sum() for k in (true, ~true)]
        assert len(set(asked)) == len(asked) == 2 * min(4, *kinds)
        assert true[cell, asked].sum() * 2 == len(asked)
        assert allowed[cell, asked].all()
    assert where[[0, 1]].sum() == 0
    assert where.sum() > 4 * CELLS


def test_every_gene_is_asked_about_in_time():
    true, allowed = (
        np.tile(np.arange(THINGS) % 2 == 0, (1, 1)),
        np.ones((1, THINGS), bool),
    )
    seen = set()
    for step in range(60):
        found = queries.balanced(jax.random.PRNGKey(step), ROW[:1], true, allowed, 4)
        seen |= set(np.asarray(found.ids)[0].tolist())
    assert seen == set(range(THINGS))


def test_draws_are_of_the_row_and_not_of_the_place():
    true, allowed = expression()
    whole = queries.balanced(RNG, ROW, true, allowed, 6)
    part = queries.balanced(RNG, ROW[7:9], true[7:9], allowed[7:9], 6)
    np.testing.assert_array_equal(part.ids, whole.ids[7:9])
    other = queries.balanced(RNG, ROW[7:9] + 1, true[7:9], allowed[7:9], 6)
    assert (np.asarray(other.ids) != part.ids).any()


def test_some_of_what_is_allowed_each_once():
    true, allowed = expression()
    found = queries.some_of(RNG, ROW, true & allowed, 6)
    ids, where = (np.asarray(a) for a in found)
    for cell in range(CELLS):
        asked = ids[cell][where[cell]]
        assert len(set(asked)) == len(asked) == min(6, (true & allowed)[cell].sum())
        assert (true & allowed)[cell, asked].all()
    part = queries.some_of(RNG, ROW[7:9], (true & allowed)[7:9], 6)
    np.testing.assert_array_equal(part.ids, ids[7:9])
    assert queries.some_of(RNG, ROW, true, 2 * THINGS).ids.shape == (CELLS, THINGS)


def peaks(cells=30, width=40, num_peaks=300):
    rng = np.random.default_rng(1)
    ids = np.sort(np.argsort(rng.random((cells, num_peaks)), 1)[:, :width], 1)
    lengths = rng.integers(0, width + 1, cells)
    lengths[0] = 0
    mask = np.arange(width) < lengths[:, None]
    return np.where(mask, ids, 0).astype(np.int32), mask


def hide(ids, mask, row=None, **fields):
    row = np.arange(len(ids), dtype=np.int32) if row is None else row
    fields = {"share": 0.3, "num_peaks": 300} | fields
    return jax.tree.map(np.asarray, queries.hide_peaks(RNG, row, ids, mask, **fields))


def test_hidden_peaks_and_as_many_closed_ones():
    ids, mask = peaks()
    found = hide(ids, mask)
    assert not found.hidden[~mask].any()
    assert 0.2 < found.hidden.sum() / mask.sum() < 0.4
    for cell in range(len(ids)):
        asked, where = found.queries.ids[cell], found.queries.where[cell]
        open_ = found.is_open[cell]
        assert asked[where & open_].tolist() == ids[cell][found.hidden[cell]].tolist()
        closed = asked[where & ~open_]
        assert len(closed) == found.hidden[cell].sum()
        assert not set(closed) & set(ids[cell][mask[cell]])
    assert not found.queries.where[0].any()


def test_where_nearly_all_peaks_are_open_few_are_asked_about():
    """As many as are closed among those that were drawn, and of both kinds."""
    ids = np.tile(np.arange(20, dtype=np.int32), (4, 1))
    found = hide(ids, np.ones((4, 20), bool), num_peaks=20)
    assert not found.queries.where.any()
    few = hide(ids, np.ones((4, 20), bool), num_peaks=21)
    kinds = [few.queries.where & (few.is_open == kind) for kind in (True, False)]
    assert (kinds[0].sum(1) == kinds[1].sum(1)).all()
    assert set(few.queries.ids[kinds[1]].tolist()) <= {20}


def test_hidden_peaks_are_of_the_row():
    ids, mask = peaks()
    whole, part = hide(ids, mask), hide(ids[5:8], mask[5:8], np.arange(5, 8))
    np.testing.assert_array_equal(part.hidden, whole.hidden[5:8])
    np.testing.assert_array_equal(part.queries.ids, whole.queries.ids[5:8])

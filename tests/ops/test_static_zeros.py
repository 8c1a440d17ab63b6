"""Silent genes that all cells share, against a layer with every gene as a token."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.ops import favor, static_zeros
from tests.ops.test_favor import (
    CELLS,
    DIM,
    TOKENS,
    inputs,
    parameters,
    random_mask,
    written_out,
)

pytestmark = pytest.mark.usefixtures("lightly_compiled")

GENES = 17


def cells_and_empty():
    """(x, empty, gene_ids): each cell has other genes, in no order."""
    x, projection = inputs()
    rng = np.random.default_rng(7)
    empty = np.float32(rng.normal(size=(1, GENES, DIM)))
    ids = np.stack([rng.permutation(GENES)[:TOKENS] for _ in range(CELLS)])
    return x, empty, np.int32(ids), projection


@functools.partial(jax.jit, static_argnames=("chunk", "approximate_gelu"))
def layer(p, projection, x, empty, ids, mask=None, *, chunk=4, at=None, **how):
    """Of whole arrays: (the new tokens, the new empty cell)."""
    mask = jnp.ones(ids.shape, bool) if mask is None else mask
    chunks = favor.split(x, min(chunk, TOKENS))
    rows = None if at is None else favor.split(favor.rows_at(chunks, at), 1)
    y, background = static_zeros.chunked_layer(
        p,
        projection,
        chunks,
        favor.split(mask, min(chunk, TOKENS)),
        static_zeros.begin(empty, ids, chunk=chunk),
        rows=rows,
        **how,
    )
    number = TOKENS if at is None else at.shape[1]
    return favor.merge(y, number), favor.merge(background.empty, empty.shape[1])


def every_gene(x, empty, ids, mask):
    """The tokens at their genes, and the empty cell's vectors at all others."""
    ids = jnp.where(mask, ids, GENES)
    whole = jnp.broadcast_to(empty, (CELLS, GENES, DIM))
    return jax.vmap(lambda w, i, t: w.at[i].set(t, mode="drop"))(whole, ids, x)


@pytest.mark.parametrize("chunk", [1, 4, 128])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_definition_whatever_the_chunk(chunk, masked):
    x, empty, ids, projection = cells_and_empty()
    mask = random_mask() if masked else np.ones((CELLS, TOKENS), bool)
    found, still_empty = layer(
        parameters(),
        projection,
        x,
        empty,
        ids,
        mask if masked else None,
        chunk=chunk,
        approximate_gelu=False,
    )
    whole = jax.jit(every_gene)(x, empty, ids, mask)
    heard = np.repeat(empty, CELLS, 0)
    every = np.ones((CELLS, GENES), bool)
    expected = written_out(parameters(), projection, whole, every, heard)
    expected = np.take_along_axis(expected, ids[..., None], 1)
    np.testing.assert_allclose(np.asarray(found)[mask], expected[mask], atol=2e-5)
    expected = written_out(parameters(), projection, empty, every[:1])
    np.testing.assert_allclose(still_empty, expected, atol=2e-5)


def test_gradients_are_those_of_every_gene_as_a_token(monkeypatch):
    """Without ε the stabilisers, which differ, cancel."""
    monkeypatch.setattr(favor, "EPSILON", 0.0)
    x, empty, ids, projection = cells_and_empty()
    mask = random_mask()

    # Not the compiled layer, which other tests have traced with ε.
    def ours(p, x, empty):
        y, _ = layer.__wrapped__(p, projection, x, empty, ids, mask, chunk=4)
        return jnp.where(mask[..., None], y**2, 0).sum()

    def all_genes(p, x, empty):
        whole = favor.layer(p, projection, every_gene(x, empty, ids, mask))
        y = jnp.take_along_axis(whole, ids[..., None], 1)
        return jnp.where(mask[..., None], y**2, 0).sum()

    found, expected = (
        jax.jit(jax.value_and_grad(f, (0, 1, 2)))(parameters(), x, empty)
        for f in (ours, all_genes)
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


def test_rows_that_are_asked_for_are_those_of_the_whole():
    x, empty, ids, projection = cells_and_empty()
    mask, at = random_mask(), np.int32([[9, 0], [1, 5], [7, 7]])
    whole, _ = layer(parameters(), projection, x, empty, ids, mask)
    some, _ = layer(parameters(), projection, x, empty, ids, mask, at=at)
    expected = np.take_along_axis(np.asarray(whole), at[..., None], 1)
    np.testing.assert_allclose(some, expected, atol=1e-5)


def test_a_cell_that_expresses_every_gene_has_no_silent_one():
    x, empty, ids, projection = cells_and_empty()
    few = empty[:, :TOKENS]
    order = np.argsort(ids, 1).astype(np.int32)
    found, _ = layer(parameters(), projection, x, few, order, approximate_gelu=False)
    every = np.ones((CELLS, TOKENS), bool)
    expected = written_out(parameters(), projection, x, every, np.repeat(few, CELLS, 0))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_key_that_outweighs_all_others_can_be_taken_out():
    """What remains is far below the rounding of the sums: ε keeps it finite."""
    x, empty, ids, projection = cells_and_empty()
    p = parameters()
    p = p._replace(key=30 * p.key)

    def total(p, x):
        return layer(p, projection, x, empty, ids)[0].sum()

    y, gradient = jax.jit(jax.value_and_grad(total, argnums=1))(p, x)
    assert np.isfinite(y)
    assert np.isfinite(gradient).all()

"""What a cell is asked about: some of many things, as many that are as that are not."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int, PRNGKeyArray, UInt32

from scmultimodal.ops import masking
from scmultimodal.schemas.batches import Array

Key = PRNGKeyArray | UInt32[Array, "2"]


class Queries(NamedTuple):
    """Things that a cell is asked about."""

    ids: Int[Array, "cells queries"]
    where: Bool[Array, "cells queries"]
    """False where there is nothing to ask."""


class HiddenPeaks(NamedTuple):
    """Open peaks that are not shown, beside closed ones."""

    hidden: Bool[Array, "cells peaks"]
    """Which tokens are not shown."""
    queries: Queries
    """Peaks that are asked about: those hidden, then those closed."""
    is_open: Bool[Array, "cells queries"]


def balanced(
    rng: Key,
    row: Int[Array, " cells"],
    true: Bool[Array, "cells things"],
    allowed: Bool[Array, "cells things"],
    size: int,
) -> Queries:
    """Draws as many things that are true as that are not, at most `size` in all.

    Args:
        rng: key of this step.
        row: position of each cell in the global batch.
        true: of each thing.
        allowed: things that may be asked about.
        size: 2 or more. A cell that has too few of a kind is asked about fewer of both.
    """
    things = true.shape[1]
    half = min(size // 2, things)
    keys = masking.per_cell_keys(rng, row)
    draws = jax.vmap(lambda key: jax.random.uniform(key, (things,)))(keys)
    found = [
        jax.lax.top_k(jnp.where(kind & allowed, draws, -1), half)
        for kind in (true, ~true)
    ]
    number = jnp.minimum(*((draw >= 0).sum(1) for draw, _ in found))
    where = jnp.arange(half) < number[:, None]
    return Queries(
        jnp.concatenate([ids for _, ids in found], 1), jnp.tile(where, (1, 2))
    )


def some_of(
    rng: Key,
    row: Int[Array, " cells"],
    allowed: Bool[Array, "cells things"],
    size: int,
) -> Queries:
    """Draws things that may be asked about, at most `size` of each cell, none twice.

    Args:
        rng: key of this step.
        row: position of each cell in the global batch.
        allowed: things that may be asked about.
        size: 1 or more.
    """
    things = allowed.shape[1]
    keys = masking.per_cell_keys(rng, row)
    draws = jax.vmap(lambda key: jax.random.uniform(key, (things,)))(keys)
    found, ids = jax.lax.top_k(jnp.where(allowed, draws, -1), min(size, things))
    return Queries(ids, found >= 0)


def hide_peaks(
    rng: Key,
    row: Int[Array, " cells"],
    ids: Int[Array, "cells peaks"],
    mask: Bool[Array, "cells peaks"],
    *,
    share: float,
    num_peaks: int,
) -> HiddenPeaks:
    """Hides a share of the open peaks, and draws as many that are closed.

    Args:
        rng: key of this step.
        row: position of each cell in the global batch.
        ids: open peaks of each cell, ascending, padding at the end. A peak that is not
            among them counts as closed.
        mask: True at those that may be hidden.
        share: of them that is hidden.
        num_peaks: peaks there are.
    """
    to_hide, to_draw = jax.random.split(rng)
    width = ids.shape[1]
    most = masking.most_chosen(width, share)
    hidden = masking.draw(to_hide, row, width, share) & mask
    # What is beyond `most` stays visible.
    hidden &= hidden.cumsum(1) <= most
    at = masking.positions(hidden, most)
    keys = masking.per_cell_keys(to_draw, row)
    drawn = jax.vmap(lambda key: jax.random.randint(key, (2 * most,), 0, num_peaks))(
        keys
    )
    closed = ~_among(drawn, jnp.where(mask, ids, num_peaks))
    number = jnp.minimum(jnp.minimum(hidden.sum(1), closed.sum(1)), most)[:, None]
    negative = jnp.take_along_axis(drawn, masking.positions(closed, most), 1)
    asked = jnp.tile(jnp.arange(most) < number, (1, 2))
    together = jnp.concatenate([jnp.take_along_axis(ids, at, 1), negative], 1)
    is_open = jnp.broadcast_to(jnp.arange(2 * most) < most, together.shape)
    return HiddenPeaks(hidden, Queries(together, asked), is_open)


def _among(
    drawn: Int[Array, "cells draws"], ids: Int[Array, "cells peaks"]
) -> Bool[Array, "cells draws"]:
    """Which draws are among a cell's ascending ids."""

    def one(drawn: Array, ids: Array) -> Array:
        place = jnp.minimum(jnp.searchsorted(ids, drawn), ids.shape[0] - 1)
        return ids[place] == drawn

    return jax.vmap(one)(drawn, ids)

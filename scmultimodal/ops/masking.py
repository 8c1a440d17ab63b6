"""Which values the model must predict, and which tokens it never sees."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int, Integer, PRNGKeyArray, UInt32

from scmultimodal.schemas.batches import Array


class MaskedValues(NamedTuple):
    """Values with some replaced by the mask value."""

    values: Integer[Array, "cells tokens"]
    where: Bool[Array, "cells tokens"]
    """True at the positions to predict, replaced or kept."""


def per_cell_keys(
    rng: PRNGKeyArray | UInt32[Array, "2"], row: Int[Array, " cells"]
) -> Array:
    """One key per row of the global batch: a draw does not depend on the device."""
    return jax.vmap(lambda r: jax.random.fold_in(rng, r))(row)


def draw(
    rng: PRNGKeyArray | UInt32[Array, "2"],
    row: Int[Array, " cells"],
    num_tokens: int,
    probability: float,
) -> Bool[Array, "cells tokens"]:
    """True with `probability`, independently for each token of each cell."""
    return jax.vmap(lambda key: jax.random.bernoulli(key, probability, (num_tokens,)))(
        per_cell_keys(rng, row)
    )


def mask_values(
    rng: PRNGKeyArray | UInt32[Array, "2"],
    values: Integer[Array, "cells tokens"],
    row: Int[Array, " cells"],
    *,
    share: float,
    replaced_share: float,
    mask_value: int,
) -> MaskedValues:
    """Masks a share of the non-zero values (SPEC 2.4; shares as in scBERT, SPEC 5).

    Args:
        rng: key of this step and modality.
        values: bins, 0 = zero.
        row: position of each cell in the global batch.
        share: of the non-zero values that are to be predicted.
        replaced_share: of those, the share replaced by `mask_value`; the rest keep
            their value.
        mask_value: the value that stands for "hidden".
    """
    choose, replace = jax.random.split(rng)
    num_tokens = values.shape[1]
    where = draw(choose, row, num_tokens, share) & (values > 0)
    replaced = where & draw(replace, row, num_tokens, replaced_share)
    return MaskedValues(jnp.where(replaced, mask_value, values), where)


def most_chosen(num_tokens: int, share: float) -> int:
    """How many of a cell's tokens a draw with this share may choose, in practice.

    Mean and six standard deviations: more happens once in a billion cells.
    """
    mean = share * num_tokens
    return min(num_tokens, math.ceil(mean + 6 * math.sqrt(mean * (1 - share))))


def positions(
    where: Bool[Array, "cells tokens"], size: int
) -> Int[Array, "cells chosen"]:
    """The first `size` tokens of those in `where`, filled up with others."""
    return jnp.argsort(~where, axis=-1, stable=True)[:, :size]


def thin(
    rng: PRNGKeyArray | UInt32[Array, "2"],
    values: Integer[Array, "cells tokens"],
    row: Int[Array, " cells"],
    *,
    kept_share: float,
    most: int,
) -> Integer[Array, "cells tokens"]:
    """Keeps each single count with a probability: a binomial draw of every value.

    Of Poisson counts, what is kept and what is not are independent given the rate, so
    that one half can be predicted from the other (count splitting: Neufeld et al. 2022,
    doi:10.1093/biostatistics/kxac047).

    Args:
        rng: key of this step and modality.
        values: counts.
        row: position of each cell in the global batch.
        kept_share: probability that a count is kept.
        most: the largest value there may be.
    """
    kept = jnp.zeros_like(values)
    for unit, key in enumerate(jax.random.split(rng, most)):
        drawn = draw(key, row, values.shape[1], kept_share)
        kept += (drawn & (values > unit)).astype(values.dtype)
    return kept

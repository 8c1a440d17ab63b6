"""How much of what a cell shows is read: what `value_dials` and `peak_dials` turn."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Float, Real

from scmultimodal.schemas.batches import Array, CellBatch
from scmultimodal.schemas.modality import MODALITIES


class Dials(NamedTuple):
    """How much of each value is read."""

    values: Mapping[str, Float[Array, "cells tokens"]]
    """By modality, 1 where nothing is changed."""
    tokens_fade: bool
    """Whether a token whose values are dialled to zero is as good as none."""


def dialled(
    values: Real[Array, "cells tokens"], modality: str, dials: Dials | None
) -> Real[Array, "cells tokens"]:
    """Values of a modality, as much as is read of them."""
    return values if dials is None else values * dials.values.get(modality, 1)


def there(
    values: Mapping[str, Real[Array, "cells tokens"]], dials: Dials
) -> Float[Array, "cells tokens"]:
    """Whether some modality shows a token: 1 less the chance that none does.

    Args:
        values: of the modalities that count; 0 where a token is silent.
        dials: how much of them is read.
    """
    absent = [
        1 - dialled((v > 0).astype(jnp.float32), m, dials) for m, v in values.items()
    ]
    return 1 - functools.reduce(jnp.multiply, absent)


def values_of(batch: CellBatch) -> dict[str, Real[Array, "cells tokens"]]:
    """Values of the modalities that a batch shows."""
    return {m: v for m in MODALITIES if (v := getattr(batch, m)) is not None}

"""The one place where numbers are rounded: products in bfloat16, all else as it is.

Parameters, the residual stream, normalisations, exponentials and what is accumulated
over chunks keep the type of the parameters, whatever the products are computed in.
"""

import typing
from typing import Literal

import jax.numpy as jnp

from scmultimodal.schemas.batches import Array

Precision = Literal["float32", "bfloat16"]
PRECISIONS = typing.get_args(Precision)


def product(equation: str, left: Array, right: Array, precision: Precision) -> Array:
    """An einsum of two arrays, with the result in the type of `left`.

    "float32" takes both as they are (float64 too). "bfloat16" rounds both sides and the
    result, so that the products of the backward pass run in bfloat16 too; matrix units
    add up in float32 within.
    """
    if precision == "float32":
        return jnp.einsum(equation, left, right)
    rounded = (side.astype(jnp.bfloat16) for side in (left, right))
    return jnp.einsum(equation, *rounded).astype(left.dtype)

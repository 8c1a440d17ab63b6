"""The one place where numbers are rounded: products in bfloat16, all else as it is.

Parameters, the residual stream, normalisations, exponentials and what is accumulated
over chunks keep the type of the parameters, whatever the products are computed in.
"""

import functools
import typing
from typing import Literal

import jax
import jax.numpy as jnp

from scmultimodal.schemas.batches import Array

Precision = Literal["float32", "bfloat16"]
PRECISIONS = typing.get_args(Precision)


def product(equation: str, left: Array, right: Array, precision: Precision) -> Array:
    """An einsum of two arrays, with the result in the type of `left`.

    "float32" takes both as they are (float64 too). "bfloat16" rounds both sides, adds
    up in float32 and does not round the sum; the products of the backward pass are
    computed alike, of the same rounded sides and the rounded gradient.

    Args:
        equation: as "ij,jk->ik": letters alone, each of a side also in the other side
            or in the result, none twice within a side.
        left: one side.
        right: the other.
        precision: of the sides.
    """
    if precision == "float32":
        return jnp.einsum(equation, left, right)
    return _rounded_product(equation, left, right)


# JAX's own backward pass would multiply a float32 gradient by a bfloat16 side, which
# promotes both to float32.
@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rounded_product(equation: str, left: Array, right: Array) -> Array:
    return _forward(equation, left, right)[0]


def _forward(equation: str, left: Array, right: Array):
    sides = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)
    # What is kept has to be arrays: of types, empty ones.
    types = jnp.empty(0, left.dtype), jnp.empty(0, right.dtype)
    return _in_float32(equation, *sides).astype(left.dtype), (sides, types)


def _backward(equation: str, kept, gradient: Array):
    (left, right), types = kept
    sides, result = equation.split("->")
    of_left, of_right = sides.split(",")
    gradient = gradient.astype(jnp.bfloat16)
    gradients = (
        _in_float32(f"{result},{of_right}->{of_left}", gradient, right),
        _in_float32(f"{of_left},{result}->{of_right}", left, gradient),
    )
    return tuple(g.astype(t.dtype) for g, t in zip(gradients, types, strict=True))


def _in_float32(equation: str, left: Array, right: Array) -> Array:
    return jnp.einsum(equation, left, right, preferred_element_type=jnp.float32)


_rounded_product.defvjp(_forward, _backward)

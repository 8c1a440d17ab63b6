"""Counts the arithmetic of a traced function.

XLA's own count takes the body of a loop once, however often it runs.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from jax.extend.core import Jaxpr

PRODUCTS = ("conv_general_dilated", "dot_general")


def of_products(jaxpr: Any) -> int:
    """Floating-point operations of all products of matrices and all convolutions.

    Those of a loop count as often as they run, those that are recomputed too; of
    branches the dearest counts.

    Args:
        jaxpr: what `jax.make_jaxpr` gives.
    """
    return _sum(jaxpr, _operations)


def bytes_of_products(jaxpr: Any) -> int:
    """Bytes of what these products read and write, counted as often as they run.

    It is the traffic of a memory in which all of it lies and nothing else does.

    Args:
        jaxpr: what `jax.make_jaxpr` gives.
    """
    return _sum(jaxpr, _bytes)


def _sum(jaxpr: Any, of_product: Callable[[Any], int]) -> int:
    return sum(_of_equation(one, of_product) for one in _open(jaxpr).eqns)


def _of_equation(equation: Any, of_product: Callable[[Any], int]) -> int:
    if equation.primitive.name in PRODUCTS:
        return of_product(equation)
    inner = [_sum(jaxpr, of_product) for jaxpr in _inner(equation.params.values())]
    if equation.primitive.name == "cond":
        return max(inner)
    if equation.primitive.name == "scan":
        return equation.params["length"] * sum(inner)
    return sum(inner)


def _operations(product: Any) -> int:
    numbers = math.prod(product.outvars[0].aval.shape)
    if product.primitive.name == "conv_general_dilated":
        kernel = product.invars[1].aval.shape
        out_channels = product.params["dimension_numbers"].rhs_spec[0]
        return 2 * math.prod(kernel) // kernel[out_channels] * numbers
    (contracted, _), _ = product.params["dimension_numbers"]
    left = product.invars[0].aval.shape
    return 2 * math.prod(left[axis] for axis in contracted) * numbers


def _bytes(product: Any) -> int:
    arrays = [variable.aval for variable in (*product.invars, *product.outvars)]
    return sum(math.prod(one.shape) * one.dtype.itemsize for one in arrays)


def _inner(values: Any) -> Iterator[Any]:
    """The functions among the parameters of an equation."""
    for value in values:
        if isinstance(value, tuple | list):
            yield from _inner(value)
        elif hasattr(value, "eqns") or hasattr(value, "jaxpr"):
            yield value


def _open(jaxpr: Any) -> Jaxpr:
    return getattr(jaxpr, "jaxpr", jaxpr)

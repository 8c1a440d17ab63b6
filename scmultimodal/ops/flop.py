"""Counts the arithmetic of a traced function.

XLA's own count takes the body of a loop once, however often it runs.
"""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend.core import Jaxpr


def of_products(jaxpr: Any) -> int:
    """Floating-point operations of all products of matrices and all convolutions.

    Those of a loop count as often as they run, those that are recomputed too; of
    branches the dearest counts.

    Args:
        jaxpr: what `jax.make_jaxpr` gives.
    """
    return sum(_of_equation(equation) for equation in _open(jaxpr).eqns)


def _of_equation(equation: Any) -> int:
    if equation.primitive.name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        out_channels = equation.params["dimension_numbers"].rhs_spec[0]
        of_number = math.prod(kernel) // kernel[out_channels]
        return 2 * of_number * math.prod(equation.outvars[0].aval.shape)
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        over = math.prod(left[axis] for axis in contracted)
        return 2 * over * math.prod(equation.outvars[0].aval.shape)
    inner = [of_products(jaxpr) for jaxpr in _inner(equation.params.values())]
    if equation.primitive.name == "cond":
        return max(inner)
    if equation.primitive.name == "scan":
        return equation.params["length"] * sum(inner)
    return sum(inner)


def _inner(values: Any) -> Iterator[Any]:
    """The functions among the parameters of an equation."""
    for value in values:
        if isinstance(value, tuple | list):
            yield from _inner(value)
        elif hasattr(value, "eqns") or hasattr(value, "jaxpr"):
            yield value


def _open(jaxpr: Any) -> Jaxpr:
    return getattr(jaxpr, "jaxpr", jaxpr)

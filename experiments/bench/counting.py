"""Counts the arithmetic of a traced function.

XLA's own count takes the body of a loop once, however often it runs.
"""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend.core import Jaxpr


def product_flop(jaxpr: Any) -> int:
    """Floating-point operations of all matrix products, loops and recomputing included.

    Args:
        jaxpr: what `jax.make_jaxpr` gives. Of branches the dearest counts.
    """
    return sum(_of_equation(equation) for equation in _open(jaxpr).eqns)


def _of_equation(equation: Any) -> int:
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        over = math.prod(left[axis] for axis in contracted)
        return 2 * over * math.prod(equation.outvars[0].aval.shape)
    inner = [product_flop(jaxpr) for jaxpr in _inner(equation.params.values())]
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

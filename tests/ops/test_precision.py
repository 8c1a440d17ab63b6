"""Products in bfloat16: what is rounded, and what is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.ops import flop
from scmultimodal.ops.precision import product

EQUATIONS = {
    "ij,jk->ik": ((3, 4), (4, 5)),
    "bhcd,md->bhcm": ((2, 3, 4, 5), (6, 5)),
    "bhcm,bhcd->bhmd": ((2, 3, 4, 5), (2, 3, 4, 6)),
    "bhcm,bc->bhm": ((2, 3, 4, 5), (2, 4)),
    "bhcm,bhm->bhc": ((2, 3, 4, 5), (2, 3, 5)),
    "bhcd,hdD->bcD": ((2, 3, 4, 5), (3, 5, 6)),
}


def sides(equation):
    rng = np.random.default_rng(0)
    return [rng.normal(size=s).astype(np.float32) for s in EQUATIONS[equation]]


def rounded(x):
    return np.asarray(jnp.asarray(x).astype(jnp.bfloat16), np.float64)


def test_sum_is_not_rounded():
    # 1 + 2^-10 has no bfloat16, its summands have.
    left, right = jnp.array([[1.0, 2.0**-10]]), jnp.ones((2, 1))

    out = product("ij,jk->ik", left, right, "bfloat16")

    assert out.dtype == jnp.float32
    assert out[0, 0] == 1 + 2.0**-10


@pytest.mark.parametrize("equation", EQUATIONS)
def test_product_of_rounded_sides(equation):
    left, right = sides(equation)

    out = product(equation, left, right, "bfloat16")

    expected = np.einsum(equation, rounded(left), rounded(right))
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-6)
    assert np.abs(expected - np.einsum(equation, left, right)).max() > 1e-4


@pytest.mark.parametrize("equation", EQUATIONS)
def test_gradients_are_products_of_rounded_arrays(equation):
    left, right = sides(equation)
    out, backward = jax.vjp(
        lambda a, b: product(equation, a, b, "bfloat16"), left, right
    )
    gradient = np.random.default_rng(1).normal(size=out.shape).astype(np.float32)

    got = backward(jnp.asarray(gradient))

    _, reference = jax.vjp(
        lambda a, b: jnp.einsum(equation, a, b, precision="highest"),
        jnp.asarray(rounded(left), jnp.float32),
        jnp.asarray(rounded(right), jnp.float32),
    )
    expected = reference(jnp.asarray(rounded(gradient), jnp.float32))
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.dtype == jnp.float32
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-5)


def test_no_product_of_a_backward_pass_is_in_float32():
    def loss(left, right):
        return product("ij,jk->ik", left, right, "bfloat16").sum()

    jaxpr = jax.make_jaxpr(jax.grad(loss, (0, 1)))(*sides("ij,jk->ik"))

    types = {
        operand.aval.dtype.name
        for equation in jaxpr.eqns
        if equation.primitive.name == "dot_general"
        for operand in equation.invars
    }
    assert types == {"bfloat16"}
    assert flop.of_products(jaxpr) == 3 * 2 * 3 * 4 * 5


def test_products_of_a_function_that_is_not_differentiated_are_counted():
    left, right = sides("ij,jk->ik")

    jaxpr = jax.make_jaxpr(lambda a, b: product("ij,jk->ik", a, b, "bfloat16"))(
        left, right
    )

    assert flop.of_products(jaxpr) == 2 * 3 * 4 * 5


def test_type_of_the_result_is_that_of_the_left_side():
    left, right = jnp.ones((2, 3), jnp.bfloat16), jnp.ones((3, 2), jnp.float32)

    assert product("ij,jk->ik", left, right, "bfloat16").dtype == jnp.bfloat16

"""The arithmetic of traced functions, against counting by hand."""

import jax
import jax.numpy as jnp
import pytest

from scmultimodal.ops import flop


def test_products_are_counted_as_often_as_they_run():
    left, right = jnp.ones((2, 5, 3)), jnp.ones((2, 3, 7))

    def batched(left, right):
        return jnp.einsum("bij,bjk->bik", left, right).sum()

    once = 2 * 2 * 5 * 3 * 7
    count = flop.of_products
    assert count(jax.make_jaxpr(batched)(left, right)) == once
    # The two gradients are products of the same size.
    both = jax.value_and_grad(batched, argnums=(0, 1))
    assert count(jax.make_jaxpr(both)(left, right)) == 3 * once

    def looped(left, right):
        return jax.lax.map(jax.jit(lambda _: batched(left, right)), jnp.arange(4))

    assert count(jax.make_jaxpr(looped)(left, right)) == 4 * once

    def either(left, right):
        return jax.lax.cond(left.sum() > 0, batched, lambda *_: 0.0, left, right)

    assert count(jax.make_jaxpr(either)(left, right)) == once


@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_are_counted(groups):
    x, kernel = jnp.ones((2, 4, 11)), jnp.ones((6, 4 // groups, 3))

    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (2,), "VALID", feature_group_count=groups
        )

    # Five places of stride two; a number each of six channels, from 3 × 4 / groups.
    expected = 2 * (2 * 6 * 5) * (3 * 4 // groups)
    assert flop.of_products(jax.make_jaxpr(convolve)(x, kernel)) == expected


def test_bytes_of_products_are_counted_as_often_as_they_run():
    left, right = jnp.ones((2, 5, 3)), jnp.ones((2, 3, 7), jnp.bfloat16)

    def batched(left, right):
        return jnp.einsum("bij,bjk->bik", left, right.astype(jnp.float32)).sum()

    def looped(left, right):
        return jax.lax.map(lambda _: batched(left, right), jnp.arange(4))

    count = flop.bytes_of_products
    once = 4 * (2 * 5 * 3 + 2 * 3 * 7 + 2 * 5 * 7)
    assert count(jax.make_jaxpr(batched)(left, right)) == once
    assert count(jax.make_jaxpr(looped)(left, right)) == 4 * once

    def low(left, right):
        return jnp.matmul(left.astype(jnp.bfloat16), right)

    assert count(jax.make_jaxpr(low)(left, right)) == once // 2

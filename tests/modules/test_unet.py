"""The U-Net: its count, and its arithmetic in numpy."""

import haiku as hk
import jax
import numpy as np
import pytest

from scmultimodal.modules.unet import UNet, UNetConfig

pytestmark = pytest.mark.usefixtures("lightly_compiled")


def network(**fields):
    return hk.transform(lambda x: UNet(UNetConfig(**fields))(x))


def swish(x):
    return x / (1 + np.exp(-x))


def convolve(x, layer, *, transposed=False):
    """Kernel 3, SAME, written as a sum over the three taps."""
    kernel = np.asarray(layer["w"], np.float64)
    if transposed:  # At stride 1 Haiku's is a convolution, with output channels first.
        kernel = kernel.swapaxes(1, 2)
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    taps = [padded[:, tap : tap + x.shape[1]] @ kernel[tap] for tap in range(3)]
    return sum(taps) + np.asarray(layer["b"], np.float64)


def test_channels_of_dim_and_twice_that_give_the_published_count():
    """With a linear map to 6 × 14 × 2 it is SegmentNT's head (SPEC 3.5)."""
    x = np.zeros((1, 500, 512), np.float32)
    params = jax.eval_shape(network().init, jax.random.PRNGKey(0), x)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count + 512 * 168 + 168 == 16_608_424


def test_two_levels_in_numpy():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 8, 3)).astype(np.float32)
    unet = network(channels=(4, 5))
    params = jax.jit(unet.init)(jax.random.PRNGKey(1), x)
    params = jax.tree.map(
        lambda p: np.float32(p + rng.normal(size=p.shape) * 0.1), jax.device_get(params)
    )
    layer = {name.removeprefix("unet/"): leaves for name, leaves in params.items()}

    def block(x, name, transposed=False):
        for i in (0, 1):
            x = swish(convolve(x, layer[f"{name}_{i}"], transposed=transposed))
        return x

    fine = block(x.astype(np.float64), "down_0")
    coarse = block((fine[:, ::2] + fine[:, 1::2]) / 2, "down_1")
    up = block((coarse[:, ::2] + coarse[:, 1::2]) / 2, "up_1", transposed=True)
    up = block(np.repeat(up, 2, 1) + coarse, "up_0", transposed=True)
    up = np.repeat(up, 2, 1) + fine
    expected = convolve(swish(convolve(up, layer["final_0"])), layer["final_1"])
    np.testing.assert_allclose(
        jax.jit(unet.apply)(params, None, x), expected, atol=1e-5
    )


def test_a_length_that_does_not_divide_is_filled_with_zeros():
    x = np.random.default_rng(0).normal(size=(1, 6, 3)).astype(np.float32)
    unet = network(channels=(4, 5))
    params = jax.jit(unet.init)(jax.random.PRNGKey(1), x)
    apply = jax.jit(unet.apply)
    filled = np.asarray(apply(params, None, np.pad(x, ((0, 0), (0, 2), (0, 0)))))
    found = apply(params, None, x)
    np.testing.assert_allclose(found, filled[:, :6], atol=1e-6)


@pytest.mark.parametrize(
    "fields", [{"channels": ()}, {"channels": (4, 0)}, {"kernel": 0}, {"block_size": 0}]
)
def test_shapes_that_cannot_be_are_refused(fields):
    with pytest.raises(ValueError, match=f"{next(iter(fields))} must be positive"):
        UNetConfig(**fields)

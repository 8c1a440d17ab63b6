"""SegmentNT's head: its counts, its lengths, and its arithmetic in numpy."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.modules.heads.segmentation import (
    SegmentationHead,
    SegmentationHeadConfig,
)
from scmultimodal.modules.nucleotide_transformer import (
    NucleotideTransformer,
    NucleotideTransformerConfig,
)

pytestmark = pytest.mark.usefixtures("lightly_compiled")

TOKENS, DIM, K, ELEMENTS = 8, 3, 2, 5


def network(k=6, **fields):
    return hk.transform(
        lambda x: SegmentationHead(SegmentationHeadConfig(**fields), k)(x)
    )


def count(function, *arguments):
    params = jax.eval_shape(function.init, jax.random.PRNGKey(0), *arguments)
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_the_published_count():
    assert count(network(), np.zeros((1, 501, 512), np.float32)) == 16_608_424


def test_the_published_count_with_the_encoder():
    def forward(token_ids):
        encoder = NucleotideTransformer(NucleotideTransformerConfig())
        embeddings = encoder(token_ids, with_logits=True).embeddings
        return SegmentationHead(SegmentationHeadConfig(), 6)(embeddings)

    token_ids = np.zeros((1, 501), np.int32)
    assert count(hk.transform(forward), token_ids) == 71_463_603


def convolve(x, layer, *, transposed=False):
    """Kernel 3, SAME, tap by tap."""
    kernel = np.asarray(layer["w"], np.float64)
    kernel = kernel.swapaxes(1, 2) if transposed else kernel
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    taps = [padded[:, tap : tap + x.shape[1]] @ kernel[tap] for tap in range(3)]
    return sum(taps) + np.asarray(layer["b"], np.float64)


def swish(x):
    return x / (1 + np.exp(-x))


def in_numpy(params, x):
    """Two levels, and the last map; CLS is dropped."""
    layer = {name.removeprefix("segmentation_head/"): p for name, p in params.items()}

    def block(x, name, transposed=False, last=True):
        x = swish(convolve(x, layer[f"unet/{name}_0"], transposed=transposed))
        x = convolve(x, layer[f"unet/{name}_1"], transposed=transposed)
        return swish(x) if last else x

    fine = block(x[:, 1:].astype(np.float64), "down_0")
    coarse = block((fine[:, ::2] + fine[:, 1::2]) / 2, "down_1")
    up = block((coarse[:, ::2] + coarse[:, 1::2]) / 2, "up_1", transposed=True)
    up = block(np.repeat(up, 2, 1) + coarse, "up_0", transposed=True)
    hidden = swish(block(np.repeat(up, 2, 1) + fine, "final", last=False))
    flat = hidden @ np.asarray(layer["elements"]["w"], np.float64)
    flat += np.asarray(layer["elements"]["b"], np.float64)
    return flat.reshape(len(x), -1, ELEMENTS, 2)


def test_in_numpy():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, TOKENS + 1, DIM)).astype(np.float32)
    head = network(K, num_elements=ELEMENTS)
    params = jax.device_get(jax.jit(head.init)(jax.random.PRNGKey(1), x))
    params = jax.tree.map(
        lambda p: np.float32(p + rng.normal(size=p.shape) * 0.1), params
    )
    logits = jax.jit(head.apply)(params, None, x)
    assert logits.shape == (2, TOKENS * K, ELEMENTS, 2)
    np.testing.assert_allclose(logits, in_numpy(params, x), rtol=1e-5, atol=1e-5)
    # CLS says nothing.
    other = jax.jit(head.apply)(params, None, x * (jnp.arange(TOKENS + 1) > 0)[:, None])
    np.testing.assert_array_equal(logits, other)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [(6, "36 bp, which is no multiple of 24; the next that is has 48"), (0, "has 24")],
)
def test_a_length_that_cannot_be_halved(tokens, message):
    x = np.zeros((1, tokens + 1, DIM), np.float32)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(network().init, jax.random.PRNGKey(0), x)


def test_units():
    assert SegmentationHeadConfig().unit_bp(6) == 24
    assert SegmentationHeadConfig(channels=(4, 5, 6)).unit_bp(5) == 40
    with pytest.raises(ValueError, match="num_elements must be positive"):
        SegmentationHeadConfig(num_elements=0)
    with pytest.raises(ValueError, match="channels must be positive"):
        SegmentationHeadConfig(channels=(0,))

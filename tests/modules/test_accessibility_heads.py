"""The four scorers: counts, layers, and what each reads."""

import haiku as hk
import jax
import numpy as np
import pytest

from scmultimodal.modules.heads import accessibility

pytestmark = pytest.mark.usefixtures("lightly_compiled")

SIZES = {
    "linear": (256_513, 1),
    "transformer": (2_881_793, 18),
    "unet": (16_778_241, 11),
    "convolutional": (2_033_041, 4),
}
SMALL = {
    "linear": {},
    "transformer": {"transformer_hidden": 5},
    "unet": {"unet_channels": (4,)},
    "convolutional": {"convolution_pool": 2, "convolution_hidden": 5},
}


def scorer(name, num_tokens=9, dim=8, **options):
    return hk.transform(
        lambda x: accessibility.build_scorer(
            name, num_tokens=num_tokens, dim=dim, **options
        )(x)
    )


def embeddings(num_tokens=9, dim=8):
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, num_tokens, dim)).astype(np.float32)


@pytest.mark.parametrize("name", SIZES)
def test_parameters_and_layers_are_those_of_the_study(name):
    x = np.zeros((2, 501, 512), np.float32)
    build = hk.transform(lambda x: accessibility.build_scorer(name)(x))
    params = jax.eval_shape(build.init, jax.random.PRNGKey(0), x)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert (count, accessibility.num_layers(params)) == SIZES[name]
    beside = {**params, "nucleotide_transformer/layer_0": {}}
    assert accessibility.num_layers(beside) == SIZES[name][1]


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize(("num_tokens", "dim"), [(9, 8), (30, 4)])
def test_every_length_and_width_has_one_score_a_sequence(name, num_tokens, dim):
    x = embeddings(num_tokens, dim)
    network = scorer(name, num_tokens, dim, **SMALL[name])
    params = jax.jit(network.init)(jax.random.PRNGKey(1), x)
    apply = jax.jit(network.apply)
    scores = np.asarray(apply(params, None, x))
    assert scores.shape == (4, 1)
    # A sequence is scored by itself alone, and every one of them otherwise.
    x[:2] = 0.5
    others = np.asarray(apply(params, None, x))
    np.testing.assert_allclose(others[2:], scores[2:], rtol=1e-4, atol=1e-6)
    assert len(np.unique(scores)) == 4


@pytest.mark.parametrize("name", SIZES)
def test_every_parameter_and_every_token_takes_part(name):
    """Save for the token in the place of CLS, which the U-Net drops."""
    x = embeddings(16, 8)
    network = scorer(name, 16, 8, **SMALL[name])
    params = jax.jit(network.init)(jax.random.PRNGKey(1), x)

    def total(params, x):
        return (network.apply(params, None, x) ** 2).sum()

    of_params, of_x = jax.device_get(jax.jit(jax.grad(total, (0, 1)))(params, x))
    for path, leaf in jax.tree_util.tree_leaves_with_path(of_params):
        if not jax.tree_util.keystr(path).endswith("['key']['b']"):
            assert np.abs(leaf).max() > 0, path
    reads = np.abs(of_x).sum((0, 2)) > 0
    expected = np.ones(16, bool)
    expected[0] = name != "unet"
    np.testing.assert_array_equal(reads, expected)


def test_the_transformer_in_numpy():
    x = np.asarray(embeddings(5, 4), np.float64)
    network = scorer("transformer", 5, 4, transformer_hidden=3, transformer_blocks=1)
    params = jax.jit(network.init)(jax.random.PRNGKey(1), embeddings(5, 4))
    own = {k.removeprefix("accessibility_head/"): v for k, v in params.items()}

    def linear(name, x):
        layer = own[f"block_0_{name}"]
        return x @ np.asarray(layer["w"], np.float64) + layer["b"]

    def norm(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(
            x.var(-1, keepdims=True) + 1e-5
        )

    y = x + np.asarray(own["accessibility_head"]["positions"])
    q, k, v = (linear(f"attention/{name}", y) for name in ("query", "key", "value"))
    weights = np.exp(q @ k.swapaxes(1, 2) / 2)  # √4
    weights /= weights.sum(-1, keepdims=True)
    y = norm(y + linear("attention/linear", weights @ v))
    hidden = linear("in", y)
    y = norm(y + linear("out", hidden / (1 + np.exp(-hidden))))
    score = y.reshape(4, 20) @ np.asarray(own["score"]["w"]) + own["score"]["b"]
    found = jax.jit(network.apply)(params, None, embeddings(5, 4))
    np.testing.assert_allclose(found, score, atol=1e-5)


def test_the_convolution_in_numpy():
    x = np.asarray(embeddings(9, 8), np.float64)
    options = {"convolution_channels": (2,), "convolution_pool": 4}
    network = scorer("convolutional", convolution_hidden=3, **options)
    params = jax.jit(network.init)(jax.random.PRNGKey(1), embeddings(9, 8))
    own = {k.removeprefix("accessibility_head/"): v for k, v in params.items()}
    kernel = np.asarray(own["convolution_0"]["w"], np.float64)[:, :, 0]
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2)))
    image = sum(
        padded[:, i : i + 9, j : j + 8, None] * kernel[i, j]
        for i in range(5)
        for j in range(5)
    )
    image = image + own["convolution_0"]["b"]
    image = image / (1 + np.exp(-image))
    pooled = image[:, :8].reshape(4, 2, 4, 2, 4, 2).mean((2, 4))  # token 8 falls away
    hidden = pooled.reshape(4, 8) @ np.asarray(own["hidden"]["w"]) + own["hidden"]["b"]
    hidden = hidden / (1 + np.exp(-hidden))
    score = hidden @ np.asarray(own["score"]["w"]) + own["score"]["b"]
    found = jax.jit(network.apply)(params, None, embeddings(9, 8))
    np.testing.assert_allclose(found, score, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("linear", {"num_tokens": 10}, r"\[10, 8\] cannot read .* \[9, 8\]"),
        ("convolutional", {}, "nothing is left"),
        ("transformer", {"transformer_heads": 3}, "3 heads do not divide"),
        ("unet", {"unet_channels": (4, 0)}, "unet_channels must be positive"),
    ],
)
def test_scorers_that_cannot_be_are_refused(name, options, problem):
    with pytest.raises(ValueError, match=problem):
        jax.eval_shape(
            scorer(name, **options).init, jax.random.PRNGKey(1), embeddings()
        )


def test_an_unknown_name_is_refused():
    config = accessibility.ScorerConfig()
    object.__setattr__(config, "name", "cnn")  # past the type checker of tests
    with pytest.raises(ValueError, match=r"one of \['linear'"):
        config.__post_init__()

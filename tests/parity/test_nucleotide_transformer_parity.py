"""The encoder computes what SPEC 3.5 says, as written down anew in numpy float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.modules import nucleotide_transformer
from scmultimodal.modules.nucleotide_transformer import NucleotideTransformerConfig
from scmultimodal.weights import nucleotide_transformer as weights
from scmultimodal.weights import published_names
from tests.parity.nucleotide_transformer_reference import Reference, random_weights

LAYERS, HEADS, KEY_SIZE, DIM, HIDDEN, VOCABULARY, POSITIONS = 3, 3, 4, 10, 6, 23, 12
TOKENS = 11
V2 = NucleotideTransformerConfig(
    vocabulary_size=VOCABULARY,
    dim=DIM,
    num_layers=LAYERS,
    num_heads=HEADS,
    key_size=KEY_SIZE,
    hidden=HIDDEN,
)
V1 = dataclasses.replace(
    V2,
    gated=False,
    activation="gelu-no-approx",
    feed_forward_biases=True,
    rotary=False,
    learned_positions=True,
    max_tokens=POSITIONS,
)
PAD, CLS = 1, 3
LONG, SHORT, BASES = [3, 6, 7, 8, 9, 10, 6], [3, 11], [3, 18, 19, 20, 21, 22, 18]
ROWS = [
    LONG + [PAD] * 4,
    [PAD] * 4 + LONG,
    [PAD, PAD, *SHORT] + [PAD] * 7,
    BASES + [PAD] * 4,
    [PAD] * TOKENS,
    [3, 6, 18, 22, 7, 19, 2, 8, 9, 10, 12],
]
"""PAD behind, in front, on both sides; single bases and N; PAD alone; none."""
CASES = ["end", "front", "both sides", "single bases", "all PAD", "no PAD"]


def reference_and_parameters(config, seed=0):
    arrays = random_weights(
        layers=LAYERS,
        heads=HEADS,
        key_size=KEY_SIZE,
        dim=DIM,
        hidden=HIDDEN,
        vocabulary=VOCABULARY,
        positions=None if config.rotary else POSITIONS,
        seed=seed,
    )
    reference = Reference(
        arrays,
        layers=LAYERS,
        heads=HEADS,
        version=2 if config.rotary else 1,
        rescaling=config.rescaling,
    )
    named = {k: v for k, v in arrays.items() if k != "positions"}
    if not config.rotary:
        named["esm_learned_positional_embeddings/embed"] = arrays["positions"]
    flat = published_names.from_haiku(named)
    return reference, weights.to_parameters(config, flat, source="test")


@pytest.fixture(
    scope="module",
    params=[V2, dataclasses.replace(V2, rescaling=2.5), V1],
    ids=["v2", "v2 rescaled", "v1"],
)
def both(request):
    """(params -> our encoding of ROWS, params, what the reference makes of ROWS)."""
    reference, params = reference_and_parameters(request.param)
    everything = range(LAYERS + 1)
    network = nucleotide_transformer.build_encoder(
        request.param, with_logits=True, layers=everything, attention=everything[1:]
    )
    encode = jax.jit(lambda params: network.apply(params, None, jnp.asarray(ROWS)))
    return encode, params, reference(ROWS)


@pytest.fixture(scope="module")
def ours(both):
    encode, params, _ = both
    return encode(params)


@pytest.mark.parametrize("row", range(len(ROWS)), ids=CASES)
def test_embeddings_logits_layers_and_attention(both, ours, row):
    states, maps, logits = both[2]
    assert ours.embeddings.dtype == np.float32
    compare(ours.embeddings[row], states[-1][row])
    compare(ours.logits[row], logits[row])
    for i in range(LAYERS + 1):
        compare(ours.layers[i][row], states[i][row])
    for i in range(LAYERS):
        assert ours.attention[i + 1].shape == (len(ROWS), HEADS, TOKENS, TOKENS)
        compare(ours.attention[i + 1][row], maps[i][row])


def test_in_float64_they_agree_to_rounding(both):
    encode, params, (states, _, logits) = both
    with jax.enable_x64(True):
        ours = encode(jax.tree.map(jnp.float64, params))
        compare(ours.embeddings, states[-1], within=1e-12)
        compare(ours.logits, logits, within=1e-12)


def compare(ours, reference, *, within=1e-5):
    np.testing.assert_allclose(ours, reference, rtol=0, atol=within)


@pytest.mark.parametrize("remat", [False, True])
def test_gradient_is_the_slope_of_the_reference(remat):
    """Central differences of the *reference* along random directions, in float64."""
    config = dataclasses.replace(V2, remat=remat)
    rows, rng = ROWS[:5], np.random.default_rng(3)
    cotangent = rng.normal(size=(len(rows), TOKENS, VOCABULARY))
    reference, _ = reference_and_parameters(config)
    arrays = reference.weights
    direction = {
        m: {k: rng.normal(size=a.shape) for k, a in leaves.items()}
        for m, leaves in arrays.items()
    }

    def moved(step):
        reference.weights = {
            m: {k: a + step * direction[m][k] for k, a in leaves.items()}
            for m, leaves in arrays.items()
        }
        return (reference(rows)[2] * cotangent).sum()

    slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
    with jax.enable_x64(True):
        ours, along = (_by_our_names(tree, config) for tree in (arrays, direction))
        network = nucleotide_transformer.build_encoder(config, with_logits=True)

        def loss(params):
            logits = network.apply(params, None, jnp.asarray(rows)).logits
            return (logits * cotangent).sum()

        gradient = jax.jit(jax.grad(loss))(ours)
        terms = jax.tree.map(lambda g, d: float((g * d).sum()), gradient, along)
    assert abs(sum(jax.tree.leaves(terms)) - slope) < 1e-6 * abs(slope)


def _by_our_names(arrays, config):
    """The tree of parameters in float64: `to_parameters` would make it float32."""
    flat = published_names.from_haiku(arrays)
    return {
        module: {
            leaf: jnp.float64(
                flat[published_names.published_name(module, leaf)]
            ).reshape(array.shape)
            for leaf, array in leaves.items()
        }
        for module, leaves in reference_and_parameters(config)[1].items()
    }

"""The encoder of DNA: its sizes, its names, what it returns, and what PAD does."""

import dataclasses
import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.modules import nucleotide_transformer, nucleotide_transformer_sizes
from scmultimodal.modules.nucleotide_transformer import NucleotideTransformerConfig
from scmultimodal.ops import transformer

PAD, MASK, CLS = 1, 2, 3
SMALL = NucleotideTransformerConfig(
    vocabulary_size=27, dim=8, num_layers=3, num_heads=2, hidden=6, max_tokens=9
)
TOKENS = jnp.array(
    [
        [CLS, 7, 8, 9, 10, 22, 23, PAD, PAD],
        [PAD, PAD, CLS, 11, 7, 7, 7, 25, PAD],
        [PAD] * 9,
    ]
)


@functools.cache
def initialise(config, **asked):
    """A compiled `apply`, once for each of its programs, and parameters."""
    network = nucleotide_transformer.build_encoder(config, **asked)
    shapes = jax.eval_shape(network.init, jax.random.PRNGKey(0), TOKENS)
    # Fresh biases and norms would be 0 and 1: no test could see them swapped.
    rng = np.random.default_rng(0)
    params = {
        module: {
            name: jnp.float32(name.endswith("_scale") + rng.normal(0, 0.3, leaf.shape))
            for name, leaf in leaves.items()
        }
        for module, leaves in shapes.items()
    }
    return jax.jit(network.apply), params


def encode(config, params=None, **asked):
    apply, own = initialise(config, **asked)
    return apply(own if params is None else params, None, TOKENS)


@pytest.fixture(params=["rotary", "learned"])
def positions(request):
    learned = request.param == "learned"
    return dataclasses.replace(SMALL, rotary=not learned, learned_positions=learned)


# Sizes.


@pytest.mark.parametrize(
    ("name", "with_logits", "expected"),
    [
        ("v2-50m", True, 54_855_179),
        ("v2-50m", False, 52_484_608),
        ("v2-500m", True, 496_245_771),
        # 55.9 and 97.9 million on the hub, with a table of 2,050 unused positions.
        ("v2-100m", True, 97_888_779 - 2050 * 512),
    ],
)
def test_published_sizes_have_their_parameters(name, with_logits, expected):
    config = nucleotide_transformer_sizes.SIZES[name]
    network = nucleotide_transformer.build_encoder(config, with_logits=with_logits)
    shapes = jax.eval_shape(network.init, jax.random.PRNGKey(0), TOKENS)
    assert hk.data_structures.tree_size(shapes) == expected


@pytest.mark.parametrize("name", nucleotide_transformer_sizes.SIZES)
def test_every_size_encodes_its_longest_sequence(name):
    config = nucleotide_transformer_sizes.SIZES[name]
    network = nucleotide_transformer.build_encoder(config, with_logits=True)
    token_ids = jnp.full((1, config.max_tokens), CLS)
    _, encoding = jax.eval_shape(
        lambda key: (
            p := network.init(key, token_ids),
            network.apply(p, None, token_ids),
        ),
        jax.random.PRNGKey(0),
    )
    assert encoding.embeddings.shape == (1, config.max_tokens, config.dim)
    assert encoding.logits.shape == (1, config.max_tokens, config.vocabulary_size)


def test_parameters_are_named_by_layer():
    _, params = initialise(SMALL, with_logits=True)
    assert set(params) == {
        "nucleotide_transformer",
        *(f"nucleotide_transformer/layer_{i}" for i in range(3)),
        "nucleotide_transformer/lm_head",
    }
    assert params["nucleotide_transformer/layer_2"]["feed_forward_in"].shape == (8, 12)
    _, params = initialise(SMALL)
    assert "nucleotide_transformer/lm_head" not in params


# What comes back.


def test_nothing_is_returned_unasked():
    plain = encode(SMALL)
    assert plain.logits is None
    assert plain.layers == plain.attention == {}


@pytest.mark.parametrize(
    ("asked", "attention"),
    [((0,), (1,)), ((3,), ()), ((1, 3), (3, 2)), ((2, 0, 1), ())],
)
def test_asking_for_more_changes_nothing(asked, attention):
    plain, full = encode(SMALL), encode(SMALL, layers=asked, attention=attention)
    np.testing.assert_allclose(full.embeddings, plain.embeddings, atol=1e-6)
    assert set(full.layers) == set(asked)
    assert set(full.attention) == set(attention)


def test_the_last_layer_is_taken_after_the_final_norm():
    encoding = encode(SMALL, layers=(3,))
    np.testing.assert_array_equal(encoding.layers[3], encoding.embeddings)


def test_attention_maps_come_with_their_heads():
    """Silence head 1: what head 0 sees stays, what head 1 sees becomes uniform."""
    apply, params = initialise(SMALL, attention=(1,))
    name = "nucleotide_transformer/layer_0"
    layer = dict(params[name])
    for leaf in ("query", "query_bias"):
        layer[leaf] = layer[leaf].at[..., 1, :].set(0)
    before = apply(params, None, TOKENS).attention[1]
    after = apply({**params, name: layer}, None, TOKENS).attention[1]
    np.testing.assert_allclose(after[:, 0], before[:, 0], atol=1e-6)
    np.testing.assert_allclose(after[0, 1, 0], [1 / 7] * 7 + [0, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"layers": (4,)}, "layers go from 0 to 3, got 4"),
        ({"layers": (-1,)}, "layers go from 0 to 3, got -1"),
        ({"attention": (0,)}, "attention go from 1 to 3, got 0"),
    ],
)
def test_a_layer_that_there_is_not_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        encode(SMALL, **asked)


# PAD.


def test_a_pad_query_attends_uniformly_to_every_position():
    attention = encode(SMALL, attention=(1, 2, 3)).attention
    for maps in attention.values():
        is_pad = np.asarray(TOKENS == PAD)
        np.testing.assert_allclose(
            np.asarray(maps).transpose(0, 2, 1, 3)[is_pad], 1 / 9, atol=1e-7
        )
        known = ~is_pad
        to_pad = np.where(known[:, None, :, None] & is_pad[:, None, None], maps, 0)
        assert np.abs(to_pad).max() == 0


def test_padding_behind_changes_no_token():
    apply, params = initialise(SMALL, with_logits=True)
    padded = apply(params, None, TOKENS[:1])
    alone = apply(params, None, TOKENS[:1, :7])
    for found, expected in zip(padded[:2], alone[:2], strict=True):
        np.testing.assert_allclose(found[:, :7], expected, atol=1e-5)


def test_positions_do_not_see_padding(positions):
    """PAD in front moves a sequence, not its embeddings: learned ones skip PAD."""
    apply, params = initialise(positions)
    behind = apply(params, None, TOKENS).embeddings
    in_front = apply(params, None, jnp.roll(TOKENS, 2, axis=1)).embeddings
    np.testing.assert_allclose(in_front[0, 2:], behind[0, :7], atol=1e-5)


def test_positions_are_seen_at_all(positions):
    apply, params = initialise(positions)
    reversed_ = TOKENS.at[0, 1:7].set(TOKENS[0, 6:0:-1])
    one, other = (apply(params, None, t).embeddings[0, 0] for t in (TOKENS, reversed_))
    assert jnp.abs(one - other).max() > 1e-3


# Options.


def test_remat_changes_no_gradient():
    _, params = initialise(SMALL)

    @functools.partial(jax.jit, static_argnames="config")
    @jax.grad
    def gradient(params, config):
        apply = nucleotide_transformer.build_encoder(config).apply
        return jnp.sin(apply(params, None, TOKENS).embeddings).sum()

    plain = gradient(params, config=SMALL)
    again = gradient(params, config=dataclasses.replace(SMALL, remat=True))
    scale = max(float(jnp.abs(a).max()) for a in jax.tree.leaves(plain))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * scale), plain, again
    )
    assert scale > 1


def test_bfloat16_is_close_and_finite_with_padding():
    _, params = initialise(SMALL, with_logits=True)
    exact = encode(SMALL, params, with_logits=True)
    config = dataclasses.replace(SMALL, dtype="bfloat16")
    rounded = encode(config, params, with_logits=True)
    for a, b in zip(exact[:2], rounded[:2], strict=True):
        assert b.dtype == jnp.float32
        assert 1e-5 < jnp.abs(a - b).max() < 0.15
        assert jnp.isfinite(b).all()


def test_front_padding_leaves_logits_alone():
    """The reference zeroes the logits of a sequence that PAD begins."""
    logits = encode(SMALL, with_logits=True).logits
    assert (jnp.abs(logits).max(-1) > 0.01).all()


def test_token_dropout_by_hand():
    x = jnp.ones((3, 4, 2))
    token_ids = jnp.array([[CLS, MASK, 7, PAD], [CLS, 7, 8, 9], [PAD] * 4])
    found = nucleotide_transformer.scale_for_masks(
        x, token_ids == MASK, token_ids != PAD, 0.12
    )
    factor = np.array(
        [[0.88 / (2 / 3), 0, 0.88 / (2 / 3), 0.88 / (2 / 3)], [0.88] * 4, [0.88] * 4]
    )
    np.testing.assert_allclose(found, factor[..., None] * np.ones(2), rtol=1e-6)


def test_embedding_options_by_hand():
    """Layer 0 is the scaled embedding plus positions, normalised if asked."""
    config = dataclasses.replace(
        SMALL,
        token_dropout=True,
        embedding_scale=3.0,
        embedding_norm=True,
        rotary=False,
        learned_positions=True,
    )
    apply, params = initialise(config, layers=(0,))
    tables = params["nucleotide_transformer"]
    assert tables["position_embedding"].shape == (9 + 2, 8)
    found = apply(params, None, TOKENS).layers[0]
    # Row 1: two PADs, CLS, then 11, which is the second known token.
    x = 3 * 0.88 * tables["token_embedding"][11] + tables["position_embedding"][1 + 2]
    x = (x - x.mean()) / jnp.sqrt(x.var() + 1e-5)
    x = x * tables["embedding_norm_scale"] + tables["embedding_norm_offset"]
    np.testing.assert_allclose(found[1, 3], x, atol=1e-5)
    pad = 3 * 0.88 * tables["token_embedding"][PAD] + tables["position_embedding"][1]
    pad = (pad - pad.mean()) / jnp.sqrt(pad.var() + 1e-5)
    pad = pad * tables["embedding_norm_scale"] + tables["embedding_norm_offset"]
    np.testing.assert_allclose(found[2], np.tile(pad, (9, 1)), atol=1e-5)


def test_more_tokens_than_learned_positions_are_refused():
    config = dataclasses.replace(SMALL, learned_positions=True, max_tokens=8)
    with pytest.raises(ValueError, match="9 tokens for 8 learned positions"):
        encode(config)


def test_longer_sequences_are_rescaled_by_how_much_longer_they_are():
    assert SMALL.for_length(9) is SMALL
    assert SMALL.for_length(18).rescaling == 2
    learned = dataclasses.replace(SMALL, rotary=False, learned_positions=True)
    assert learned.for_length(18) is learned
    rescaled = SMALL.for_length(18)  # trained on 18, such as SegmentNT on 30 kb
    assert (rescaled.reach, rescaled.for_length(18)) == (18, rescaled)
    assert rescaled.for_length(10) is rescaled
    assert rescaled.for_length(27).rescaling == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"dim": 0},
        {"num_layers": 0},
        {"key_size": None, "num_heads": 3},
        {"key_size": 3},
        {"rescaling": 0.0},
        {"key_size": 2, "rescaling": 2.0},
        {"activation": "tanh"},
        {"mask_share": 1.0},
    ],
)
def test_shapes_that_cannot_be_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        dataclasses.replace(SMALL, **fields)


def test_queries_in_chunks_change_nothing(monkeypatch):
    """Neither embeddings nor gradients, PAD rows included; maps come whole."""
    _, params = initialise(SMALL)

    def run(chunk):
        monkeypatch.setattr(transformer, "queries_at_once", lambda: chunk)

        def total(params):
            encoder = nucleotide_transformer.build_encoder(SMALL, attention=(1,))
            found = encoder.apply(params, None, TOKENS)
            return jnp.sin(found.embeddings).sum(), found

        return jax.jit(jax.value_and_grad(total, has_aux=True))(params)

    (_, whole), gradient = run(1_000)
    (_, parts), again = run(3)
    np.testing.assert_allclose(parts.embeddings, whole.embeddings, atol=1e-5)
    np.testing.assert_allclose(parts.attention[1], whole.attention[1], atol=1e-6)
    scale = max(float(jnp.abs(a).max()) for a in jax.tree.leaves(gradient))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * scale),
        gradient,
        again,
    )

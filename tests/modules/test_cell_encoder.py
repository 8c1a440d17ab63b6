"""The dual-path encoder: what it may see, average, reorder and ignore."""

import dataclasses
import itertools

import haiku as hk
import jax
import numpy as np
import pytest

from scmultimodal.modules import cell_encoder, token_arrays
from scmultimodal.modules.performer import PerformerConfig
from scmultimodal.ops import exact_attention, favor
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

GENES = 12


def initialise(network, *inputs):
    """(a compiled `apply`, fresh parameters, fresh state)."""
    start = jax.jit(network.init)(jax.random.PRNGKey(0), *inputs)
    return jax.jit(network.apply), *start


@pytest.fixture(scope="module")
def initialised():
    """(a compiled `apply`, parameters, state) of the usual encoder."""
    network = cell_encoder.build_encoder(builders.encoder_config(GENES))
    return initialise(network, builders.cell_batch(num_genes=GENES))


@pytest.fixture(scope="module")
def encoder(initialised):
    """(encode, a batch of all genes)."""
    apply, params, state = initialised

    def encode(batch):
        return apply(params, state, None, batch)[0]

    return encode, builders.cell_batch(num_genes=GENES)


def test_joint_embedding_is_the_token_wise_mean(encoder):
    encode, batch = encoder
    rna = encode(batch.replace(atac=None, atac_present=np.zeros(6, bool))).tokens
    atac = encode(batch.replace(rna=None, rna_present=np.zeros(6, bool))).tokens
    both = encode(batch).tokens
    np.testing.assert_allclose(both, (rna + atac) / 2, atol=1e-5)
    assert np.abs(np.asarray(rna) - atac).max() > 0.1


def test_a_cell_without_a_modality_is_encoded_as_if_the_batch_had_none(encoder):
    encode, batch = encoder
    present = np.array([True, False, True, False, True, True])
    mixed = encode(batch.replace(atac_present=present))
    alone = encode(batch.replace(atac=None, atac_present=np.zeros(6, bool)))
    both = encode(batch)
    np.testing.assert_allclose(
        mixed.tokens[~present], alone.tokens[~present], atol=1e-5
    )
    np.testing.assert_allclose(mixed.cells[~present], alone.cells[~present], atol=1e-5)
    np.testing.assert_allclose(mixed.tokens[present], both.tokens[present], atol=1e-5)


@pytest.mark.parametrize("joint", ["concatenate", "cross_attention"])
@pytest.mark.parametrize("num_tokens", [None, 9])
def test_other_joint_embeddings(joint, num_tokens):
    """A cell that lacks a modality is encoded as if the batch had none of it."""
    config = dataclasses.replace(builders.encoder_config(GENES), joint=joint)
    batch = builders.cell_batch(num_genes=GENES, num_tokens=num_tokens)
    apply, params, state = initialise(cell_encoder.build_encoder(config), batch)

    def encode(batch, at=None):
        return apply(params, state, None, batch)[0]

    present = np.array([True, False, True, False, True, True])
    mixed = encode(batch.replace(atac_present=present))
    alone = encode(batch.replace(atac=None, atac_present=np.zeros(6, bool)))
    both = encode(batch)
    shown = np.ones((6, GENES), bool) if num_tokens is None else batch.token_mask
    lacking, having = shown & ~present[:, None], shown & present[:, None]
    tokens = [np.asarray(found.tokens) for found in (mixed, alone, both)]
    np.testing.assert_allclose(tokens[0][lacking], tokens[1][lacking], atol=1e-5)
    np.testing.assert_allclose(tokens[0][having], tokens[2][having], atol=1e-5)
    assert np.abs(tokens[2] - tokens[1])[having].max() > 0.1
    # The other modality of one token is seen by all of the cell, or by itself alone.
    first = np.where(np.arange(batch.atac.shape[1]) == 0, 5 - batch.atac, batch.atac)
    moved = np.abs(np.asarray(encode(batch.replace(atac=first)).tokens) - tokens[2])
    assert (moved[:, 0].max(-1) > 1e-3).all()
    config = dataclasses.replace(
        config, path=dataclasses.replace(config.path, num_layers=0)
    )
    apply, params, state = initialise(cell_encoder.build_encoder(config), batch)
    moved = np.abs(
        np.asarray(encode(batch.replace(atac=first)).tokens)
        - np.asarray(encode(batch).tokens)
    )
    others = moved.max(-1)[:, 1:][shown[:, 1:]]
    assert (others.max() > 1e-4) == (joint == "cross_attention")


@pytest.mark.parametrize("num_tokens", [None, 9])
def test_tokens_that_know_the_depth(num_tokens):
    """Without attention a token sees no other, but for how much there is of them."""
    config = builders.encoder_config(GENES, num_layers=0)
    batch = builders.cell_batch(num_genes=GENES, num_tokens=num_tokens)
    more = batch.rna.copy()
    more[:, 0] = 5
    hidden = batch.rna.copy()
    hidden[:, 0] = config.mask_value
    padded = batch.rna.copy()
    padded[:, -1] = 3
    for depth in (False, True):
        network = cell_encoder.build_encoder(dataclasses.replace(config, depth=depth))
        apply, params, state = initialise(network, batch)

        def moved(rna, apply=apply, params=params, state=state):
            found = [
                np.asarray(apply(params, state, None, batch.replace(rna=r))[0].tokens)
                for r in (batch.rna, rna)
            ]
            return np.abs(found[1] - found[0]).max(-1)[:, 1:-1]

        changed = batch.rna[:, 0] < 5
        assert (moved(more)[changed] > 1e-4).all() == depth
        assert (moved(hidden)[batch.rna[:, 0] > 0] > 1e-4).all() == depth
        if num_tokens:
            ends = ~batch.token_mask[:, -1]
            assert ends.any()
            assert not moved(padded)[ends].any()


def test_cross_attention_of_chosen_tokens():
    """The same rows as when all are asked for."""
    config = dataclasses.replace(
        builders.encoder_config(GENES), joint="cross_attention"
    )
    batch = builders.cell_batch(num_genes=GENES)
    apply, params, state = initialise(cell_encoder.build_encoder(config), batch)
    at = np.array([[3, 0]] * 6, np.int32)
    chosen = hk.transform_with_state(
        lambda batch: cell_encoder.CellEncoder(config)(batch, at)
    )
    found = jax.jit(chosen.apply)(params, state, None, batch)[0].tokens
    expected = apply(params, state, None, batch)[0].tokens[:, [3, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("how", [{"attention": "exact"}, {"dtype": "bfloat16"}])
def test_how_attention_is_computed_is_a_field(initialised, encoder, how):
    """Exact attention has no projection, and is another model; bfloat16 is close."""
    (_, params, state), (encode, batch) = initialised, encoder
    config = builders.encoder_config(GENES)
    path = dataclasses.replace(config.path, **how)
    network = cell_encoder.build_encoder(dataclasses.replace(config, path=path))
    _, own_state = jax.eval_shape(network.init, jax.random.PRNGKey(0), batch)
    assert bool(own_state) == ("dtype" in how)
    expected = np.asarray(encode(batch).tokens)
    found = np.asarray(jax.jit(network.apply)(params, state, None, batch)[0].tokens)
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert 1e-4 < error < (1.0 if "attention" in how else 0.02)


@pytest.mark.parametrize("layers", [0, 2])
def test_rows_that_are_asked_for_are_those_of_the_whole(encoder, layers):
    _, batch = encoder
    config = builders.encoder_config(GENES)
    at = np.int32([[0, 5, 5], [1, 2, 3], [11, 0, 1], [4, 4, 4], [7, 8, 9], [2, 1, 0]])
    path = dataclasses.replace(config.path, num_layers=layers)
    config = dataclasses.replace(config, path=path)
    network = hk.transform_with_state(
        lambda batch, at: cell_encoder.CellEncoder(config)(batch, at)
    )
    apply, params, state = initialise(network, batch, None)
    whole = apply(params, state, None, batch, None)[0]
    some = apply(params, state, None, batch, at)[0]
    assert some.cells is None
    expected = np.take_along_axis(np.asarray(whole.tokens), at[..., None], 1)
    np.testing.assert_allclose(some.tokens, expected, atol=1e-5)


def test_trunk_is_equivariant_to_the_order_of_genes(encoder):
    encode, batch = encoder
    order = np.stack([np.random.default_rng(i).permutation(GENES) for i in range(6)])
    shuffled = batch.replace(
        rna=np.take_along_axis(batch.rna, order, 1),
        atac=np.take_along_axis(batch.atac, order, 1),
        gene_ids=order.astype(np.int32),
    )
    expected = np.take_along_axis(np.asarray(encode(batch).tokens), order[..., None], 1)
    np.testing.assert_allclose(encode(shuffled).tokens, expected, atol=1e-5)
    np.testing.assert_allclose(encode(shuffled).cells, encode(batch).cells, atol=1e-5)


def test_padding_changes_nothing(encoder):
    encode, _ = encoder
    batch = builders.cell_batch(num_genes=GENES, num_tokens=8, seed=3)
    padded = batch.replace(
        rna=np.pad(batch.rna, ((0, 0), (0, 5)), constant_values=4),
        atac=np.pad(batch.atac, ((0, 0), (0, 5)), constant_values=2),
        gene_ids=np.pad(batch.gene_ids, ((0, 0), (0, 5)), constant_values=7),
        token_mask=np.pad(batch.token_mask, ((0, 0), (0, 5))),
    )
    plain, more = encode(batch), encode(padded)
    where = batch.token_mask
    np.testing.assert_allclose(
        np.asarray(more.tokens)[:, :8][where],
        np.asarray(plain.tokens)[where],
        atol=1e-5,
    )
    np.testing.assert_allclose(more.cells, plain.cells, atol=1e-5)


def test_cell_vector_is_the_mean_over_genes_that_are_non_zero(encoder):
    encode, batch = encoder
    encoding = encode(batch)
    nonzero = (batch.rna > 0) | (batch.atac > 0)
    for cell in range(6):
        mean = np.asarray(encoding.tokens)[cell][nonzero[cell]].mean(0)
        np.testing.assert_allclose(encoding.cells[cell], mean, atol=1e-5)


def test_silent_genes_that_all_cells_share_are_exact_in_one_layer(
    initialised, encoder, monkeypatch
):
    """And in two they make another model, but one that knows which genes are silent."""
    # It is relative to the stabiliser, which differs.
    monkeypatch.setattr(favor, "EPSILON", 0.0)
    _, whole = encoder
    whole = whole.replace(rna=np.where(whole.rna < 3, 0, whole.rna))
    whole = whole.replace(atac=np.where(whole.rna > 0, whole.atac, 0))
    few = [np.flatnonzero(row) for row in whole.rna]
    length = max(map(len, few))
    ids = np.stack([np.pad(genes, (0, length - len(genes))) for genes in few])
    mask = np.arange(length) < np.array([[len(genes)] for genes in few])
    compact = whole.replace(
        rna=np.where(mask, np.take_along_axis(whole.rna, ids, 1), 0),
        atac=np.where(mask, np.take_along_axis(whole.atac, ids, 1), 0),
        gene_ids=ids.astype(np.int32),
        token_mask=mask,
    )

    _, params, state = initialised  # of two layers; the first alone is one layer

    def encoded(batch, tokens, layers):
        config = builders.encoder_config(GENES, num_layers=layers)
        config = dataclasses.replace(config, tokens=tokens)
        apply = jax.jit(cell_encoder.build_encoder(config).apply)
        return np.asarray(apply(params, state, None, batch)[0].tokens)

    for layers in (1, 2):
        expected = np.take_along_axis(encoded(whole, "all", layers), ids[..., None], 1)[
            mask
        ]
        static = encoded(compact, "static_zeros", layers)[mask]
        unseen = encoded(compact, "nonzero", layers)[mask]
        far = np.linalg.norm(unseen - expected)
        if layers == 1:
            np.testing.assert_allclose(static, expected, atol=2e-5)
            assert far > 0.1
        else:
            assert 1e-3 < np.linalg.norm(static - expected) < far


def test_exact_attention_has_no_sums_to_take_silent_genes_from():
    config = builders.encoder_config(GENES)
    path = dataclasses.replace(config.path, attention="exact")
    with pytest.raises(ValueError, match="tokens must be all or nonzero with exact"):
        dataclasses.replace(config, path=path, tokens="static_zeros")


def test_random_features_are_drawn_anew_in_training_alone(initialised):
    config = builders.encoder_config(GENES)
    path = dataclasses.replace(config.path, redraw_every=2)
    network = cell_encoder.build_encoder(dataclasses.replace(config, path=path))
    batch = builders.cell_batch(num_genes=GENES)
    apply, params, state = initialise(network, batch)
    _, _, usual = initialised
    assert jax.tree.structure(state) != jax.tree.structure(usual)

    def projections(state):
        return [leaves["projection"] for leaves in state.values()]

    drawn = [projections(state)]
    for step in range(5):
        _, state = apply(params, state, jax.random.PRNGKey(step), batch)
        _, judged = apply(params, state, None, batch)
        for a, b in zip(projections(state), projections(judged), strict=True):
            np.testing.assert_array_equal(a, b)
        drawn.append(projections(state))
    changed = [
        [not np.array_equal(a, b) for a, b in zip(*pair, strict=True)]
        for pair in itertools.pairwise(drawn)
    ]
    # Two uses of each, and all layers of both paths at once.
    assert changed == [[False] * 4, [False] * 4, [True] * 4, [False] * 4, [True] * 4]
    assert len({bytes(np.asarray(w)) for w in drawn[-1]}) == 4


def test_the_error_of_favor_is_that_of_each_layer_on_its_own_stream(initialised):
    _, params, state = initialised
    network = cell_encoder.build_approximation_errors(builders.encoder_config(GENES))
    batch = builders.cell_batch(num_genes=GENES)
    apply, measure, layer = map(
        jax.jit, (network.apply, exact_attention.approximation_error, favor.layer)
    )
    errors, _ = apply(params, state, None, batch)
    for modality in ("rna", "atac"):
        embedding = f"cell_encoder/{modality}_embedding"
        values = getattr(batch, modality).astype(int)
        x = np.asarray(params[f"{embedding}/value"]["embeddings"])[values]
        x = x + np.asarray(params[f"{embedding}/gene"]["embeddings"])
        present = getattr(batch, f"{modality}_present")[:, None]
        mask = np.broadcast_to(present, values.shape)
        for index, error in enumerate(errors[modality]):
            name = f"cell_encoder/{modality}_performer/layer_{index}"
            p = favor.LayerParameters(**params[name])
            projection = state[name]["projection"]
            expected = measure(p, projection, x, mask)
            np.testing.assert_allclose(error, expected, rtol=1e-4)
            assert error > 0.01
            x = layer(p, projection, x, mask)
    # Cells that lack a modality, and padding, change nothing.
    present = np.arange(6) != 2
    some, others = (
        apply(
            params,
            state,
            None,
            batch.replace(
                rna=np.where(present[:, None], batch.rna, bin_), rna_present=present
            ),
        )[0]["rna"]
        for bin_ in (1, 4)
    )
    np.testing.assert_allclose(some, others, rtol=1e-5)
    assert not np.allclose(some, errors["rna"], rtol=1e-4)


def test_scatter_puts_tokens_at_their_genes_and_zeros_between():
    ids = np.array([[2, 0, 3], [1, 0, 0]])
    mask = np.array([[True, True, True], [True, False, False]])
    values = np.float32([[5, 6, 7], [8, 9, 9]])
    scatter = jax.jit(token_arrays.scatter_to_genes, static_argnums=3)
    dense = np.asarray(scatter(values, ids, mask, 4))
    np.testing.assert_array_equal(dense, [[6, 0, 5, 7], [0, 8, 0, 0]])
    wide = scatter(np.stack([values, -values], -1), ids, mask, 4)
    np.testing.assert_array_equal(np.asarray(wide)[..., 1], -dense)


def test_no_layers_means_no_attention():
    """The control: a token's output depends on that token alone."""
    network = cell_encoder.build_encoder(builders.encoder_config(GENES, num_layers=0))
    batch = builders.cell_batch(num_genes=GENES)
    apply, params, state = initialise(network, batch)
    other = batch.replace(rna=batch.rna.copy())
    other.rna[:, 1:] = (other.rna[:, 1:] + 1) % 6
    first, second = (
        np.asarray(apply(params, state, None, b)[0].tokens)[:, 0]
        for b in (batch, other)
    )
    np.testing.assert_array_equal(first, second)


def test_study_shape_has_the_parameters_that_the_arithmetic_gives():
    config = cell_encoder.CellEncoderConfig(num_genes=10_733)
    batch = builders.cell_batch(num_cells=1, num_genes=10_733)
    shapes, state = jax.eval_shape(
        cell_encoder.build_encoder(config).init, jax.random.PRNGKey(0), batch
    )
    dim, inner, hidden = 128, 640, 512
    layer = 4 * dim * inner + dim + 2 * dim * hidden + hidden + dim + 4 * dim
    path = 6 * layer + (10_733 + 7) * dim + 2 * dim
    assert hk.data_structures.tree_size(shapes) == 2 * path
    projections = [leaf.shape for leaf in jax.tree.leaves(state)]
    assert projections == [(266, 64)] * 12


@pytest.mark.parametrize(
    "field", [{"dim": 0}, {"num_layers": -1}, {"num_features": 0}, {"key_size": 2}]
)
def test_shapes_that_cannot_be_are_refused(field):
    with pytest.raises(ValueError, match=next(iter(field))):
        PerformerConfig(**field)

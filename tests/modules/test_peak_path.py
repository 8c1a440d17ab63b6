"""The path of peaks beside those of genes: what the joint vector is made of."""

import dataclasses

import haiku as hk
import jax
import numpy as np
import pytest

from scmultimodal.modules import cell_encoder, peak_encoder
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

GENES = 12
NOBODY = np.zeros(6, bool)
BATCH = builders.peak_batch(num_genes=GENES)


def begin(config, batch=BATCH):
    network = hk.transform_with_state(
        lambda batch, at=None: cell_encoder.CellEncoder(config)(batch, at)
    )
    params, state = jax.jit(network.init)(jax.random.PRNGKey(0), batch)
    apply = jax.jit(network.apply)
    return lambda batch, at=None: apply(params, state, None, batch, at)[0], params


@pytest.fixture(scope="module")
def peaks_for_atac():
    return begin(builders.peak_encoder_config(GENES))


def without(batch, modality):
    """A batch in which nobody has a modality."""
    gone = {modality: None, f"{modality}_present": NOBODY}
    return batch.replace(**gone, **({"peaks": None} if modality == "atac" else {}))


def test_the_vector_is_the_mean_of_what_a_cell_has(peaks_for_atac):
    encode, _ = peaks_for_atac
    rna, atac = encode(without(BATCH, "atac")), encode(without(BATCH, "rna"))
    both = np.asarray(encode(BATCH).cells)
    assert atac.tokens is None
    np.testing.assert_allclose(
        both[:-1], (np.asarray(rna.cells) + atac.cells)[:-1] / 2, atol=1e-5
    )
    np.testing.assert_allclose(both[-1], rna.cells[-1], atol=1e-5)
    assert np.abs(np.asarray(rna.cells) - atac.cells).max() > 0.1


def test_peaks_replace_the_values_of_genes(peaks_for_atac):
    encode, params = peaks_for_atac
    silent = BATCH.replace(atac=np.zeros_like(BATCH.atac))
    np.testing.assert_array_equal(encode(silent).cells, encode(BATCH).cells)
    assert not any("atac" in name for name in params)
    assert any(name.startswith("cell_encoder/peak_encoder/") for name in params)


def test_both_paths_of_atac():
    """The genes' part is that of an encoder without peaks."""
    config = builders.peak_encoder_config(GENES, "both")
    network = cell_encoder.build_encoder(config)
    params, state = jax.jit(network.init)(jax.random.PRNGKey(0), BATCH)
    plain = cell_encoder.build_encoder(builders.encoder_config(GENES))
    encoded = network.apply(params, state, None, BATCH)[0]
    genes = plain.apply(params, state, None, BATCH)[0]
    np.testing.assert_allclose(encoded.tokens, genes.tokens, atol=1e-5)
    peaks = begin_peaks(config.peaks, params, state)
    expected = (np.asarray(genes.cells) + peaks)[:-1] / 2
    np.testing.assert_allclose(encoded.cells[:-1], expected, atol=1e-5)


def begin_peaks(config, params, state):
    network = peak_encoder.build_peak_encoder(config)
    own = [
        {
            name.removeprefix("cell_encoder/"): leaves
            for name, leaves in tree.items()
            if "/peak_encoder" in name
        }
        for tree in (params, state)
    ]
    return np.asarray(network.apply(*own, None, BATCH.peaks)[0].cells)


@pytest.mark.parametrize("num_tokens", [None, 9])
def test_genes_that_attend_to_peaks(num_tokens):
    """Tokens of a cell with peaks see them, those of another do not."""
    batch = builders.peak_batch(num_genes=GENES, num_tokens=num_tokens)
    config = builders.peak_encoder_config(GENES, peak_joint="cross_attention")
    encode, params = begin(config, batch)
    assert "cell_encoder/peak_cross" in params
    tokens = np.asarray(encode(batch).tokens)
    other = batch.peaks.replace(
        ids=np.where(batch.peaks.mask, batch.peaks.ids[:, ::-1], 3)
    )
    moved = np.abs(np.asarray(encode(batch.replace(peaks=other)).tokens) - tokens)
    assert (moved.max((1, 2)) > 1e-4).tolist() == [True] * 5 + [False]
    at = np.tile(np.array([4, 1], np.int32), (6, 1))
    some = encode(batch, at)
    assert some.cells is None
    np.testing.assert_allclose(some.tokens, tokens[:, [4, 1]], atol=1e-5)


def test_asked_for_tokens_alone_peaks_are_not_encoded():
    """They would not change them, by the mean."""
    config = builders.peak_encoder_config(GENES)
    at = np.zeros((6, 1), np.int32)
    network = cell_encoder.build_encoder(config)
    shapes = jax.eval_shape(
        lambda rng: network.init(rng, BATCH), jax.random.PRNGKey(0)
    )[0]
    alone = hk.transform_with_state(
        lambda batch: cell_encoder.CellEncoder(config)(batch, at).tokens
    )
    found = jax.eval_shape(lambda rng: alone.init(rng, BATCH), jax.random.PRNGKey(0))[0]
    assert {n for n in shapes if n not in found} == {
        n for n in shapes if "peak_encoder" in n
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"atac_path": "gene"}, "peaks must be given where atac_path is peak or both"),
        ({"peaks": None}, "peaks must be given"),
        (
            {"path": dataclasses.replace(builders.encoder_config().path, dim=6)},
            r"peaks\.path\.dim must be that of path, 6, got 8",
        ),
    ],
)
def test_shapes_that_do_not_fit(fields, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(builders.peak_encoder_config(GENES), **fields)

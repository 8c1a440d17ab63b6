"""The encoder of peaks: what it sees, what it ignores, and what is added to a token."""

import dataclasses

import jax
import numpy as np
import pytest

from scmultimodal.modules import peak_encoder
from scmultimodal.modules.peak_encoder import PeakEncoderConfig
from scmultimodal.modules.performer import PerformerConfig
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

PATH = PerformerConfig(dim=8, num_layers=2, num_heads=2, key_size=4)
CONFIG = PeakEncoderConfig(num_peaks=30, num_chroms=3, path=PATH)
PEAKS = builders.peak_tokens()
KINDS = {
    "favor": CONFIG,
    "exact": dataclasses.replace(
        CONFIG, path=dataclasses.replace(PATH, attention="exact")
    ),
    "mean": dataclasses.replace(
        CONFIG, pool="mean", path=dataclasses.replace(PATH, num_layers=0)
    ),
}


def begin(config):
    """(encode, parameters, state)."""
    network = peak_encoder.build_peak_encoder(config)
    params, state = jax.jit(network.init)(jax.random.PRNGKey(0), PEAKS)
    apply = jax.jit(network.apply, static_argnames="with_tokens")

    def encode(peaks, *, params=params, state=state, with_tokens=True):
        return apply(params, state, None, peaks, with_tokens=with_tokens)[0]

    return encode, params, state


@pytest.fixture(scope="module", params=KINDS)
def encoder(request):
    return begin(KINDS[request.param])


def test_padding_says_nothing(encoder):
    """Neither what stands there, nor how much of it there is."""
    encode, _, _ = encoder
    other = PEAKS.replace(
        ids=np.where(PEAKS.mask, PEAKS.ids, 7),
        chroms=np.where(PEAKS.mask, PEAKS.chroms, 2),
    )
    wider = jax.tree.map(lambda a: np.pad(a, ((0, 0), (0, 4))), PEAKS)
    expected = encode(PEAKS)
    real = PEAKS.mask
    for found in (encode(other), encode(wider)):
        np.testing.assert_allclose(found.cells, expected.cells, atol=1e-5)
        tokens = np.asarray(found.tokens)[:, : real.shape[1]][real]
        np.testing.assert_allclose(tokens, np.asarray(expected.tokens)[real], atol=1e-5)


def test_the_order_of_peaks_does_not_matter(encoder):
    encode, _, _ = encoder
    turned = jax.tree.map(lambda a: a[:, ::-1], PEAKS)
    np.testing.assert_allclose(encode(turned).cells, encode(PEAKS).cells, atol=1e-5)


def test_a_cell_does_not_depend_on_its_neighbours(encoder):
    encode, _, _ = encoder
    alone = encode(jax.tree.map(lambda a: a[1:2], PEAKS)).cells
    np.testing.assert_allclose(alone, encode(PEAKS).cells[1:2], atol=1e-5)


def test_the_vector_alone_is_the_same_vector(encoder):
    encode, _, _ = encoder
    alone = encode(PEAKS, with_tokens=False)
    assert alone.tokens is None
    np.testing.assert_allclose(alone.cells, encode(PEAKS).cells, atol=1e-5)


def test_every_open_peak_and_its_chromosome_move_the_vector(encoder):
    encode, _, _ = encoder
    before = np.asarray(encode(PEAKS).cells)
    for name in ("ids", "chroms"):
        moved = np.array(getattr(PEAKS, name))
        moved[:, 0] = (moved[:, 0] + 1) % 3
        change = np.abs(
            np.asarray(encode(PEAKS.replace(**{name: moved})).cells) - before
        )
        assert (change.max(1) > 1e-3).tolist() == PEAKS.mask[:, 0].tolist()


def test_positions_count_where_they_are_asked_for():
    encode, _, _ = begin(CONFIG)
    there, _, _ = begin(dataclasses.replace(CONFIG, position=True))
    moved = PEAKS.replace(positions=PEAKS.positions + 5_000)
    np.testing.assert_array_equal(encode(moved).cells, encode(PEAKS).cells)
    assert np.abs(there(moved).cells - there(PEAKS).cells)[0].max() > 1e-3


def test_sinusoids_by_hand():
    found = np.asarray(peak_encoder.sinusoids(np.array([[0, 500, 2_000]]), 4))[0]
    long = 2 * np.pi * np.array([0, 500, 2_000]) / 1e9
    expected = np.stack([[0, 1, 0], np.sin(long), [1, 0, 1], np.cos(long)], 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_dna_is_state_that_a_linear_map_reads():
    """Peaks of the same embedding differ by their DNA; no gradient changes it."""
    config = dataclasses.replace(KINDS["mean"], dna_dim=5)
    encode, params, state = begin(config)
    module = next(name for name in state if "dna" in state[name])
    dna = np.zeros((30, 5), np.float32)
    before = encode(PEAKS)
    dna[PEAKS.ids[0, 2]] = np.arange(5)
    after = encode(PEAKS, state={**state, module: {"dna": dna}})
    moved = np.abs(np.asarray(after.tokens) - before.tokens).max(-1) > 1e-4
    has = (PEAKS.ids == PEAKS.ids[0, 2]) & PEAKS.mask
    np.testing.assert_array_equal(moved & PEAKS.mask, has)
    assert not any("dna" in leaves for leaves in params.values())


def test_without_a_layer_cls_would_see_nothing():
    with pytest.raises(ValueError, match="pool must be mean without a layer"):
        dataclasses.replace(KINDS["mean"], pool="cls")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_peaks": 0}, "num_peaks must be positive"),
        ({"dna_dim": 0}, "dna_dim must be positive"),
    ],
)
def test_numbers_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **fields)

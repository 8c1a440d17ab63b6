"""Dials on open peaks: at one nothing changes, at zero a peak is closed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.modules import cell_encoder, peak_dials
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.tasks.cell_type import CellTypeClassification, CellTypeConfig
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

GENES = 12
ENCODER = builders.peak_encoder_config(GENES)
KINDS = {
    "favor": {},
    "exact": {"path": dataclasses.replace(ENCODER.path, attention="exact")},
    "mean": {"pool": "mean"},
    "no_attention": {
        "pool": "mean",
        "path": dataclasses.replace(ENCODER.path, num_layers=0),
    },
}
BATCH = builders.peak_batch(num_genes=GENES).replace(
    rna=None, atac=None, rna_present=np.zeros(6, bool)
)
ONES = jnp.ones(BATCH.peaks.mask.shape)


@pytest.fixture(scope="module", params=KINDS)
def vectors(request):
    """(batch, dials) -> vectors of cells, of random parameters."""
    peaks = dataclasses.replace(ENCODER.peaks, **KINDS[request.param])
    network = cell_encoder.build_encoder(dataclasses.replace(ENCODER, peaks=peaks))
    params, state = jax.jit(network.init)(jax.random.PRNGKey(0), BATCH)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda a: a + rng.normal(0, 0.3, np.shape(a)).astype(np.float32), params
    )

    @jax.jit
    def apply(batch, dials):
        if dials is None:
            return network.apply(params, state, None, batch)[0].cells
        with peak_dials.dialled(dials):
            return network.apply(params, state, None, batch)[0].cells

    return apply


def closed(token):
    """The batch in which one peak of each cell is not open."""
    mask = BATCH.peaks.mask.copy()
    mask[:, token] = False
    return BATCH.replace(peaks=BATCH.peaks.replace(mask=mask))


def test_at_one_nothing_changes(vectors):
    np.testing.assert_allclose(vectors(BATCH, ONES), vectors(BATCH, None), atol=1e-6)


def test_a_dial_at_zero_is_a_closed_peak(vectors):
    """Of cells that have others, too; what is padding has no dial."""
    several = BATCH.peaks.mask.sum(1) > 1
    expected = np.asarray(vectors(closed(0), None))[several]
    found = np.asarray(vectors(BATCH, ONES.at[:, 0].set(0)))[several]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    unchanged = np.asarray(vectors(BATCH, None))[several]
    assert np.abs(expected - unchanged).max() > 1e-2
    padding = jnp.where(BATCH.peaks.mask, 1.0, 0.3)
    np.testing.assert_allclose(vectors(BATCH, padding), vectors(BATCH, None), atol=1e-6)


def test_half_a_peak_twice_is_a_whole_one(vectors):
    """A peak that stands there twice with half its share each."""
    peaks = jax.tree.map(lambda a: np.concatenate([a, a[:, :1]], axis=1), BATCH.peaks)
    halves = jnp.ones(peaks.mask.shape).at[:, 0].set(0.5).at[:, -1].set(0.5)
    found = vectors(BATCH.replace(peaks=peaks), halves)
    open_ = BATCH.peaks.mask[:, 0]
    expected = np.asarray(vectors(BATCH, None))[open_]
    np.testing.assert_allclose(np.asarray(found)[open_], expected, atol=1e-5)


def test_a_dial_turns_its_own_cell_alone(vectors):
    turned = np.asarray(vectors(BATCH, ONES.at[1, 0].set(0.5)))
    moved = np.abs(turned - vectors(BATCH, None)).max(1) > 1e-4
    assert moved.tolist() == [row == 1 for row in range(6)]


HEADS = {
    "vector": {},
    "skip": {"skip": True},
    "root": {"skip": True, "root_skip": True},
}


@pytest.mark.parametrize("head", HEADS)
def test_heads_of_types_read_no_closed_peak(head):
    """Past the trunk, and where genes have attended to peaks, too."""
    batch = builders.peak_batch(num_genes=GENES)
    encoder = builders.peak_encoder_config(GENES, "both", peak_joint="cross_attention")
    shape = CellTypeHeadConfig(
        num_classes=3, hidden=(5,), reads="vector", **HEADS[head]
    )
    task = CellTypeClassification(CellTypeConfig(encoder=encoder, head=shape))
    params, state = jax.jit(task.init)(jax.random.PRNGKey(0), batch)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda a: a + rng.normal(0, 0.5, np.shape(a)).astype(np.float32), params
    )
    predict = jax.jit(lambda batch: task.predict(params, state, batch))

    @jax.jit
    def turned(dials):
        with peak_dials.dialled(dials):
            return task.predict(params, state, batch)

    unchanged = np.asarray(predict(batch))
    np.testing.assert_allclose(turned(ONES), unchanged, atol=1e-5)
    mask = batch.peaks.mask.copy()
    mask[:, :2] = False
    expected = predict(batch.replace(peaks=batch.peaks.replace(mask=mask)))
    several = mask.sum(1) > 1
    found = np.asarray(turned(ONES.at[:, :2].set(0)))[several]
    np.testing.assert_allclose(found, np.asarray(expected)[several], atol=1e-4)
    assert np.abs(found - unchanged[several]).max() > 1e-2

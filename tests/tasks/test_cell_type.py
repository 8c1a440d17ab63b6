"""Fine-tuning: labelled cells alone count, and dropped tokens are gone."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.tasks.cell_type import CellTypeClassification, CellTypeConfig
from tests import builders
from tests.tasks.whole import compiled, drawn

pytestmark = pytest.mark.usefixtures("lightly_compiled")

GENES, CLASSES = 12, 3
RNG = jax.random.PRNGKey(5)


CONFIG = CellTypeConfig(
    encoder=builders.encoder_config(GENES),
    head=CellTypeHeadConfig(num_classes=CLASSES, hidden=(8, 6)),
)


@functools.cache
def make(token_dropout=0.0, dropout=0.0, thinning=0.0):
    config = CellTypeConfig(
        encoder=builders.encoder_config(GENES),
        head=CellTypeHeadConfig(num_classes=CLASSES, hidden=(8, 6), dropout=dropout),
        token_dropout=token_dropout,
        thinning=thinning,
    )
    return compiled(CellTypeClassification(config))


def batch(**fields):
    return builders.cell_batch(num_genes=GENES, num_classes=CLASSES, **fields)


def test_loss_and_accuracy_by_hand():
    task, cells = make(), batch()
    cells = cells.replace(
        label=np.array([0, 1, 2, -1, 1, 0], np.int32), cell_mask=np.arange(6) != 5
    )
    params, state = drawn(task, cells)
    (total, weight), (_, metrics) = task.loss(
        params, state, RNG, cells, is_training=False
    )
    logits = np.asarray(task.predict(params, state, cells))
    counted = [0, 1, 2, 4]
    logp = np.asarray(jax.nn.log_softmax(logits))
    assert weight == 4
    np.testing.assert_allclose(
        total, -sum(logp[i, cells.label[i]] for i in counted), rtol=1e-5
    )
    right = sum(logits[i].argmax() == cells.label[i] for i in counted)
    assert metrics["accuracy"] == (right, 4)


@pytest.mark.parametrize("num_tokens", [None, 9])
def test_thinning_takes_single_counts_and_tokens_without_any(num_tokens):
    task = CellTypeClassification(dataclasses.replace(CONFIG, thinning=0.4))
    cells = builders.cell_batch(
        num_cells=300, num_genes=GENES, num_tokens=num_tokens, modalities=("rna",)
    )
    thinned = jax.jit(task._thin)(RNG, cells)
    assert (thinned.rna <= cells.rna).all()
    kept = np.asarray(thinned.rna, float).sum() / cells.rna.sum()
    assert abs(kept - 0.6) < 0.02
    if num_tokens:
        np.testing.assert_array_equal(thinned.token_mask, thinned.rna > 0)
    params, state = drawn(make(), batch())
    seen, whole = (
        make(thinning=0.4).loss(params, state, RNG, batch(), is_training=t)[0][0]
        for t in (True, False)
    )
    assert seen != whole


@pytest.mark.parametrize("num_tokens", [None, 9])
def test_random_draws_do_not_depend_on_how_a_batch_is_split(num_tokens):
    task, cells = make(token_dropout=0.5, dropout=0.3), batch(num_tokens=num_tokens)
    params, state = drawn(task, cells)

    def loss(cells):
        return task.loss(params, state, RNG, cells, is_training=True)[0]

    whole = loss(cells)
    parts = [
        jax.tree.map(lambda leaf, s=s: leaf[s], cells) for s in (np.s_[:2], np.s_[2:])
    ]
    sums = np.sum([np.asarray(loss(part)) for part in parts], axis=0)
    np.testing.assert_allclose(sums, whole, rtol=1e-5)


def test_token_dropout_is_of_training_alone():
    task, cells = make(token_dropout=0.5), batch(num_tokens=9)
    params, state = drawn(task, cells)
    training = task.loss(params, state, RNG, cells, is_training=True)[0][0]
    plain = make().loss(params, state, RNG, cells, is_training=True)[0][0]
    judged = task.loss(params, state, RNG, cells, is_training=False)[0][0]
    np.testing.assert_allclose(judged, plain, rtol=1e-6)
    assert abs(training - plain) > 1e-4


def test_a_dropped_token_is_as_if_it_were_never_measured():
    task, cells = make(token_dropout=0.5), batch(num_tokens=9)
    params, state = drawn(task, cells)
    kept = np.asarray(jax.jit(task._drop_tokens)(RNG, cells).token_mask)
    assert 0.3 < kept[cells.token_mask].mean() < 0.7
    wild = cells.replace(rna=np.where(kept, cells.rna, 5).astype(np.uint8))
    a = task.predict(params, state, cells.replace(token_mask=kept))
    b = task.predict(params, state, wild.replace(token_mask=kept))
    np.testing.assert_array_equal(a, b)

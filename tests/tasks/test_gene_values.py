"""Values from peaks: what is asked, the loss by hand, and what a value begins as."""

import dataclasses

import jax
import numpy as np
import pytest

from scmultimodal.modules.heads import gene_query
from scmultimodal.modules.heads.gene_query import GeneQueryConfig
from scmultimodal.tasks.gene_values import GeneValues, GeneValuesTaskConfig
from tests import builders
from tests.tasks.whole import compiled, drawn

pytestmark = pytest.mark.usefixtures("lightly_compiled")

GENES = 12
RNG = jax.random.PRNGKey(5)
HEAD = GeneQueryConfig(query_dim=6, gene_dim=5, hidden=7, num_bins=1)
CONFIG = GeneValuesTaskConfig(
    encoder=builders.peak_encoder_config(GENES), head=HEAD, num_queries=None
)


def make(style="concatenated", num_batches=None, **fields):
    head = dataclasses.replace(HEAD, style=style, num_batches=num_batches)
    return compiled(GeneValues(dataclasses.replace(CONFIG, head=head, **fields)))


def cells():
    """Cell 1 has no RNA, cell 5 no ATAC, cell 2 fills the batch up."""
    rng = np.random.default_rng(0)
    values = np.float32(rng.gamma(2, 1, (6, GENES)) * (rng.random((6, GENES)) < 0.6))
    values[1] = 0
    batch = builders.peak_batch(num_genes=GENES)
    return batch.replace(values=values, cell_mask=np.arange(6) != 2)


def asked(batch):
    has = np.arange(6)[:, None]
    return (batch.values > 0) & (has != 2) & (has != 5)


@pytest.mark.parametrize("style", gene_query.STYLES)
def test_the_error_is_of_genes_that_cells_show(style):
    """Each value the same; in training and in validation."""
    task, batch = make(style), cells()
    params, state = drawn(task, batch)
    told = np.asarray(task.predict(params, state, batch), np.float64)
    where = asked(batch)
    expected = ((told - batch.values) ** 2)[where].sum()
    assert np.ptp(told, 0).min() > 0.01
    for is_training in (True, False):
        (total, weight), _ = task.loss(
            params, state, RNG, batch, is_training=is_training
        )
        np.testing.assert_allclose(total, expected, rtol=1e-4)
        assert weight == where.sum()


def test_no_value_of_the_batch_is_seen():
    task, batch = make(), cells()
    params, state = drawn(task, batch)
    told = task.predict(params, state, batch)
    blind = batch.replace(values=None, rna=None, rna_present=np.zeros(6, bool))
    np.testing.assert_array_equal(told, task.predict(params, state, blind))


def test_queries_are_drawn_of_what_is_shown():
    task, batch = make(num_queries=3), cells()
    params, state = drawn(task, batch)
    told = np.asarray(task.predict(params, state, batch))
    weights = {
        float(task.loss(params, state, key, batch, is_training=True)[0][1])
        for key in jax.random.split(RNG, 3)
    }
    assert weights == {np.minimum(asked(batch).sum(1), 3).sum()}
    squares = np.where(asked(batch), (told - batch.values) ** 2, 0)
    totals = [
        float(task.loss(params, state, key, batch, is_training=True)[0][0])
        for key in jax.random.split(RNG, 3)
    ]
    assert len(set(totals)) == 3
    assert max(totals) <= np.sort(squares)[:, -3:].sum() * (1 + 1e-5)
    whole = task.loss(params, state, RNG, batch, is_training=False)[0]
    np.testing.assert_allclose(whole[0], squares.sum(), rtol=1e-4)


@pytest.mark.parametrize("style", gene_query.STYLES)
def test_a_value_begins_as_a_line(style):
    """Whatever is taken from pre-training: what is past it begins at 0."""
    task, batch = make(style), cells()
    params, state = task.init(RNG, batch)
    begun = {"offset": np.arange(12.0, dtype="f4"), "depth_scale": np.float32(-0.3)}
    params = {**params, "gene_value_head": begun}
    expected = begun["offset"] - 0.3 * np.log1p(batch.peaks.mask.sum(1))[:, None]
    np.testing.assert_allclose(
        task.predict(params, state, batch), expected, rtol=1e-5, atol=1e-5
    )


def test_hidden_peaks_are_counted_as_open():
    """Dropout hides what a cell is, not how much of it was seen."""
    task, batch = make(peak_dropout=0.9), cells()
    params, state = task.init(RNG, batch)
    begun = {"offset": np.zeros(12, "f4"), "depth_scale": np.float32(1)}
    params = {**params, "gene_value_head": begun}
    (total, _), _ = task.loss(params, state, RNG, batch, is_training=True)
    (whole, _), _ = task.loss(params, state, RNG, batch, is_training=False)
    np.testing.assert_allclose(total, whole, rtol=1e-5)
    told = drawn(task, batch)
    (total, _), _ = task.loss(*told, RNG, batch, is_training=True)
    (whole, _), _ = task.loss(*told, RNG, batch, is_training=False)
    assert abs(float(total - whole)) > 1e-3


def test_sums_of_a_validation():
    task, batch = make(), cells()
    params, state = drawn(task, batch)
    told = np.asarray(task.predict(params, state, batch), np.float64)
    offset = np.asarray(params["gene_value_head"]["offset"])
    _, (_, sums) = task.loss(params, state, RNG, batch, is_training=False)
    where = asked(batch)
    a, b = (np.where(where, v - offset, 0) for v in (told, batch.values))
    expected = {
        "number": where.sum(0),
        "told": a.sum(0),
        "true": b.sum(0),
        "told_squared": (a * a).sum(0),
        "true_squared": (b * b).sum(0),
        "product": (a * b).sum(0),
    }
    assert set(sums) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(sums[name][0], values, rtol=1e-4, atol=1e-4)
        assert sums[name][1] == 1


def test_a_batch_that_is_not_known_is_the_mean_of_all():
    task, batch = make(num_batches=3), cells()
    of = [batch.replace(batch_code=np.full(6, code, np.int32)) for code in range(3)]
    params, state = drawn(task, of[0])
    each = [np.asarray(task.predict(params, state, one)) for one in of]
    assert np.abs(each[0] - each[1]).max() > 0.01
    told = task.predict(params, state, batch)
    np.testing.assert_allclose(told, np.mean(each, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"encoder": builders.encoder_config()}, "path of peaks"),
        ({"head": GeneQueryConfig()}, "num_bins must be 1"),
        ({"num_queries": 0}, "num_queries must be positive"),
        ({"peak_dropout": 1.0}, "peak_dropout must be in"),
    ],
)
def test_bad_numbers(fields, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(CONFIG, **fields)

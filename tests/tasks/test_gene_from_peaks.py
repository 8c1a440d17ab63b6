"""Expression from peaks: what is seen, what is asked, and the loss by hand."""

import dataclasses
import functools

import haiku as hk
import jax
import numpy as np
import pytest

from scmultimodal.modules.heads.gene_query import GeneQueryConfig, GeneQueryHead
from scmultimodal.tasks.gene_from_peaks import GeneFromPeaks, GeneFromPeaksConfig
from tests import builders
from tests.tasks.whole import compiled, drawn

pytestmark = pytest.mark.usefixtures("lightly_compiled")

GENES, CLASSES = 12, 3
RNG = jax.random.PRNGKey(5)
HEAD = GeneQueryConfig(query_dim=6, gene_dim=5, hidden=7)
CONFIG = GeneFromPeaksConfig(
    encoder=builders.peak_encoder_config(GENES),
    head=HEAD,
    num_queries=6,
    mask_share=0.5,
)


@functools.cache
def make(style="concatenated", tokens="all", num_batches=None, **fields):
    head = dataclasses.replace(
        HEAD, style=style, num_batches=num_batches, num_bins=fields.pop("num_bins", 2)
    )
    encoder = dataclasses.replace(CONFIG.encoder, tokens=tokens)
    config = dataclasses.replace(CONFIG, head=head, encoder=encoder, **fields)
    return compiled(GeneFromPeaks(config))


def cells(**fields):
    """Cell 1 has no RNA, cell 5 no ATAC, cell 2 fills the batch up."""
    batch = builders.peak_batch(num_genes=GENES, num_classes=CLASSES, **fields)
    has = np.arange(6) != 1
    batch.rna[~has] = 0
    batch.rna[:, ::3] = 0
    batch.peaks.mask[2] = False
    return batch.replace(rna_present=has, cell_mask=np.arange(6) != 2)


def dense(batch):
    if batch.gene_ids is None:
        return batch.rna
    found = np.zeros((6, GENES), int)
    for cell, (genes, mask) in enumerate(
        zip(batch.gene_ids, batch.token_mask, strict=True)
    ):
        found[cell, genes[mask]] = batch.rna[cell][mask]
    return found


def test_the_encoder_sees_peaks_alone():
    visible, asked = make().ask(RNG, cells())
    assert (visible.rna, visible.atac, visible.gene_ids, visible.token_mask) == (
        None,
    ) * 4
    assert not np.asarray(visible.rna_present).any()
    shown, had = np.asarray(visible.peaks.mask), cells().peaks.mask
    hidden = np.asarray(asked.peaks.hidden)
    np.testing.assert_array_equal(shown, had & ~hidden)
    assert hidden[1].any()
    assert not np.delete(hidden, 1, 0).any()


@pytest.mark.parametrize("num_tokens", [None, 9])
@pytest.mark.parametrize("num_bins", [2, 5])
def test_true_bins(num_tokens, num_bins):
    batch = cells(num_tokens=num_tokens)
    tokens = "all" if num_tokens is None else "nonzero"
    _, asked = make(tokens=tokens, num_bins=num_bins).ask(RNG, batch)
    true = np.minimum(dense(batch), num_bins - 1)
    ids, where = np.asarray(asked.genes.ids), np.asarray(asked.genes.where)
    expected = np.take_along_axis(true, ids, 1)
    np.testing.assert_array_equal(np.asarray(asked.bins)[where], expected[where])
    assert not where[1].any()
    assert where.any()


@pytest.mark.parametrize("num_tokens", [None, 9])
def test_all_genes(num_tokens):
    """With tokens of all genes, one that is none was not measured."""
    batch = cells(num_tokens=num_tokens)
    tokens = "all" if num_tokens is None else "nonzero"
    if num_tokens is None:
        measured = np.ones((6, GENES), bool)
        measured[:, 3] = False
        batch = batch.replace(token_mask=measured)
    _, asked = make(tokens=tokens, num_queries=None).ask(RNG, batch)
    expected = np.ones((6, GENES), bool)
    expected[:, 3] &= num_tokens is not None
    expected[1] = False
    np.testing.assert_array_equal(asked.genes.where, expected)


@pytest.mark.parametrize("num_queries", [6, None])
@pytest.mark.parametrize("style", ["concatenated", "inner_product", "summed"])
def test_loss_by_hand(style, num_queries):
    fields = {"cell_type_weight": 0.5, "num_classes": CLASSES}
    task, batch = make(style, num_queries=num_queries, **fields), cells()
    batch = batch.replace(label=np.array([0, 1, 2, -1, 1, 0], np.int32))
    params, state = drawn(task, batch)
    (total, weight), (_, metrics) = task.loss(
        params, state, RNG, batch, is_training=False
    )
    visible, asked = task.ask(RNG, batch)
    bins, opens, types = jax.tree.map(
        np.asarray,
        task._forward.apply(
            params, state, None, visible, asked.genes.ids, asked.peaks.queries.ids
        )[0],
    )
    logp, logt = (np.asarray(jax.nn.log_softmax(a)) for a in (bins, types))
    by_cell = {}
    for cell in (0, 3, 4):
        where, true = np.asarray(asked.genes.where)[cell], np.asarray(asked.bins)[cell]
        by_cell[cell] = -np.mean(logp[cell][np.arange(len(true)), true][where])
    where = np.asarray(asked.peaks.queries.where)[1]
    sign = np.where(np.asarray(asked.peaks.is_open)[1], -1, 1)
    by_cell[1] = np.mean(np.log1p(np.exp(sign * opens[1]))[where])
    np.testing.assert_allclose(
        metrics["gene_loss"], (by_cell[0] + by_cell[3] + by_cell[4], 3), rtol=1e-5
    )
    np.testing.assert_allclose(metrics["peak_loss"], (by_cell[1], 1), rtol=1e-5)
    nats = -sum(logt[i, batch.label[i]] for i in (0, 1, 4))
    np.testing.assert_allclose(metrics["type_loss"], (nats, 3), rtol=1e-5)
    np.testing.assert_allclose(total, sum(by_cell.values()) + 0.5 * nats, rtol=1e-5)
    assert weight == 4
    # Cell 2 fills the batch up, cell 5 has no ATAC: they add nothing.
    others = batch.replace(
        rna=np.where(np.isin(np.arange(6), [2, 5])[:, None], 3, batch.rna)
    )
    again = task.loss(params, state, RNG, others, is_training=False)[0]
    np.testing.assert_allclose(again, (total, weight), rtol=1e-6)


def test_all_genes_of_a_wide_vocabulary_take_no_query_of_each_cell():
    """Of 40 cells and 3,000 genes, queries of all would be 15 MB."""
    head = GeneQueryConfig(style="inner_product", query_dim=32, gene_dim=5)
    network = hk.transform(lambda v, i: GeneQueryHead(head, 3_000)(v, i))
    vectors = np.zeros((40, 8), np.float32)
    params = network.init(RNG, vectors, None)

    def loss(params, genes):
        return network.apply(params, None, vectors, genes).sum()

    def temporary(genes):
        compiled = jax.jit(jax.grad(loss)).lower(params, genes).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    every = np.tile(np.arange(3_000, dtype=np.int32), (40, 1))
    assert temporary(None) < 40 * 3_000 * 32 * 4 < temporary(every)


def test_nothing_is_asked_without_peaks():
    """Of cells with RNA alone, where other objectives learn from them."""
    batch = cells().replace(peaks=None)
    task = GeneFromPeaks(CONFIG)
    (total, weight), (_, metrics) = task.loss({}, {}, RNG, batch, is_training=True)
    assert (float(total), float(weight), metrics) == (0, 0, {})


def test_atac_alone_learns_from_its_peaks():
    batch = cells().replace(rna=None, rna_present=np.zeros(6, bool))
    task = make()
    params, state = drawn(task, batch)
    (_, weight), (_, metrics) = task.loss(params, state, RNG, batch, is_training=True)
    _, asked = task.ask(RNG, batch)
    has = np.asarray(asked.peaks.queries.where)[[0, 1, 3, 4]].any(1)
    assert metrics["gene_loss"][1] == 0
    assert metrics["peak_loss"][1] == weight == has.sum() > 1


def test_the_batch_reaches_the_answers_where_it_is_told():
    task = make(num_batches=2)
    batch = cells().replace(batch_code=np.array([0, 1, -1, 1, -1, 0], np.int32))
    params, state = drawn(task, batch)
    genes = np.tile(np.arange(4, dtype=np.int32), (6, 1))

    def tell(codes):
        found = task.predict(params, state, batch.replace(batch_code=codes), genes)
        return np.asarray(found)

    told, swapped = (
        tell(batch.batch_code),
        tell(np.array([1, 1, 0, 1, -1, 0], np.int32)),
    )
    assert (np.abs(told - swapped).max((1, 2)) > 1e-3).tolist() == [
        *(True, False, True, False, False, False)
    ]
    np.testing.assert_allclose(tell(None)[4], told[4], atol=1e-6)


def test_the_answer_is_the_gene_s_own():
    """Whatever else is asked beside it."""
    task, batch = make(), cells()
    params, state = drawn(task, batch)
    some = np.array([[7, 2, 2, 0]] * 6, np.int32)
    every = np.tile(np.arange(GENES, dtype=np.int32), (6, 1))
    one, all_ = (task.predict(params, state, batch, ids) for ids in (some, every))
    np.testing.assert_allclose(one, np.asarray(all_)[:, some[0]], rtol=1e-4, atol=1e-5)


def test_draws_do_not_depend_on_how_a_batch_is_split():
    task, batch = make(), cells()
    params, state = drawn(task, batch)

    def loss(batch):
        return np.asarray(task.loss(params, state, RNG, batch, is_training=True)[0])

    parts = [jax.tree.map(lambda x, p=p: x[p], batch) for p in (slice(3), slice(3, 6))]
    np.testing.assert_allclose(loss(batch), sum(map(loss, parts)), rtol=1e-5)


def test_a_concatenated_query_is_a_layer_on_both():
    """The sum of two linear maps is that of the vectors side by side."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 8)).astype(np.float32)
    ids = np.array([[1, 4], [0, 0], [3, 2]])
    network = hk.transform(lambda v, i: GeneQueryHead(HEAD, GENES)(v, i))
    params = network.init(RNG, vectors, ids)
    p = {k.removeprefix("gene_query_head/"): v for k, v in params.items()}
    normed = (vectors - vectors.mean(1, keepdims=True)) / vectors.std(1, keepdims=True)
    queries = p["gene"]["embeddings"][ids] @ p["query"]["w"] + p["query"]["b"]
    both = np.concatenate([np.repeat(normed[:, None], 2, 1), queries], -1)
    weights = np.concatenate([p["hidden_cell"]["w"], p["hidden_query"]["w"]])
    hidden = np.maximum(both @ weights + p["hidden_cell"]["b"], 0)
    expected = hidden @ p["logits"]["w"] + p["logits"]["b"]
    found = network.apply(params, None, vectors, ids)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"encoder": builders.encoder_config(GENES)},
            "encoder must have a path of peaks",
        ),
        ({"num_queries": 1}, "num_queries must be at least 2"),
        ({"mask_share": 1.0}, "mask_share must be in"),
        ({"cell_type_weight": -1.0}, "cell_type_weight must be at least 0"),
        ({"cell_type_weight": 1.0}, "num_classes must be at least 2"),
        (
            {"head": dataclasses.replace(HEAD, num_bins=1)},
            "num_bins must be at least 2",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_bins": 0}, "num_bins must be positive"),
        ({"query_dim": 0}, "query_dim must be positive"),
    ],
)
def test_heads_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(HEAD, **fields)

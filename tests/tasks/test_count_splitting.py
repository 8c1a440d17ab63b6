"""Count splitting: what is predicted was not seen, and the loss is by hand."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from scmultimodal.modules.heads.counts import CountDecoderConfig
from scmultimodal.tasks.count_splitting import CountSplitting, CountSplittingConfig
from tests import builders
from tests.tasks.whole import compiled, drawn

pytestmark = pytest.mark.usefixtures("lightly_compiled")

GENES = 12
RNG = jax.random.PRNGKey(3)


@functools.cache
def make(dropout=0.5, kept=0.5, tokens="all", by_token=True):
    encoder = builders.encoder_config(GENES)
    config = CountSplittingConfig(
        encoder=dataclasses.replace(encoder, tokens=tokens),
        decoder=CountDecoderConfig(hidden=5, by_token=by_token),
        kept_share=kept,
        modality_dropout=dropout,
    )
    task = CountSplitting(config)
    task.split = jax.jit(task.split)
    return compiled(task)


def dense(batch, values):
    """Counts of tokens at their genes."""
    found = np.zeros((len(values), GENES))
    ids = np.arange(GENES) if batch.gene_ids is None else np.asarray(batch.gene_ids)
    np.add.at(found, (np.arange(len(values))[:, None], ids), np.asarray(values))
    return found


@pytest.mark.parametrize("num_tokens", [None, 9])
def test_what_is_kept_and_what_is_held_make_the_counts(num_tokens):
    batch = builders.cell_batch(num_genes=GENES, num_tokens=num_tokens)
    visible, held = make().split(RNG, batch)
    for modality in ("rna", "atac"):
        kept = np.asarray(getattr(visible, modality))
        np.testing.assert_array_equal(
            kept + np.asarray(held[modality]), getattr(batch, modality)
        )
        shown = np.asarray(getattr(visible, f"{modality}_present"))
        assert not kept[~shown].any()


def test_each_count_is_kept_with_its_share():
    ones = np.full((400, GENES), 5, np.uint8)
    batch = builders.cell_batch(num_cells=400, num_genes=GENES)
    batch = batch.replace(rna=ones, atac=ones)
    visible, _ = make(dropout=0.0, kept=0.3).split(RNG, batch)
    kept = np.asarray(visible.rna)
    assert abs(kept.mean() - 1.5) < 0.06
    assert abs(kept.var() - 5 * 0.3 * 0.7) < 0.1
    assert abs(np.corrcoef(kept.ravel(), np.asarray(visible.atac).ravel())[0, 1]) < 0.05


def test_a_hidden_modality_is_hidden_whole_and_never_both():
    batch = builders.cell_batch(num_cells=400, num_genes=GENES)
    visible, held = make(dropout=0.5).split(RNG, batch)
    hidden = {m: ~np.asarray(getattr(visible, f"{m}_present")) for m in held}
    assert not (hidden["rna"] & hidden["atac"]).any()
    for modality, cells in hidden.items():
        assert 0.18 < cells.mean() < 0.32
        np.testing.assert_array_equal(
            np.asarray(held[modality])[cells], getattr(batch, modality)[cells]
        )


@pytest.mark.parametrize("present", ["rna", "atac"])
def test_a_modality_that_a_cell_lacks_is_neither_hidden_nor_asked_for(present):
    absent = "atac" if present == "rna" else "rna"
    batch = builders.cell_batch(num_genes=GENES)
    batch = batch.replace(**{f"{absent}_present": np.zeros(6, bool)})
    visible, held = make(dropout=1.0).split(RNG, batch)
    assert np.asarray(getattr(visible, f"{present}_present")).all()
    assert not np.asarray(held[absent]).any()


def test_tokens_are_those_that_are_still_seen():
    """Elsewhere the list of tokens would say which genes have counts to predict."""
    batch = builders.cell_batch(num_genes=GENES, num_tokens=9)
    visible, _ = make(tokens="nonzero").split(RNG, batch)
    seen = (np.asarray(visible.rna) > 0) | (np.asarray(visible.atac) > 0)
    np.testing.assert_array_equal(visible.token_mask, seen & batch.token_mask)
    assert np.asarray(visible.token_mask).sum() < batch.token_mask.sum()


@pytest.mark.parametrize("num_tokens", [None, 9])
def test_loss_by_hand(num_tokens):
    task = make(dropout=0.4)
    batch = builders.cell_batch(num_genes=GENES, num_tokens=num_tokens)
    batch = batch.replace(
        cell_mask=np.arange(6) != 5, atac_present=np.arange(6) % 3 > 0
    )
    batch.rna[1] = batch.atac[1] = 0
    params, state = drawn(task, batch)
    (total, weight), (_, metrics) = task.loss(
        params, state, RNG, batch, is_training=True
    )
    visible, held = task.split(RNG, batch)
    logs = task.predict(params, state, visible)
    cells = {}
    for modality, values in held.items():
        counts = dense(batch, values)
        nats = -(counts * np.asarray(logs[modality])).sum(1)
        for cell in range(5):
            if counts[cell].sum():
                cells.setdefault(cell, []).append(nats[cell] / counts[cell].sum())
        some = nats[:5].sum(), counts[:5].sum()
        np.testing.assert_allclose(
            metrics[f"{modality}_nats_per_count"], some, rtol=1e-5
        )
    assert 1 not in cells
    assert weight == len(cells)
    expected = sum(np.mean(means) for means in cells.values())
    np.testing.assert_allclose(total, expected, rtol=1e-5)


def test_shares_sum_to_one_and_can_be_asked_of_what_is_not_shown():
    task = make()
    both = builders.cell_batch(num_genes=GENES)
    params, state = drawn(task, both)
    rna = builders.cell_batch(num_genes=GENES, modalities=("rna",))
    found = CountSplitting(task.config).predict(params, state, rna, ("atac",))
    assert set(found) == {"atac"}
    np.testing.assert_allclose(np.exp(found["atac"]).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("num_tokens", [None, 9])
def test_by_token_a_gene_speaks_for_itself(num_tokens):
    """What a token adds moves its own gene's logit: the others move together."""
    task, plain = make(), make(by_token=False)
    batch = builders.cell_batch(num_genes=GENES, num_tokens=num_tokens)
    params, state = drawn(task, batch)
    found, other = (
        np.asarray(one.predict(params, state, batch)["rna"]) for one in (task, plain)
    )
    moved = found - other
    moved -= np.median(moved, axis=1, keepdims=True)
    for cell in range(6):
        genes = np.arange(GENES)
        if num_tokens is not None:
            genes = batch.gene_ids[cell][batch.token_mask[cell]]
        silent = np.setdiff1d(np.arange(GENES), genes)
        np.testing.assert_allclose(
            np.ptp(moved[cell, silent]) if len(silent) else 0, 0, atol=1e-5
        )
        assert np.ptp(moved[cell, genes]) > 0.01 or len(genes) == 1


def test_draws_do_not_depend_on_how_a_batch_is_split():
    task = make()
    batch = builders.cell_batch(num_genes=GENES)
    params, state = drawn(task, batch)

    def loss(cells):
        return np.asarray(task.loss(params, state, RNG, cells, is_training=True)[0])

    parts = [jax.tree.map(lambda x, p=p: x[p], batch) for p in (slice(3), slice(3, 6))]
    np.testing.assert_allclose(loss(batch), sum(map(loss, parts)), rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kept_share": 1.0}, "kept_share must be in"),
        ({"modality_dropout": 1.5}, "modality_dropout must be in"),
    ],
)
def test_numbers_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        CountSplittingConfig(encoder=builders.encoder_config(GENES), **fields)


def test_a_negative_width_is_refused():
    with pytest.raises(ValueError, match="hidden must be at least 0"):
        CountDecoderConfig(hidden=-1)

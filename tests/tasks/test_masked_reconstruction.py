"""Pre-training: what is hidden stays hidden, and the loss is the mean of means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.ops import losses, masking
from scmultimodal.tasks.masked_reconstruction import (
    MaskedReconstruction,
    MaskedReconstructionConfig,
)
from tests import builders
from tests.tasks.whole import compiled, drawn

pytestmark = pytest.mark.usefixtures("lightly_compiled")

GENES = 12
RNG = jax.random.PRNGKey(7)


def make(share=0.4, replaced=0.9):
    config = MaskedReconstructionConfig(
        encoder=builders.encoder_config(GENES),
        mask_share=share,
        replaced_share=replaced,
    )
    return compiled(MaskedReconstruction(config))


@pytest.fixture(scope="module")
def trained():
    """(task, params, state) with random weights."""
    task = make()
    batch = builders.cell_batch(num_genes=GENES)
    return task, *task.init(jax.random.PRNGKey(0), batch)


@pytest.mark.parametrize("modality", ["rna", "atac"])
@pytest.mark.parametrize("num_tokens", [None, 9])
def test_a_hidden_value_never_reaches_its_own_prediction(trained, modality, num_tokens):
    """Change every hidden value: no logit anywhere moves by a single bit."""
    task, params, state = trained
    batch = builders.cell_batch(num_genes=GENES, num_tokens=num_tokens)
    visible, masked = task.mask(RNG, batch)
    hidden = np.asarray(masked[modality].values) == task.config.encoder.mask_value
    assert hidden.sum() > 5
    values = np.asarray(getattr(batch, modality))
    other = batch.replace(**{modality: np.where(hidden, values % 5 + 1, values)})
    visible_other, masked_other = task.mask(RNG, other)
    np.testing.assert_array_equal(masked_other[modality].where, masked[modality].where)
    for a, b in zip(
        jax.tree.leaves(task.predict(params, state, visible)),
        jax.tree.leaves(task.predict(params, state, visible_other)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_a_visible_value_of_the_other_modality_does_reach_it(trained):
    task, params, state = trained
    batch = builders.cell_batch(num_genes=GENES)
    changed = batch.replace(atac=batch.atac.copy())
    changed.atac[:, 3] = (changed.atac[:, 3] + 1) % 6
    before, after = (
        np.asarray(task.predict(params, state, b)["rna"])[:, 3]
        for b in (batch, changed)
    )
    assert np.abs(before - after).max() > 1e-3


def test_masks_of_the_modalities_are_independent():
    task = make(share=0.5)
    ones = np.ones((50, GENES), np.uint8)
    batch = builders.cell_batch(num_cells=50, num_genes=GENES)
    _, masked = task.mask(RNG, batch.replace(rna=ones, atac=ones))
    agree = np.mean(np.equal(masked["rna"].where, masked["atac"].where))
    assert 0.4 < agree < 0.6


def test_loss_is_the_mean_over_positions_then_modalities_then_cells(trained):
    task, params, state = trained
    batch = builders.cell_batch(num_genes=GENES)
    (total, weight), (_, metrics) = task.loss(
        params, state, RNG, batch, is_training=True
    )
    visible, masked = task.mask(RNG, batch)
    logits = task.predict(params, state, visible)
    logps = {m: np.asarray(jax.nn.log_softmax(logits[m])) for m in logits}
    per_cell = []
    for cell in range(6):
        means = []
        for m in ("rna", "atac"):
            where = np.asarray(masked[m].where)[cell]
            logp = logps[m][cell][where]
            true = np.asarray(getattr(batch, m))[cell][where] - 1
            if where.any():
                means.append(-np.mean([logp[i, t] for i, t in enumerate(true)]))
        if means:
            per_cell.append(np.mean(means))
    assert weight == len(per_cell)
    np.testing.assert_allclose(total, np.sum(per_cell), rtol=1e-5)
    assert metrics["rna_accuracy"][1] == np.asarray(masked["rna"].where).sum()


def test_the_last_layer_at_hidden_positions_alone_changes_nothing():
    """With 200 genes a minority of the rows is computed; loss and gradient agree."""
    genes, share = 200, 0.15
    config = MaskedReconstructionConfig(
        encoder=builders.encoder_config(genes), mask_share=share
    )
    task = compiled(MaskedReconstruction(config))
    batch = builders.cell_batch(num_genes=genes)
    assert masking.most_chosen(genes, share) < genes / 2
    params, state = drawn(task, batch)

    def chosen(params):
        (total, _), _ = task.loss(params, state, RNG, batch, is_training=True)
        return total

    def whole(params):
        visible, masked = task.mask(RNG, batch)
        means = []
        for modality, logits in task.predict(params, state, visible).items():
            values = losses.token_cross_entropy(
                logits=logits, labels=getattr(batch, modality).astype(np.int32) - 1
            )
            where = masked[modality].where & batch.cell_mask[:, None]
            means.append(losses.cell_mean(values=values, where=where)[0])
        return jnp.stack(means).mean(0).sum()

    found, expected = (jax.jit(jax.value_and_grad(f))(params) for f in (chosen, whole))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    for a, b in zip(
        jax.tree.leaves(found[1]), jax.tree.leaves(expected[1]), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_single_modality_has_its_own_loss_alone(trained):
    task, params, state = trained
    batch = builders.cell_batch(num_genes=GENES, modalities=("rna",))
    loss, (_, metrics) = task.loss(params, state, RNG, batch, is_training=True)
    assert set(metrics) == {"rna_loss", "rna_accuracy"}
    np.testing.assert_allclose(loss, metrics["rna_loss"], rtol=1e-6)


def test_a_cell_that_lacks_a_modality_adds_nothing_to_its_loss(trained):
    task, params, state = trained
    batch = builders.cell_batch(num_genes=GENES)
    absent = batch.replace(atac=batch.atac.copy(), atac_present=np.arange(6) > 0)
    absent.atac[0] = 0
    _, (_, metrics) = task.loss(params, state, RNG, absent, is_training=True)
    where = np.asarray(task.mask(RNG, absent)[1]["atac"].where)
    assert not where[0].any()
    assert metrics["atac_loss"][1] == where.any(-1).sum()


def test_filling_rows_weigh_nothing(trained):
    task, params, state = trained
    batch = builders.cell_batch(num_genes=GENES)
    filled = batch.replace(cell_mask=np.arange(6) < 4)
    part = jax.tree.map(lambda leaf: leaf[:4], batch)
    a = task.loss(params, state, RNG, filled, is_training=True)
    b = task.loss(params, state, RNG, part, is_training=True)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5)


@pytest.mark.long
def test_learns_to_copy_across_modalities(trained):
    """RNA bins that equal ATAC bins: the joint embedding is what tells them."""
    import optax

    task, (_, params, state) = make(share=0.5, replaced=1.0), trained
    rng = np.random.default_rng(0)

    def batch(seed):
        values = np.random.default_rng(seed).integers(1, 6, (32, GENES))
        made = builders.cell_batch(num_cells=32, num_genes=GENES)
        values = values.astype(np.uint8)
        return made.replace(rna=values, atac=values)

    optimizer = optax.adam(1e-2)
    opt_state = jax.jit(optimizer.init)(params)

    @jax.jit
    def step(params, opt_state, key, batch):
        def mean(params):
            (total, weight), _ = task.loss(params, state, key, batch, is_training=True)
            return total / weight

        updates, opt_state = optimizer.update(jax.grad(mean)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    for i in range(150):
        params, opt_state = step(params, opt_state, jax.random.PRNGKey(i), batch(i))
    test = batch(10_000)
    visible, masked = task.mask(RNG, test)
    # Where RNA is hidden and ATAC is not, the answer stands in the other path.
    told = np.asarray(masked["rna"].where) & ~np.asarray(masked["atac"].where)
    shuffled = visible.replace(atac=rng.permuted(np.asarray(visible.atac), axis=0))

    def accuracy(batch):
        bins = np.asarray(task.predict(params, state, batch)["rna"]).argmax(-1) + 1
        return (bins == test.rna)[told].mean()

    assert accuracy(visible) > 0.9
    assert accuracy(shuffled) < 0.5


@pytest.mark.parametrize("fields", [{"mask_share": 0.0}, {"replaced_share": 1.1}])
def test_shares_that_cannot_be_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        MaskedReconstructionConfig(encoder=builders.encoder_config(), **fields)


def test_bins_are_counted_from_one(trained):
    """Logit k stands for bin k + 1."""
    task, (_, params, state) = make(share=1.0, replaced=1.0), trained
    batch = builders.cell_batch(num_genes=GENES, modalities=("rna",))
    head = params["rna_reconstruction_head/linear"]
    head = {"w": np.zeros_like(head["w"]), "b": np.float32([0, 0, 9, 0, 0])}
    params = params | {"rna_reconstruction_head/linear": head}
    _, (_, metrics) = task.loss(params, state, RNG, batch, is_training=True)
    right, of = metrics["rna_accuracy"]
    assert right == (batch.rna == 3).sum()
    assert of == (batch.rna > 0).sum()

"""Masked k-mers: what is hidden stays hidden, and k-mers alone are predicted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scmultimodal.tasks.masked_kmers import MaskedKmers, MaskedKmersConfig
from tests import builders
from tests.tasks.whole import compiled

pytestmark = pytest.mark.usefixtures("lightly_compiled")

RNG = jax.random.PRNGKey(7)
MASK, FIRST, NUM = 2, 6, 16


def make(**fields):
    shares = {"mask_share": 0.5} | fields
    config = MaskedKmersConfig(
        encoder=builders.dna_encoder_config(), first_kmer=FIRST, num_kmers=NUM, **shares
    )
    return compiled(MaskedKmers(config))


@pytest.fixture(scope="module")
def trained():
    """(task, params, state) with random weights."""
    task = make()
    return task, *task.init(jax.random.PRNGKey(0), builders.token_batch())


def test_kmers_alone_are_masked_in_the_right_shares():
    task = make(mask_share=0.15)
    batch = builders.token_batch(num_sequences=400, num_tokens=80)
    visible, where = task.mask(RNG, batch)
    old, new, where = batch.token_ids, np.asarray(visible.token_ids), np.asarray(where)
    is_kmer = (old >= FIRST) & (old < FIRST + NUM)
    assert not where[~is_kmer].any()
    np.testing.assert_array_equal(new[~where], old[~where])
    assert abs(where[is_kmer].mean() - 0.15) < 0.01
    assert abs((new == MASK)[where].mean() - 0.8) < 0.02
    # One random k-mer of sixteen is the old one.
    assert abs((new == old)[where].mean() - (0.1 + 0.1 / NUM)) < 0.02
    other = new[where & (new != MASK) & (new != old)]
    assert set(np.unique(other)) == set(range(FIRST, FIRST + NUM))


def test_rows_are_masked_differently_and_alike_wherever_they_stand():
    task, batch = make(), builders.token_batch(num_sequences=20, num_tokens=60)
    visible, where = task.mask(RNG, batch)
    part, part_where = task.mask(RNG, jax.tree.map(lambda leaf: leaf[12:], batch))
    np.testing.assert_array_equal(part.token_ids, np.asarray(visible.token_ids)[12:])
    np.testing.assert_array_equal(part_where, np.asarray(where)[12:])
    same = jax.tree.map(lambda leaf: leaf[:2], batch)
    same.token_ids[1] = same.token_ids[0]
    seen = np.asarray(task.mask(RNG, same)[0].token_ids)
    assert (seen[0] != seen[1]).any()


def test_a_hidden_kmer_never_reaches_its_own_prediction(trained):
    """Change every token that is replaced: no logit moves by a single bit."""
    task, params, state = trained
    batch = builders.token_batch()
    visible, where = task.mask(RNG, batch)
    hidden = np.asarray(visible.token_ids) == MASK
    assert hidden.sum() > 5
    other = batch.replace(
        token_ids=np.where(
            hidden, (batch.token_ids - FIRST + 1) % NUM + FIRST, batch.token_ids
        )
    )
    visible_other, where_other = task.mask(RNG, other)
    np.testing.assert_array_equal(where_other, where)
    np.testing.assert_array_equal(
        task.predict(params, state, visible), task.predict(params, state, visible_other)
    )


def test_loss_and_accuracy_by_hand(trained):
    task, params, state = trained
    batch = builders.token_batch().replace(sequence_mask=np.arange(6) != 3)
    (total, weight), (_, metrics) = task.loss(
        params, state, RNG, batch, is_training=True
    )
    visible, where = jax.device_get(task.mask(RNG, batch))
    logits = np.asarray(task.predict(params, state, visible))
    logp = np.asarray(jax.nn.log_softmax(logits))
    expected, hidden, right, count, masked = 0, 0, 0, 0, 0
    for sequence, token in zip(*np.nonzero(where), strict=True):
        if sequence != 3:
            true = batch.token_ids[sequence, token]
            loss = -logp[sequence, token, true]
            expected, count = expected + loss, count + 1
            if visible.token_ids[sequence, token] == 2:
                right += logits[sequence, token].argmax() == true
                hidden, masked = hidden + loss, masked + 1
    assert weight == count > masked > 0
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert metrics["hidden_accuracy"] == (right, masked)
    np.testing.assert_allclose(metrics["hidden_loss"], (hidden, masked), rtol=1e-5)
    assert len(metrics) == 2


def test_an_empty_batch_has_no_weight_and_a_finite_gradient(trained):
    task, params, state = trained
    batch = builders.token_batch()
    batch = batch.replace(token_ids=np.ones_like(batch.token_ids))

    @jax.jit
    def pulled(params, batch):
        def total(params):
            return task.loss(params, state, RNG, batch, is_training=True)[0]

        totals, pull = jax.vjp(total, params)
        return totals, pull((jnp.ones(()), jnp.zeros(())))

    totals, gradient = pulled(params, batch)
    assert totals == (0, 0)
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_array_equal(leaf, 0)


def test_learns_what_the_neighbours_tell(trained):
    """Every sequence repeats one k-mer: the visible ones name the hidden."""
    task, (_, params, state) = make(mask_share=0.3), trained

    def batch(seed):
        made = builders.token_batch(num_sequences=32, seed=seed)
        kmer = np.random.default_rng(seed).integers(FIRST, FIRST + NUM, (32, 1))
        is_kmer = made.token_ids >= FIRST
        return made.replace(
            token_ids=np.where(is_kmer, kmer, made.token_ids).astype(np.int32)
        )

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
    (loss, weight), (_, metrics) = task.loss(
        params, state, RNG, batch(10_000), is_training=False
    )
    right, of = metrics["hidden_accuracy"]
    assert right / of > 0.9
    assert loss / weight < 0.5 < np.log(NUM)


@pytest.mark.parametrize(
    "fields",
    [
        {"mask_share": 0.0},
        {"replaced_share": 0.8, "random_share": 0.3},
        {"random_share": -0.1},
        {"num_kmers": 4096},
    ],
)
def test_configurations_that_cannot_be_are_refused(fields):
    config = make().config
    with pytest.raises(ValueError, match=next(iter(fields))):
        dataclasses.replace(config, **fields)

"""Pre-training on linked data learns, and uses the joint embedding."""

import dataclasses

import jax
import numpy as np
import pytest

from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows import pretrain, pretrain_batches, pretrain_tasks
from tests import builders


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """(store, config, model) of simulated cells whose peaks follow their genes."""
    folder = tmp_path_factory.mktemp("pretrain")
    store = builders.simulated_store(folder / "data", num_cells=1_200, num_genes=80)
    config = builders.small_pretraining(steps=150, batch_size=64)
    return store, config, pretrain.run(store, config, folder / "run")


def judged(pretrained, modality):
    """Share of hidden bins of the test cells that are right, in three ways."""
    store, config, model = pretrained
    task = pretrain_tasks.masked_bins(store, config)
    builder = pretrain_batches.make_builder(store, config)
    batch = builder.build(store.split("test"), Regime.MULTIOME)
    visible, masked = task.mask(jax.random.PRNGKey(1), batch)
    where = np.asarray(masked[modality].where)
    true = getattr(batch, modality)

    def accuracy(batch):
        logits = task.predict(model.params, model.network_state, batch)[modality]
        return (np.asarray(logits).argmax(-1) + 1 == true)[where].mean()

    other = "atac" if modality == "rna" else "rna"
    shuffled = np.random.default_rng(0).permutation(len(true))
    strangers = np.asarray(getattr(visible, other))[shuffled]
    training = store.rows(modality, store.split("train")).toarray()
    counts = [(training == bin_).sum(0) for bin_ in range(1, 6)]
    most_frequent = np.argmax(counts, axis=0) + 1
    by_gene = (np.broadcast_to(most_frequent, true.shape) == true)[where].mean()
    return accuracy(visible), accuracy(visible.replace(**{other: strangers})), by_gene


@pytest.mark.parametrize("modality", ["rna", "atac"])
def test_held_out_bins_are_predicted_and_the_other_modality_helps(pretrained, modality):
    ours, with_strangers, by_gene = judged(pretrained, modality)
    assert ours > by_gene + 0.08
    assert with_strangers < ours - 0.05


def test_regimes_take_turns_and_show_what_they_say(pretrained):
    store, config, _ = pretrained
    batches = pretrain_batches.mixed_batches(
        store, pretrain_batches.make_builder(store, config), config
    )
    shown = [(b.rna is not None, b.atac is not None) for b in map(batches, range(6))]
    assert shown == [(True, False), (False, True), (True, True)] * 2
    train = set(store.split("train"))
    assert all(set(batches(s).cell_index) <= train for s in range(6))


def test_a_batch_is_a_function_of_seed_and_step(pretrained):
    store, config, _ = pretrained

    def cells(config, step):
        builder = pretrain_batches.make_builder(store, config)
        return pretrain_batches.mixed_batches(store, builder, config)(step).cell_index

    np.testing.assert_array_equal(cells(config, 40), cells(config, 40))
    other = dataclasses.replace(config, seed=1)
    assert (cells(config, 40) != cells(other, 40)).any()


@pytest.mark.long
def test_an_interrupted_run_goes_on_to_the_same_bits(pretrained, tmp_path, monkeypatch):
    store, config, _ = pretrained
    config = dataclasses.replace(config, steps=9, checkpoint_every=3)
    whole = pretrain.run(store, config, tmp_path / "whole")
    build = pretrain_batches.mixed_batches

    def breaking(*arguments):
        batches = build(*arguments)

        def batch(step, share):
            if step == 5:
                raise OSError("the power went")
            return batches(step, share)

        return batch

    with monkeypatch.context() as patch:
        patch.setattr(pretrain_batches, "mixed_batches", breaking)
        with pytest.raises(OSError, match="power"):
            pretrain.run(store, config, tmp_path / "broken")
    resumed = pretrain.run(store, config, tmp_path / "broken")
    for a, b in zip(
        jax.tree.leaves((whole.params, whole.network_state)),
        jax.tree.leaves((resumed.params, resumed.network_state)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)

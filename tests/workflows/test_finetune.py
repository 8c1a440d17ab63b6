"""Fine-tuning: the head, past the trunk too, and what it begins as."""

import dataclasses

import numpy as np
import pytest

from scmultimodal.data.sampling import WHOLE
from scmultimodal.evaluation import naive_bayes
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.training.metrics import read_metrics
from scmultimodal.training.optimizers import OptimizerConfig, build_optimizer
from scmultimodal.workflows import (
    finetune,
    finetune_cells,
    finetune_rates,
    judge,
    pretrain,
)
from scmultimodal.workflows.finetune_config import FinetuneConfig
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

CONFIG = FinetuneConfig(
    epochs=1,
    batch_size=32,
    hidden=(8,),
    by_value=True,
    skip=True,
    optimizer=OptimizerConfig(learning_rate=1e-9, weight_decay=0.0),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetune")
    return builders.simulated_store(folder / "data", num_cells=400)


def run(store, out, **fields):
    """Trains from scratch, without attention."""
    shape = builders.small_pretraining(tokens="nonzero")
    shape = dataclasses.replace(
        shape, path=dataclasses.replace(shape.path, num_layers=0)
    )
    start = pretrain.untrained(store, shape)
    config = dataclasses.replace(CONFIG, **fields)
    return finetune.run(store, start, config, Regime.MULTIOME, out, from_scratch=True)


def accuracy(store, model):
    cells = finetune_cells.cells_of(store, "test", Regime.MULTIOME)
    logits = judge.predict(store, model, Regime.MULTIOME, cells)
    return (logits.argmax(1) == store.labels[cells]).mean()


@pytest.mark.long
def test_the_skip_begins_as_a_share_of_naive_bayes(store, tmp_path):
    """Without a step of learning it tells types as well as that does."""
    model = run(store, tmp_path / "run", naive_bayes=0.5)
    own = model.params["cell_type_head"]
    train = finetune_cells.cells_of(store, "train", Regime.MULTIOME)
    for modality in Modality:
        expected = 0.5 * naive_bayes.log_likelihoods(
            store.rows(modality, train), store.labels[train], len(store.label_names)
        )
        np.testing.assert_allclose(own[f"{modality}_skip"], expected, atol=1e-6)
    plain = run(store, tmp_path / "plain")
    assert np.abs(plain.params["cell_type_head"]["rna_skip"]).max() < 1e-6
    assert accuracy(store, model) > max(0.8, accuracy(store, plain) + 0.2)
    assert model.config.head.skip
    assert model.config.head.by_value


@pytest.mark.long
def test_a_model_without_attention_learns(store, tmp_path):
    config = {"optimizer": OptimizerConfig(learning_rate=3e-3), "epochs": 8}
    assert accuracy(store, run(store, tmp_path / "run", **config)) > 0.8


def test_naive_bayes_needs_the_skip():
    with pytest.raises(InputError, match=r"naive_bayes: is 0\.5, skip is False"):
        FinetuneConfig(naive_bayes=0.5)


def test_few_labels_and_those_that_naive_bayes_adds(store, tmp_path, monkeypatch):
    """The first network sees the labelled cells alone, the second all of them."""
    seen = []

    def fit(task, *, train_batches, **_):
        batch = train_batches(0, WHOLE)
        seen.append((batch.cell_index[batch.cell_mask], batch.label[batch.cell_mask]))
        raise Stopped

    class Stopped(Exception):  # noqa: N818
        pass

    monkeypatch.setattr(finetune.loop, "fit", fit)
    for number, taught in enumerate((False, True)):
        with pytest.raises(Stopped):
            run(
                store,
                tmp_path / str(number),
                labels_per_type=10,
                self_training=taught,
                batch_size=1_000,
            )
    known = finetune_cells.labelled_cells(store, Regime.MULTIOME, 10)
    train = finetune_cells.cells_of(store, "train", Regime.MULTIOME)
    assert len(known) == 10 * len(store.label_names)
    (few, labels), (all_, taught) = seen
    assert set(few) == set(known)
    assert set(all_) == set(train)
    np.testing.assert_array_equal(labels, store.labels[few])
    of_known = np.isin(all_, known)
    np.testing.assert_array_equal(taught[of_known], store.labels[all_[of_known]])
    right = (taught == store.labels[all_])[~of_known].mean()
    assert 0.6 < right < 1


def test_few_cells_are_shown_more_often(store, tmp_path):
    model = run(store, tmp_path / "run", labels_per_type=2, min_steps=7, epochs=3)
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    steps = [r["step"] for r in records if r["split"] == "validation"]
    assert steps == [2, 4, 6, 7]
    assert model.config.provenance["best_step"] in steps


def test_rates_by_layer(store):
    """From the top layer down to the embeddings, then what is above."""
    config = FinetuneConfig(layer_decay=0.5, head_rate=0.1)
    two, none = (builders.encoder_config(num_layers=n) for n in (2, 0))
    rates = finetune_rates.optimizer(config, 100, two, ("rna",)).rates
    assert [rate for _, rate in rates] == [0.5, 1.0, 0.25, 0.1, 1.0]
    without = FinetuneConfig(layer_decay=0.5)
    rates = finetune_rates.optimizer(without, 100, none, ("rna",)).rates
    assert rates == FinetuneConfig().optimizer.rates
    start = pretrain.untrained(store, builders.small_pretraining())
    head = {"cell_type_head/logits": {"w": np.zeros((2, 2))}}
    build_optimizer(
        finetune_rates.optimizer(config, 100, start.config.encoder, ("rna",)),
        {**start.params, **head},
        100,
    )
    with pytest.raises(InputError, match="layer_decay: is 0"):
        FinetuneConfig(layer_decay=0.0)


def test_cells_without_a_label_are_taught_too(store):
    """By self-training, whether labels were hidden or never known."""
    train = store.split("train")
    obs = store.obs.copy()
    unknown = train[::3]
    obs.iloc[unknown, obs.columns.get_loc("label")] = np.nan
    partly = dataclasses.replace(store, obs=obs)
    assert (partly.labels[unknown] < 0).all()
    config, encoder = FinetuneConfig(self_training=True), builders.encoder_config()
    cells, labels = finetune_cells.shown(partly, Regime.MULTIOME, config, encoder)
    np.testing.assert_array_equal(cells, np.sort(train))
    assert (labels[cells] >= 0).all()
    assert (labels[unknown] == store.labels[unknown]).mean() > 0.8
    plain, _ = finetune_cells.shown(partly, Regime.MULTIOME, FinetuneConfig(), encoder)
    assert set(plain) == set(train) - set(unknown)


def test_thinning_needs_counts(store, tmp_path):
    with pytest.raises(InputError, match=r"strategy '.*', and thinning is 0\.2"):
        run(store, tmp_path / "run", thinning=0.2)
    with pytest.raises(InputError, match=r"thinning: is 1\.0"):
        FinetuneConfig(thinning=1.0)

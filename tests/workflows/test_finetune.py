"""Fine-tuning: the head, past the trunk too, and what it begins as."""

import dataclasses

import numpy as np
import pytest

from scmultimodal.evaluation import naive_bayes
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.workflows import finetune, judge, pretrain
from scmultimodal.workflows.finetune import FinetuneConfig
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
    cells = finetune.cells_of(store, "test", Regime.MULTIOME)
    logits = judge.predict(store, model, Regime.MULTIOME, cells)
    return (logits.argmax(1) == store.labels[cells]).mean()


def test_the_skip_begins_as_a_share_of_naive_bayes(store, tmp_path):
    """Without a step of learning it tells types as well as that does."""
    model = run(store, tmp_path / "run", naive_bayes=0.5)
    own = model.params["cell_type_head"]
    train = finetune.cells_of(store, "train", Regime.MULTIOME)
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


def test_a_model_without_attention_learns(store, tmp_path):
    config = {"optimizer": OptimizerConfig(learning_rate=3e-3), "epochs": 8}
    assert accuracy(store, run(store, tmp_path / "run", **config)) > 0.8


def test_naive_bayes_needs_the_skip():
    with pytest.raises(InputError, match=r"naive_bayes: is 0\.5, skip is False"):
        FinetuneConfig(naive_bayes=0.5)

"""Further training by which batches leave vectors: what is taken, told and refused."""

import dataclasses

import numpy as np
import pytest

from scmultimodal.models import CellModel
from scmultimodal.schemas.errors import InputError
from scmultimodal.training.metrics import read_metrics
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.workflows import batch_correction, pretrain
from scmultimodal.workflows.batch_correction import BatchCorrectionConfig
from scmultimodal.workflows.peak_path import GeneFromPeaksOptions
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

CONFIG = BatchCorrectionConfig(steps=3, batch_size=32, num_queries=8)
STILL = OptimizerConfig(learning_rate=1e-9, weight_decay=0.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return builders.peak_store(tmp_path_factory.mktemp("peaks") / "data")


@pytest.fixture(scope="module")
def start(store):
    options = GeneFromPeaksOptions(weight=1.0, num_queries=16, tell_batch=True)
    config = builders.peak_pretraining(gene_from_peaks=options)
    return pretrain.untrained(store, config)


def test_it_goes_on_and_imputes_without_a_batch(store, start, tmp_path):
    model = batch_correction.run(store, start, CONFIG, tmp_path)
    last = read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert last["adversary_loss"] > 0
    assert 0 <= last["batch_accuracy"] <= 1
    assert last["gene_loss"] > 0
    told = model.config.genes_told
    assert told.head.num_batches == store.obs["batch"].nunique()
    atac = builders.simulated_cells(num_cells=200, num_genes=40)["atac"].copy()
    again = CellModel.load(tmp_path)
    assert again.impute(atac, "rna").uns["scmm_values"] == "probability of expression"
    assert again.modalities == ("atac",)


def test_all_is_taken_but_what_batches_were_told(store, start, tmp_path):
    trained = {
        **start.params,
        "gene_query_head/batch": {
            "embeddings": 1 + start.params["gene_query_head/batch"]["embeddings"]
        },
    }
    begun = dataclasses.replace(start, params=trained)
    config = dataclasses.replace(CONFIG, steps=1, optimizer=STILL)
    model = batch_correction.run(store, begun, config, tmp_path)
    fresh = model.params["gene_query_head/batch"]["embeddings"]
    np.testing.assert_allclose(fresh, 0, atol=1e-5)
    for module, leaves in start.params.items():
        for name, values in leaves.items():
            np.testing.assert_allclose(model.params[module][name], values, atol=1e-5)


def test_without_an_adversary_what_answers_is_told_the_batch(store, start, tmp_path):
    config = dataclasses.replace(CONFIG, adversary=0.0)
    model = batch_correction.run(store, start, config, tmp_path)
    assert not any("adversary" in module for module in model.params)
    moved = model.params["gene_query_head/batch"]["embeddings"]
    assert np.abs(moved).max() > 0


def test_what_cannot_be_corrected(store, start, tmp_path):
    one = store.obs.assign(batch="all")
    alone = dataclasses.replace(store, obs=one)
    with pytest.raises(InputError, match="tells no batches, or one"):
        batch_correction.run(alone, start, CONFIG, tmp_path)
    by_gene = pretrain.untrained(store, builders.small_pretraining())
    with pytest.raises(InputError, match="reads gene-level ATAC and no peaks"):
        batch_correction.run(store, by_gene, CONFIG, tmp_path)
    with pytest.raises(InputError, match="adversary: is -1"):
        BatchCorrectionConfig(adversary=-1.0)

"""Pre-training by count splitting: a vector that tells counts it was not made from."""

import dataclasses

import numpy as np
import pytest

from scmultimodal import datasets
from scmultimodal.evaluation import imputation
from scmultimodal.models import CellModel
from scmultimodal.modules.heads.counts import CountDecoderConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.singlecell.recipe import RecipeConfig
from scmultimodal.training.metrics import read_metrics
from scmultimodal.workflows import prepare, pretrain, pretrain_batches, pretrain_tasks
from scmultimodal.workflows.pretrain_config import PretrainConfig
from tests import builders

SMALL = builders.small_pretraining()
CONFIG = dataclasses.replace(
    SMALL,
    path=dataclasses.replace(SMALL.path, num_layers=0),
    steps=200,
    batch_size=64,
    mask_weight=0.0,
    count_weight=1.0,
    mixing={Regime.MULTIOME: 1.0},
    decoder=CountDecoderConfig(hidden=64, by_token=True),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Cells whose peaks follow their genes, with counts for bins."""
    data = builders.simulated_cells(num_cells=900, num_genes=60)
    recipe = RecipeConfig(target_sum=None, strategy="counts")
    return prepare.run(
        data,
        datasets.simulated_genes(data),
        prepare.PrepareConfig(label="cell_type", recipe=recipe),
        tmp_path_factory.mktemp("counts") / "data",
        provenance={"name": "simulated", "simulated": True},
    )


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    pretrain.run(store, CONFIG, path)
    return path


def nats(folder, modality):
    """Per count of the validation cells, at the last step."""
    records = read_metrics(folder / "metrics.jsonl")
    (last,) = [r for r in records if r["split"] == "validation"][-1:]
    return last[f"{modality}_nats_per_count"]


@pytest.mark.parametrize("modality", ["rna", "atac"])
def test_unseen_counts_are_told_better_than_by_the_mean_profile(
    store, folder, modality
):
    def counts(split):
        return store.rows(modality, store.split(split)).toarray().astype(float)

    shares = counts("train").sum(0) + 1
    held = counts("validation")
    mean = -(held @ np.log(shares / shares.sum())).sum() / held.sum()
    assert nats(folder, modality) < mean - 0.03


def test_a_model_tells_each_modality_from_the_other(store, folder):
    """By gene and by cell, and not once the cells are shuffled."""
    model = CellModel.load(folder)
    fresh = builders.simulated_cells(num_cells=900, num_genes=60)[store.split("test")]
    order = model.genes["gene_id"].to_numpy()
    imputed = model.impute(fresh["atac"], "rna")
    assert list(imputed.var_names) == list(order)
    np.testing.assert_allclose(imputed.X.sum(1), 10_000, rtol=1e-4)
    measured = np.log1p(fresh["rna"][:, imputed.var_names].X.toarray())
    told = imputation.score(np.log1p(imputed.X), measured.astype(np.float32)).means()
    strangers = np.random.default_rng(0).permutation(len(measured))
    shuffled = imputation.score(
        np.log1p(imputed.X[strangers]), measured.astype(np.float32)
    ).means()
    assert told["gene_pearson"] > 0.2
    assert told["gene_pearson"] > shuffled["gene_pearson"] + 0.15


def test_both_objectives_together(store, tmp_path):
    config = dataclasses.replace(CONFIG, steps=3, mask_weight=1.0)
    model = pretrain.run(store, config, tmp_path)
    assert {"count_decoder/rna_genes", "rna_reconstruction_head/linear"} <= set(
        model.params
    )
    last = read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert {"masked_loss", "counts_loss", "rna_nats_per_count"} <= set(last)


def test_one_kind_of_batch_alone_has_its_path_alone(store, tmp_path):
    config = dataclasses.replace(CONFIG, steps=2, mixing={Regime.RNA: 1.0})
    model = pretrain.run(store, config, tmp_path)
    assert model.config.modalities == ("rna",)
    assert not any("atac" in name for name in model.params)
    cells = builders.simulated_cells(num_cells=20, num_genes=60)
    with pytest.raises(InputError, match="not trained to tell counts of atac"):
        CellModel(model).impute(cells, "atac")


def test_bins_that_are_no_counts_are_refused(tmp_path):
    other = builders.simulated_store(tmp_path / "data")
    with pytest.raises(InputError, match=r"strategy 'gene_normalized'.*--count-weight"):
        pretrain.run(other, CONFIG, tmp_path / "run")


def test_a_model_of_masked_bins_cannot_impute(tmp_path):
    other = builders.simulated_store(tmp_path / "data")
    model = CellModel(pretrain.untrained(other, builders.small_pretraining()))
    cells = builders.simulated_cells(num_cells=20)
    with pytest.raises(InputError, match="scmultimodal pretrain --preset best"):
        model.impute(cells, "rna")
    with pytest.raises(InputError, match="'protein'"):
        model.impute(cells, "protein")


@pytest.mark.parametrize("weights", [(0.0, 0.0), (-1.0, 1.0)])
def test_nothing_to_learn_is_refused(weights):
    with pytest.raises(InputError, match="Give one above 0"):
        PretrainConfig(mask_weight=weights[0], count_weight=weights[1])


@pytest.mark.long
def test_batches_kept_out_of_the_vector(store, tmp_path):
    """The adversary is given the batches of the cells, and a dataset must have some."""
    config = dataclasses.replace(CONFIG, steps=2, adversary=0.5, mask_weight=0.0)
    plain = dataclasses.replace(store, obs=store.obs.drop(columns="batch"))
    with pytest.raises(InputError, match="tells no batches, or one"):
        pretrain_tasks.make_task(plain, config)
    codes = np.arange(store.num_cells) % 3
    codes[::5] = -1
    names = [f"batch {code}" if code >= 0 else None for code in codes]
    obs = store.obs.assign(batch=names)
    mixed = dataclasses.replace(store, obs=obs)
    builder = pretrain_batches.make_builder(mixed, config)
    batch = pretrain_batches.mixed_batches(mixed, builder, config)(0)
    real = np.asarray(batch.cell_mask)
    np.testing.assert_array_equal(batch.label[real], codes[batch.cell_index[real]])
    pretrain.run(mixed, config, tmp_path / "run")
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert 0 <= records[-1]["batch_accuracy"] <= 1
    assert records[-1]["adversary_loss"] > 0
    with pytest.raises(InputError, match=r"adversary: is -1"):
        dataclasses.replace(CONFIG, adversary=-1.0)

"""Studies: their numbers, their command line, and a tiny run."""

import importlib
import json
import shlex

import jax
import pytest

from experiments import train
from scmultimodal import datasets
from scmultimodal.data.store import Store
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.tasks.masked_reconstruction import (
    MaskedReconstruction,
    MaskedReconstructionConfig,
)
from scmultimodal.weights import export
from tests import builders

GENES = 10_733  # of the study's multiome data (SPEC 2.1)
SHAPES = {
    "small": {"dim": 64, "layers": 2, "query": (64, 2, 32), "projection": (32, 32)},
    "study": {"dim": 128, "layers": 6, "query": (128, 10, 64), "projection": (266, 64)},
}
TINY = (
    "--data.dataset simulated --path.dim 8 --path.num-layers 0 --steps 3 --seed 3 "
    "--batch-size 16 --optimizer.warmup-steps 1 --optimizer.learning-rate 3e-4"
)


def test_a_study_that_is_many_trainings_refuses_several_hosts(monkeypatch, capsys):
    from scmultimodal.training.meeting import HostsConfig

    role = HostsConfig(coordinator="localhost:1", hosts=2, host=1).environment()
    for name, value in role.items():
        monkeypatch.setenv(name, value)
    assert train.main(["cell_model.token_modes", "--out", "x"]) == 2
    assert "does not train on several hosts" in capsys.readouterr().err


def parsed(name, *arguments):
    study = importlib.import_module(f"experiments.{name}")
    return train.parse(study, ["--out", "x", *arguments])


def pretraining_of(study):
    """The pre-training of a study, which may be all of it or a part."""
    whole = getattr(study, "cell_types", study)
    return whole.pretrain


@pytest.mark.parametrize("preset", SHAPES)
@pytest.mark.parametrize("name", ["cell_model.pretraining", "cell_model.cell_type"])
def test_every_study_starts_at_the_shape_of_its_preset(name, preset):
    config = pretraining_of(parsed(name, "--preset", preset))
    encoder = CellEncoderConfig(num_genes=GENES, path=config.path)
    task = MaskedReconstruction(
        MaskedReconstructionConfig(
            encoder=encoder,
            mask_share=config.mask_share,
            replaced_share=config.replaced_share,
        )
    )
    tokens = None if config.tokens == "all" else max(config.buckets)
    batch = builders.cell_batch(num_cells=2, num_genes=GENES, num_tokens=tokens)
    key = jax.random.PRNGKey(config.seed)
    params, state = jax.eval_shape(task.init, key, batch)
    expected = SHAPES[preset]
    for path in ("rna", "atac"):
        gene = params[f"cell_encoder/{path}_embedding/gene"]["embeddings"]
        value = params[f"cell_encoder/{path}_embedding/value"]["embeddings"]
        assert gene.shape == (GENES, expected["dim"])
        assert value.shape == (5 + 2, expected["dim"])
        layers = [module for module in params if f"{path}_performer/layer" in module]
        assert len(layers) == expected["layers"]
        for layer in layers:
            assert params[layer]["query"].shape == expected["query"]
            assert state[layer]["projection"].shape == expected["projection"]


def test_the_study_preset_has_the_numbers_of_the_study():
    study = parsed("cell_model.cell_type", "--preset=study").cell_types
    assert (study.pretrain.tokens, study.pretrain.mask_share) == ("all", 0.15)
    assert (study.prepare.recipe.target_sum, study.finetune.hidden) == (1e4, (512, 100))


def test_the_best_preset_is_of_the_cell_model_alone():
    study = parsed("cell_model.cell_type", "--preset=best").cell_types
    assert study.prepare.recipe.strategy == "counts"
    assert (study.pretrain.count_weight, study.finetune.naive_bayes) == (1.0, 0.3)
    with pytest.raises(SystemExit):
        parsed("genome_model.segmentation", "--preset=best")


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("cell_model.pretraining", ""), ("cell_model.cell_type", "pretrain.")],
)
@pytest.mark.parametrize("preset", SHAPES)
def test_overrides_arrive_and_leave_the_rest_of_the_preset(name, prefix, preset):
    given = {
        "optimizer.learning-rate": "3e-4",
        "steps": "7",
        "seed": "3",
        "checkpoint-every": "2",
        "resume": "never",
    }
    flags = [text for k, v in given.items() for text in (f"--{prefix}{k}", v)]
    config = pretraining_of(parsed(name, *flags, "--preset", preset))
    assert config.optimizer.learning_rate == 3e-4
    assert (config.steps, config.seed) == (7, 3)
    assert (config.checkpoint_every, config.resume) == (2, "never")
    plain = pretraining_of(parsed(name, "--preset", preset))
    assert (config.path, config.batch_size) == (plain.path, plain.batch_size)


@pytest.mark.parametrize("arguments", [[], ["cell_model.pretrainign", "--out", "x"]])
def test_an_unknown_study_lists_the_studies(capsys, arguments):
    assert train.main(arguments) == 2
    shown = capsys.readouterr().err
    assert all(name in shown for name in train.STUDIES)


def test_a_flag_that_is_unknown_or_missing_stops_the_run(capsys):
    wrong = [["--out", "x", "--stepz", "3"], ["--out", "x", "--preset", "huge"], []]
    for arguments in wrong:
        with pytest.raises(SystemExit) as stopped:
            train.main(["cell_model.pretraining", *arguments])
        assert stopped.value.code == 2
    assert "--out" in capsys.readouterr().err


@pytest.fixture
def few_cells(monkeypatch):
    """Simulated data sets are small."""
    simulate = datasets.simulate_multiome
    monkeypatch.setattr(
        datasets,
        "simulate_multiome",
        lambda num_cells, seed: simulate(num_cells=240, seed=seed),
    )


@pytest.mark.usefixtures("lightly_compiled", "few_cells")
def test_a_tiny_pretraining_leaves_its_run_folder(tmp_path, capsys):
    out = tmp_path / "run"
    run = ["cell_model.pretraining", "--out", str(out), *shlex.split(TINY)]
    assert train.main(run) == 0
    assert str(out / "model") in capsys.readouterr().out
    config = json.loads((out / "config.json").read_text())
    assert config["preset"] == "small"
    assert (config["pretrain"]["steps"], config["pretrain"]["seed"]) == (3, 3)
    records = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    assert [(r["step"], r["split"]) for r in records] == [
        (3, "train"),
        (3, "validation"),
    ]
    store, model = Store.open(out / "data"), export.load(out / "model")
    assert store.manifest["provenance"]["simulated"] is True
    assert model.config.encoder.num_genes == store.num_genes
    assert model.config.encoder.path.dim == 8
    assert (out / "curves.png").stat().st_size > 10_000
    facts = json.loads((out / "report" / "report.json").read_text())
    (part,) = facts["results"]["pretraining"]["parts"]
    assert part["scores"][0]["values"]["loss"] > 0
    assert part["examples"]["run"]
    assert facts["runs"][0]["environment"]["devices"]

    assert train.main([*run, "--resume", "never"]) == 2
    assert "has a checkpoint, and resume is 'never'" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.usefixtures("lightly_compiled", "few_cells")
def test_the_error_of_attention_is_measured_on_a_trained_model(tmp_path, capsys):
    tiny = TINY.replace("num-layers 0", "num-layers 2")
    run = ["cell_model.pretraining", "--out", str(tmp_path / "run"), *shlex.split(tiny)]
    assert train.main(run) == 0
    out = tmp_path / "error"
    measure = ["cell_model.attention_error", "--model", str(tmp_path / "run")]
    measure += ["--data.dataset", "simulated", "--cells", "5", "--out"]
    assert train.main([*measure, str(out), "--seed", "3"]) == 0
    errors = json.loads((out / "attention_error.json").read_text())
    assert set(errors) == {"rna", "atac"}
    assert all(0.001 < error < 10 for layers in errors.values() for error in layers)
    shown = capsys.readouterr().out
    assert f"| rna | {errors['rna'][0]:.3f} | {errors['rna'][1]:.3f} |" in shown
    # Another split has other medians.
    assert train.main([*measure, str(tmp_path / "other")]) == 2
    assert "knows other genes, medians or bins" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.usefixtures("lightly_compiled", "few_cells")
def test_tokens_are_compared_by_scores_and_cost(tmp_path, capsys):
    out = tmp_path / "run"
    run = ["cell_model.token_modes", "--out", str(out), "--data.dataset", "simulated"]
    run += shlex.split(
        "--modes nonzero static_zeros --seeds 0 1 --regimes rna --turns 1 "
        "--pretrain.steps 3 --pretrain.batch-size 16 --pretrain.path.dim 8 "
        "--pretrain.path.num-layers 1 --finetune.epochs 1 --finetune.hidden 4"
    )
    assert train.main(run) == 0
    shown = capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["costs"]) == {"nonzero", "static_zeros"}
    assert all(cost["seconds"] > 0 for cost in summary["costs"].values())
    models = {(row["model"], row["seed"]) for row in summary["scores"]}
    assert {("static_zeros", 1), ("logistic_regression", 0)} < models
    for model in ("nonzero", "naive_bayes"):
        one, two = (r["accuracy"] for r in summary["scores"] if r["model"] == model)
        spread = abs(one - two) / 2**0.5
        assert f"| rna | {model} | {(one + two) / 2:.3f} ± {spread:.3f} |" in shown
    assert (out / "tokens.png").stat().st_size > 10_000
    # What was trained is not trained again.
    kept = out / "seed_1" / "scores.json"
    stamp = kept.stat().st_mtime_ns
    assert train.main(run) == 0
    assert kept.stat().st_mtime_ns == stamp
    assert train.main([*run, "--pretrain.seed", "3"]) == 2
    assert "is not read by this study" in capsys.readouterr().err


def test_the_peaks_study_has_epifoundations_sizes():
    study = parsed("cell_model.peaks", "--preset=study").pretrain
    path = study.peaks.path
    shape = path.dim, path.num_layers, path.num_heads, path.key_size
    assert shape == (512, 6, 8, 64)
    assert (study.peaks.tokens.most, study.batch_size) == (8_192, 8 * 20)
    small = parsed("cell_model.peaks", "--seeds", "0", "4")
    assert small.seeds == (0, 4)
    assert small.pretrain.gene_from_peaks.weight == 1


@pytest.mark.long
@pytest.mark.usefixtures("few_cells")
def test_peaks_are_compared_with_what_is_simple(tmp_path, capsys):
    out = tmp_path / "run"
    run = ["cell_model.peaks", "--out", str(out), "--data.dataset", "simulated"]
    tiny = (
        "--pretrain.steps 3 --pretrain.batch-size 16 --finetune.epochs 1 "
        "--pretrain.gene-from-peaks.loadings 5 --no-gene-level"
    )
    assert train.main([*run, *tiny.split()]) == 0
    rows = json.loads((out / "summary.json").read_text())["scores"]
    models = {row["model"] for row in rows}
    assert {"peaks", "peaks_from_scratch", "peaks_naive_bayes"} <= models
    assert "| atac | peaks |" in capsys.readouterr().out
    assert train.main([*run, *tiny.split(), "--pretrain.seed", "2"]) == 2
    assert "give --seeds" in capsys.readouterr().err


def test_ctrl_c_ends_a_study_without_a_traceback(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt("stopped after step 2 of 3")

    monkeypatch.setattr("experiments.cell_model.data.load", stop)
    assert train.main(["cell_model.pretraining", "--out", "x"]) == 130
    assert "stopped after step 2 of 3" in capsys.readouterr().err


def test_a_file_without_an_annotation_is_refused(tmp_path, capsys):
    data = ["--data.dataset", "my.h5mu"]
    run = ["cell_model.pretraining", "--out", str(tmp_path / "run"), *data]
    assert train.main(run) == 2
    assert "--data.genes" in capsys.readouterr().err
    with pytest.raises(InputError, match="gene places"):
        train.main([*run, "--debug"])
    assert not list(tmp_path.iterdir())


def test_what_is_prepared_is_trained_on_as_it_is(tmp_path):
    store = builders.simulated_store(tmp_path / "cells", num_cells=120)
    run = shlex.split(
        f"cell_model.pretraining --out {tmp_path / 'run'} {TINY} "
        f"--data.dataset {tmp_path / 'cells'}"
    )
    assert train.main(run) == 0
    model = export.load(tmp_path / "run" / "model")
    assert model.vocabulary.digest() == store.vocabulary.digest()
    assert not (tmp_path / "run" / "data").exists()

"""The study's runs: every line is one that its program takes, with its numbers."""

import importlib
import shlex
import tomllib
from pathlib import Path

import haiku as hk
import jax
import numpy as np
import pytest

from experiments import data_manifest, study_runs, train
from experiments.prepare_lines import Lines
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.schemas.batches import SegmentationBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.tasks.cell_type import CellTypeClassification, CellTypeConfig
from scmultimodal.tasks.masked_reconstruction import (
    MaskedReconstruction,
    MaskedReconstructionConfig,
)
from scmultimodal.workflows import ranking, segmentation
from tests import builders
from tpu import __main__ as launcher
from tpu import launch, pod

RUNS = study_runs.read()
PODS = Path(pod.__file__).with_name("pods")
PLACES = {"data": "D", "runs": "R", "models": "M"}
GENES, TYPES = 10_733, 11  # of the study's data, and of Zheng68k
ENCODER = 52_484_608
SCORERS = {
    "linear": 256_513,
    "transformer": 2_881_793,
    "unet": 16_778_241,
    "convolutional": 2_033_041,
}


def of(study):
    return [name for name, run in RUNS.items() if run.study.endswith(study)]


def parsed(name):
    """The numbers of a run, as its program reads them from the line."""
    study, *flags = RUNS[name].words(**PLACES)
    numbers = train.parse(importlib.import_module(f"experiments.{study}"), flags)
    assert numbers.out == Path("R") / name
    assert numbers.preset == "study"
    return numbers


def shapes(task, batch):
    return jax.eval_shape(task.init, jax.random.PRNGKey(0), batch)[0]


def test_the_runs_are_those_of_the_study():
    assert len(of("pretraining")) == 2
    assert len(of("finetuning")) == 5
    assert len(of("region_ranking")) == 8 + 1
    assert len(of("segmentation")) == 4
    assert len(RUNS) == 20
    published = {name: dict(run.published) for name, run in RUNS.items()}
    # SPEC 2.6 and 3.4.
    assert published["zheng68k"] == {"accuracy": 0.706, "mcc": 0.635, "f1": 0.705}
    names = ("rna", "mixed_rna", "mixed_multiome")
    tuned = [published[f"neurips_bmmc_{name}"]["mcc"] for name in names]
    assert tuned == [0.802, 0.825, 0.844]
    assert [published[name]["mcc"] for name in of("segmentation")] == [
        0.17,
        0.32,
        0.32,
        0.32,
    ]


@pytest.mark.parametrize("name", of("pretraining"))
def test_a_pretraining_has_the_studys_numbers_and_shape(name):
    config = parsed(name).pretrain
    assert (config.batch_size, config.tokens) == (256, "all")
    assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (
        5e-5,
        1e-4,
    )
    mixed = "round_robin" if name == "pretraining_mixed" else {Regime.RNA: 1.0}
    assert config.mixing == mixed
    task = MaskedReconstruction(
        MaskedReconstructionConfig(
            encoder=CellEncoderConfig(num_genes=GENES, path=config.path),
            mask_share=config.mask_share,
            replaced_share=config.replaced_share,
        )
    )
    params = shapes(task, builders.cell_batch(num_cells=2, num_genes=GENES))
    genes = params["cell_encoder/atac_embedding/gene"]["embeddings"]
    assert genes.shape == (GENES, 128)
    query = params["cell_encoder/rna_performer/layer_5"]["query"]
    assert query.shape == (128, 10, 64)


@pytest.mark.parametrize("name", of("finetuning"))
def test_a_fine_tune_starts_from_the_shape_of_its_pretraining(name):
    study = parsed(name)
    (before,) = RUNS[name].after
    assert study.model == Path("R") / before / "model"
    config = study.finetune
    assert (config.batch_size, config.hidden) == (256, (512, 100))
    assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (
        5e-4,
        1e-4,
    )
    one = data_manifest.read().datasets[Path(study.data.dataset).name]
    assert one.phase == "finetune"
    assert set(study.modality.modalities) <= set(Regime(one.modality).modalities)
    trunk = CellEncoderConfig(num_genes=GENES, path=parsed(before).pretrain.path)
    head = CellTypeHeadConfig(num_classes=TYPES, hidden=config.hidden)
    task = CellTypeClassification(CellTypeConfig(encoder=trunk, head=head))
    batch = builders.cell_batch(
        num_cells=2,
        num_genes=GENES,
        modalities=tuple(study.modality.modalities),
        num_classes=TYPES,
    )
    params = shapes(task, batch)
    widths = [
        params[f"cell_type_head/{layer}"]["w"].shape
        for layer in ("hidden_0", "hidden_1", "logits")
    ]
    assert widths == [(GENES, 512), (512, 100), (100, TYPES)]
    shown = {key.split("_")[1].split("/")[1] for key in params if "performer" in key}
    assert shown == set(study.modality.modalities)


@pytest.mark.parametrize("name", of("region_ranking"))
def test_a_ranking_has_the_studys_numbers_and_parameters(name):
    study = parsed(name)
    version, head, encoder = name.removeprefix("ranking_").split("_")
    assert study.data.spans == Path("D") / f"spans_{version}"
    assert study.start == Path("M/nt-v2-50m")
    config = study.ranking
    assert (study.head, config.encoder, config.batch_size) == (head, encoder, 64)
    assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (
        5e-5,
        1e-3,
    )
    scorer = config.scorer.__class__(name=study.head)
    task = ranking.make_task(config.__class__(shape=config.shape, scorer=scorer), None)
    params = shapes(task, builders.region_batch(num_spans=1, num_tokens=501))
    assert hk.data_structures.tree_size(params) == ENCODER + SCORERS[head]


@pytest.mark.parametrize("name", of("segmentation"))
def test_a_segmentation_has_the_studys_numbers_and_parameters(name):
    study = parsed(name)
    config = study.segmentation
    kind = name.removeprefix("segmentation_")
    starts = {
        "random": None,
        "pretrained": Path("M/nt-v2-50m"),
        "atac_v1": Path("R/ranking_v1_convolutional_trained/model"),
        "atac_v2": Path("R/ranking_v2_convolutional_trained/model"),
    }
    assert study.encoder == starts[kind]
    before = (study.encoder.parent.name,) if "atac" in kind else ()
    assert RUNS[name].after == before
    assert config.steps == (40_000 if kind == "random" else 10_000)
    assert (config.batch_size, config.gamma, config.window_bp) == (256, 2.0, 3_000)
    assert config.optimizer.learning_rate == 5e-5
    batch = SegmentationBatch(
        token_ids=np.zeros((1, 501), np.int32),
        labels=np.zeros((1, 3_000), np.uint16),
        known=np.zeros(1, np.uint16),
        sequence_mask=np.ones(1, bool),
        row=np.zeros(1, np.int32),
    )
    params = shapes(segmentation.make_task(config, None), batch)
    assert hk.data_structures.tree_size(params) == ENCODER + 16_608_424


def test_what_the_runs_read_is_what_the_data_are_prepared_to():
    """Addresses of data among the flags, and --out of the lines that make it."""
    manifest = data_manifest.read()
    lines = Lines(manifest=manifest, folder=Path("F"), out=Path("D"))
    made = [lines.pretraining(), lines.segmentation()]
    made += [lines.ranking("v1"), lines.ranking("v2")]
    made += [lines.alone(one) for one in manifest.of_phase("finetune")]
    folders = {words[words.index("--out") + 1] for words in made}
    read = {
        word
        for run in RUNS.values()
        for word in run.words(**PLACES)
        if word.startswith("D/")
    }
    assert read == folders


def test_the_command_prints_lines_with_what_is_known(capsys):
    given = ["zheng68k", "--runs", "my runs", "--data", "gs://b/data"]
    assert study_runs.main(given) == 0
    shown = capsys.readouterr().out
    assert "# the study reached accuracy 0.706, mcc 0.635, f1 0.705" in shown
    line = shown[shown.index("python") :].replace("\\\n", "")
    words = RUNS["zheng68k"].words(data="gs://b/data", runs="my runs", models="m")
    assert shlex.split(line) == ["python", "-m", "experiments.train", *words]
    assert study_runs.main(["nothing"]) == 2
    assert "nothing: is no run of the study. Name some of" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--runs", "--models"])
def test_what_is_in_a_bucket_is_of_pods_alone(flag, capsys):
    assert study_runs.main(["zheng68k", flag, "gs://b/x"]) == 2
    said = capsys.readouterr().err
    assert f"{flag}: is gs://b/x, which lines without --pods cannot use" in said
    assert study_runs.main(["zheng68k", flag, "gs://b/x", "--pods", "p"]) == 0


def test_what_is_ours_is_said(capsys):
    """Steps that the study does not publish, and pods that nobody reckoned."""
    assert study_runs.main([]) == 0
    shown = capsys.readouterr().out
    assert shown.count("(memory and hours not reckoned)") == len(RUNS) - 2
    for name, run in RUNS.items():
        note = " ".join(run.note.split())
        assert ("--steps" in run.flags) == (
            "which are ours" in note or "steps are ours" in note
        )
        assert ("the study's table says 256" in note) == ("--path.dim 128" in run.flags)
        assert ("three of the study's four sources" in note) == ("ranking" in name)


def test_lines_for_pods_are_those_of_the_launcher(capsys, monkeypatch):
    """What the launcher takes for itself, and what is left to the study."""
    places = ["--data", "gs://b/data", "--runs", "gs://b/runs", "--models", "gs://b/m"]
    assert study_runs.main(["--pods", str(PODS), *places]) == 0
    lines = capsys.readouterr().out.replace("\\\n", " ").splitlines()
    found = {}

    def run(command, of_study, backend):
        found[command.out] = (command.pod.name, [command.study, *of_study])

        return 0

    monkeypatch.setattr(launch, "run", run)
    for line in filter(None, lines):
        if not line.startswith("#"):
            words = shlex.split(line)
            assert words[:4] == ["python", "-m", "tpu", "run"]
            assert launcher.main(words[3:]) == 0
    assert list(found) == [f"gs://b/runs/{name}" for name in RUNS]
    for name, run in RUNS.items():
        words = run.words(data="gs://b/data", runs="gs://b/runs", models="gs://b/m")
        assert found[f"gs://b/runs/{name}"] == (run.pod, words[:-2])


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("cell_model.pretraining", "cell_model.cell_type", r"cell_type does not train"),
        ('after = ["pretraining_rna"]', 'after = ["later"]', r"from 'later', which is"),
        ("source =", "sauce =", r"has no field 'sauce'"),
    ],
)
def test_a_file_with_a_mistake(tmp_path, before, after, words):
    path = tmp_path / "study_runs.toml"
    path.write_text(study_runs.FILE.read_text().replace(before, after))
    with pytest.raises(InputError, match=words):
        study_runs.read(path)


# The pods.


@pytest.mark.parametrize(
    "path", sorted(PODS.glob("*.toml")), ids=lambda path: path.stem
)
def test_the_pods_are_pods(path):
    """With placeholders for what is the user's own."""
    numbers = pod.read(path)
    one = pod.Pod(**numbers)
    assert one.name == one.accelerator_type == path.stem
    assert (one.project, one.bucket) == ("my-project", "gs://my-bucket/scmultimodal")


def test_chips_and_hosts_of_the_pods():
    """As their comments say."""
    sizes = {}
    for path in PODS.glob("*.toml"):
        one = pod.Pod(**tomllib.loads(path.read_text()))
        sizes[path.stem] = (one.chips, one.hosts)
    assert sizes == {
        "v4-8": (4, 1),
        "v4-32": (16, 4),
        "v5litepod-16": (16, 4),
        "v5p-8": (4, 1),
        "v6e-16": (16, 4),
    }
    assert {run.pod for run in RUNS.values()} <= set(sizes)

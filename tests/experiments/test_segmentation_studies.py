"""Studies of segmentation: their numbers, tiny runs, and labels of hg38."""

import importlib
import json
import shlex

import haiku as hk
import jax
import numpy as np
import pytest

from experiments import train
from experiments.genome_model import labels
from experiments.genome_model.labels import LabelsConfig
from scmultimodal.evaluation import element_summary
from scmultimodal.evaluation.element_summary import Counts, EncoderResult
from scmultimodal.evaluation.segmentation import average_precision, mcc
from scmultimodal.genome import elements
from scmultimodal.genome.elements import ELEMENTS
from scmultimodal.models import GenomeModel
from scmultimodal.schemas.batches import SegmentationBatch
from scmultimodal.workflows import segmentation
from tests import builders
from tests.workflows import test_segmentation

SHAPE = (
    "--shape.dim 8 --shape.num-layers 1 --shape.num-heads 2 --shape.hidden 8 "
    "--shape.max-tokens 16 "
)
TINY = SHAPE + (
    "--window-bp 240 --steps 4 --batch-size 4 --evaluate-every 2 "
    "--validation-windows 8 --optimizer.warmup-steps 0 "
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genome")
    return test_segmentation.prepare(folder, length_bp=10_000)


def parsed(name, *arguments):
    study = importlib.import_module(f"experiments.genome_model.{name}")
    return train.parse(study, ["--out", "x", *arguments])


def test_the_study_preset_has_the_published_numbers():
    config = parsed("segmentation", "--preset", "study").segmentation
    assert (config.gamma, config.batch_size, config.window_bp) == (2.0, 256, 3_000)
    assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (5e-5, 0)
    task = segmentation.make_task(config, None)
    batch = SegmentationBatch(
        token_ids=np.zeros((1, 501), np.int32),
        labels=np.zeros((1, 3_000), np.uint16),
        known=np.zeros(1, np.uint16),
        sequence_mask=np.ones(1, bool),
        row=np.zeros(1, np.int32),
    )
    params, _ = jax.eval_shape(task.init, jax.random.PRNGKey(0), batch)
    assert hk.data_structures.tree_size(params) == 52_484_608 + 16_608_424


@pytest.mark.parametrize("preset", ["small", "study"])
def test_every_study_begins_with_its_preset(preset):
    one = parsed("segmentation", "--preset", preset)
    four = parsed("segmentation_encoders", "--preset", preset)
    assert one.segmentation == four.segmentation
    assert four.ranking.scorer.name == "convolutional"


@pytest.mark.long
@pytest.mark.usefixtures("lightly_compiled")
def test_a_run_segments_judges_and_leaves_its_model(store, tmp_path, capsys):
    out = tmp_path / "run"
    run = ["genome_model.segmentation", "--out", str(out)]
    run += ["--labels.elements", str(store.path), *shlex.split(TINY)]
    assert train.main(run) == 0
    shown = capsys.readouterr().out
    assert "test part, every base once" in shown
    assert "segmentation_head/unet/down_0_0" in shown
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary) == ["validation", "test", "test, baseline"]
    for rows in summary.values():
        assert [row["name"] for row in rows] == list(ELEMENTS)
    assert "every base once, logistic regression" in shown
    assert GenomeModel.load(out).segment("ACGTN" * 30).shape == (150, 14)
    assert (out / "curves.png").stat().st_size > 10_000
    facts = json.loads((out / "report" / "report.json").read_text())
    parts = {part["part"]: part for part in facts["results"]["segmentation"]["parts"]}
    assert parts["test"]["examples"]["run"]
    assert (out / "report" / "index.html").exists()


@pytest.mark.usefixtures("lightly_compiled")
def test_a_dry_run_writes_nothing(store, tmp_path, capsys):
    out = tmp_path / "run"
    run = ["genome_model.segmentation", "--out", str(out), "--dry-run"]
    run += ["--labels.elements", str(store.path), *shlex.split(TINY)]
    assert train.main(run) == 0
    assert "4 rows" in capsys.readouterr().out
    assert not out.exists()


@pytest.mark.long
@pytest.mark.usefixtures("lightly_compiled")
def test_four_encoders_side_by_side(store, tmp_path, capsys, monkeypatch):
    made = builders.accessible_genome(tmp_path)
    monkeypatch.setattr("scmultimodal.datasets.dnase_regions", lambda: made)
    monkeypatch.setattr(labels, "load", lambda config, out: store)
    out = tmp_path / "encoders"
    flags = TINY + (
        "--labels.peaks.window-bp 96 --labels.peaks.shift-factor 2 "
        "--labels.peaks.signal-lists 60 --seeds 0 1 "
        "--kmers.steps 2 --kmers.window-bp 96 --kmers.batch-size 4 "
        "--kmers.optimizer.warmup-steps 0 --kmers.validation-windows 8 "
        "--kmers.table-windows 20 --kmers.shape.dim 8 --kmers.shape.num-layers 1 "
        "--kmers.shape.num-heads 2 --kmers.shape.hidden 8 --kmers.shape.max-tokens 16 "
        "--signal.steps 2 --signal.optimizer.warmup-steps 0 "
        "--ranking.steps 2 --ranking.batch-size 4 --ranking.optimizer.warmup-steps 0 "
        "--ranking.scorer.convolution-kernel 3 --ranking.scorer.convolution-pool 2 "
        "--ranking.scorer.convolution-hidden 4 "
    )
    run = ["genome_model.segmentation_encoders", "--out", str(out)]
    run += shlex.split(flags)
    assert train.main(run) == 0
    shown = capsys.readouterr().out
    assert "converged, steps" in shown
    summary = json.loads((out / "summary.json").read_text())
    names = ["random", "pretrained", "atac_v1", "atac_v2"]
    assert [row["name"] for row in summary] == [*names, "logistic_regression"]
    assert all(len(row["converged"]) == 2 for row in summary[:-1])
    assert (out / "encoders.png").stat().st_size > 10_000
    # The encoders are what they are said to be, and none has read the test part.
    starts = {
        name: GenomeModel.load(out / name / "seed_0").config.provenance["start"]
        for name in names
    }
    assert starts["random"] is None
    assert starts["pretrained"]["stage"] == "masked k-mers"
    assert starts["atac_v1"]["stage"] == starts["atac_v2"]["stage"] == "ranked"
    tables = [
        GenomeModel.load(out / "encoders" / name)._stored.params[
            "nucleotide_transformer"
        ]["token_embedding"]
        for name in names[1:]
    ]
    assert len({table.tobytes() for table in tables}) == 3
    read = [line for line in (out / "encoders" / "genome.fa").open() if line[0] == ">"]
    assert [line.split(":")[0] for line in read] == [">chr1", ">chr2"]
    before = (out / "random" / "seed_1" / "counts.npz").stat().st_mtime_ns
    assert train.main(run) == 0
    assert (out / "random" / "seed_1" / "counts.npz").stat().st_mtime_ns == before


def test_labels_that_are_given_need_spans(store, tmp_path, capsys):
    run = ["genome_model.segmentation_encoders", "--out", str(tmp_path / "x")]
    assert train.main([*run, "--labels.elements", str(store.path)]) == 2
    assert "--spans-v1: is missing: atac_v1 would train" in capsys.readouterr().err


def test_rules_that_nothing_would_follow(store, tmp_path, capsys):
    run = ["genome_model.segmentation", "--out", str(tmp_path / "x")]
    run += ["--labels.elements", str(store.path), "--labels.rules.splice-bp", "3"]
    with pytest.raises(SystemExit) as stopped:
        train.main(run)
    assert stopped.value.code == 2
    assert "labels.rules: would not be followed" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


# Intervals.


def counts(seed, *, better=0.0):
    """Five regions; the second element is nowhere."""
    rng = np.random.default_rng(seed)
    confusion = np.zeros((5, 14, 4))
    confusion[:, 0] = rng.integers(20, 40, (5, 4))
    confusion[:, 0, 0] *= 1 + better
    confusion[:, 0, 3] *= 1 + better
    confusion[:, 1, 3] = 100
    confusion[:, 2] = rng.integers(20, 40, (5, 4))
    scores = np.zeros((5, 14, 2, 4))
    scores[:, [0, 2]] = rng.integers(1, 9, (5, 2, 2, 4))
    scores[:, 1, 0] = 9
    return Counts(confusion=confusion, score_counts=scores)


def test_intervals_and_gains_by_region():
    base = EncoderResult(
        name="pretrained", counts=[counts(0), counts(1)], converged=[100, 200]
    )
    better = EncoderResult(
        name="atac_v1",
        counts=[counts(0, better=4.0), counts(1, better=4.0)],
        converged=[50, 50],
    )
    one, two = element_summary.judge([base, better])
    expected = [mcc(counts(s).confusion[:, 0].sum(0)) for s in (0, 1)]
    of_one, of_two = one.metrics["mcc"], two.metrics["mcc"]
    first = of_one[ELEMENTS[0]]
    np.testing.assert_allclose(first.value, np.mean(expected))
    np.testing.assert_allclose(first.spread, np.std(expected))
    assert first.low < first.value < first.high
    gained = of_two[ELEMENTS[0]]
    assert 0 < gained.gain_low < gained.gain < gained.gain_high
    same = of_two[ELEMENTS[2]]
    assert same.gain == same.gain_low == same.gain_high == 0
    assert np.isnan(of_two[ELEMENTS[1]].value)
    mean = (first.value + of_one[ELEMENTS[2]].value) / 2
    np.testing.assert_allclose(of_one["mean"].value, mean)
    area = [average_precision(counts(s).score_counts[:, 0].sum(0)) for s in (0, 1)]
    found = one.metrics["auprc"][ELEMENTS[0]]
    np.testing.assert_allclose(found.value, np.mean(area))
    table = element_summary.format_table([one, two])
    assert "no base to judge by: lncRNA, intron" in table
    assert "50 50" in table
    rows = element_summary.as_json([one, two])
    assert rows[0]["metrics"]["mcc"]["lncRNA"]["value"] is None
    json.dumps(rows, allow_nan=False)


def test_when_a_training_has_converged():
    records = [
        {"step": step, "split": "validation", "mcc": value}
        for step, value in ((1, None), (2, 0.5), (3, 0.96), (4, 1.0), (5, 0.99))
    ]
    assert element_summary.converged(records) == 3
    assert element_summary.converged([]) == 0


# Labels of hg38.


def test_labels_of_the_regions_at_hand(data_folder, tmp_path):
    store = labels.load(LabelsConfig(), tmp_path / "labels")
    places = store.territories
    assert len(places) == 3 * 65 + 3
    assert sum(t.end - t.start for t in places) == 65 * 131_072 + 1_000_000
    assert len({t.group for t in places}) == 65 + 3
    splits = {t.group: t.split for t in places}
    assert all(splits[t.group] == t.split for t in places)
    report = store.manifest["report"]
    for name in ELEMENTS:
        known = {split: report[split]["elements"][name]["known_bp"] for split in report}
        assert all(known.values()) != (name in ("CTCF-bound", "polyA_signal"))
    # Known where DNase was measured, and nowhere else.
    regulation = elements.bits(n for n in ELEMENTS if "_Tissue_" in n)
    sizes = [t.end - t.start for t in places if t.known & regulation]
    assert sizes == [65_536] * 65
    before = (tmp_path / "labels" / "elements" / "manifest.json").stat().st_mtime_ns
    labels.load(LabelsConfig(), tmp_path / "labels")
    after = (tmp_path / "labels" / "elements" / "manifest.json").stat().st_mtime_ns
    assert before == after

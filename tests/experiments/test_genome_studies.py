"""Studies of the genome model: examples from tracks, the command line, tiny runs."""

import importlib
import json
import re
import shlex
import shutil
from pathlib import Path

import haiku as hk
import jax
import numpy as np
import pytest

from experiments import train
from experiments.genome_model import examples, out_of_fold
from experiments.genome_model.examples import ExamplesConfig
from scmultimodal.data.region_store import RegionStore
from scmultimodal.genome.composition import FEATURES
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.modules.heads import accessibility
from scmultimodal.tasks.region_ranking import RegionRanking, RegionRankingConfig
from scmultimodal.weights import genome_model
from tests import builders

SMALL = ExamplesConfig(window_bp=96, shift_factor=3, signal_lists=60)
SHAPE = "--shape.dim 8 --shape.num-layers 1 --shape.num-heads 2 --shape.hidden 8 "
STARTED = (
    "--steps 2 --batch-size 8 --optimizer.warmup-steps 0 --signal.steps 2 "
    "--signal.optimizer.warmup-steps 0 --data.make.window-bp 96 "
    "--data.make.shift-factor 2 --data.make.signal-lists 60 "
    "--scorer.transformer-hidden 4 --scorer.convolution-hidden 4 "
    "--scorer.convolution-kernel 3 --scorer.convolution-pool 2"
)
TINY = SHAPE + STARTED
HEADS = {
    "linear": 256_513,
    "transformer": 2_881_793,
    "unet": 16_778_241,
    "convolutional": 2_033_041,
}


@pytest.fixture
def tracks(tmp_path, monkeypatch):
    made = builders.accessible_genome(tmp_path)
    monkeypatch.setattr("scmultimodal.datasets.dnase_regions", lambda: made)
    return made


def parsed(name, *arguments):
    study = importlib.import_module(f"experiments.genome_model.{name}")
    return train.parse(study, ["--out", "x", *arguments])


# Examples.


@pytest.mark.parametrize("which", ["near", "wide"])
def test_peaks_of_a_track_are_ranked_within_it(tracks, tmp_path, which):
    store = examples.prepare(tracks, which, SMALL, tmp_path / which)
    span_bp = 3_000 if which == "near" else 400 * 32
    assert store.samples == ("made up:track0", "made up:track1")
    assert store.num_spans > 20
    for row in range(store.num_spans):
        sample, region = store.spans.sample_index[row], store.group[row]
        signal = tracks.signal[region, :, sample].astype(np.float64)
        above = signal > np.percentile(tracks.signal[..., sample], 95)
        first = tracks.regions["target_start"][region]
        at_end = tracks.regions["target_end"][region]
        low, high = store.intervals[row].min(), store.intervals[row].max()
        assert first <= low + 48
        assert high <= at_end + 48
        assert high - low <= span_bp
        for (start, end), value in zip(
            store.intervals[row], store.values[row], strict=True
        ):
            assert end - start == 96
            summit = (start + 48 - first - 16) / 32
            bins = slice(max(0, (start - first) // 32), -(-(end - first) // 32))
            if value == 0:
                assert not above[bins].any()
            else:
                # The summit is the middle of the highest bin of a peak.
                assert above[int(summit)]
                assert summit == int(summit)
                assert signal[bins].max() == signal[int(summit)]


def test_signal_lists_hold_the_mean_of_scaled_tracks(tracks, tmp_path):
    store = examples.prepare(tracks, "signal", SMALL, tmp_path / "signal")
    flat = tracks.signal.reshape(-1, 2)
    level = np.log1p(tracks.signal / np.percentile(flat, 95, axis=0)).mean(-1)
    bases = np.repeat(level, 32, axis=1)
    for row in range(store.num_spans):
        region = store.group[row]
        first = tracks.regions["target_start"][region]
        for (start, end), value in zip(
            store.intervals[row], store.values[row], strict=True
        ):
            expected = bases[region, start - first : end - first].mean()
            np.testing.assert_allclose(value, expected, rtol=1e-5)
    counts = np.bincount(store.group)
    assert counts.tolist() == [10] * 6
    tokenizer = KmerTokenizer()
    with Genome.open(tracks.fasta) as genome:
        start, end = store.intervals[7, 1].tolist()
        assert tokenizer.decode(store.tokens[7, 1]) == genome.fetch("chr1", start, end)


def test_no_region_is_in_two_splits(tracks, tmp_path):
    for which in ("near", "wide", "signal"):
        store = examples.prepare(tracks, which, SMALL, tmp_path / which)
        parts = {n: set(store.group[store.split(n)]) for n in ("train", "test")}
        assert parts["train"] == {0, 1, 4, 5}
        assert parts["test"] == {3}


def test_examples_are_made_once_and_again_for_other_numbers(tracks, tmp_path):
    first = examples.prepare(tracks, "near", SMALL, tmp_path / "near")
    stamp = (tmp_path / "near" / "manifest.json").stat().st_mtime_ns
    examples.prepare(tracks, "near", SMALL, tmp_path / "near")
    assert (tmp_path / "near" / "manifest.json").stat().st_mtime_ns == stamp
    other = ExamplesConfig(window_bp=48, shift_factor=3, signal_lists=60)
    again = examples.prepare(tracks, "near", other, tmp_path / "near")
    assert again.tokens.shape[-1] < first.tokens.shape[-1]


# The command line.


@pytest.mark.parametrize("head", HEADS)
def test_the_study_preset_has_the_published_shape(head):
    study = parsed("region_ranking", "--preset", "study", "--head", head)
    assert (study.ranking.batch_size, study.ranking.optimizer.weight_decay) == (
        64,
        1e-3,
    )
    assert study.ranking.optimizer.learning_rate == 5e-5
    assert study.signal.steps == 0
    scorer = accessibility.ScorerConfig(name=study.head)
    task = RegionRanking(
        RegionRankingConfig(encoder=study.ranking.shape, scorer=scorer)
    )
    batch = builders.region_batch(num_spans=1, num_tokens=501)
    params, _ = jax.eval_shape(task.init, jax.random.PRNGKey(0), batch)
    total = hk.data_structures.tree_size(params)
    assert total == 52_484_608 + HEADS[head]


@pytest.mark.usefixtures("lightly_compiled")
def test_a_run_ranks_judges_and_leaves_its_model(tracks, tmp_path, capsys):
    out = tmp_path / "run"
    run = ["genome_model.region_ranking", "--out", str(out), "--head", "linear"]
    assert train.main([*run, *shlex.split(TINY)]) == 0
    shown = capsys.readouterr().out
    assert "test spans of DNase over 65 regions, wide" in shown
    assert "ridge on 5-mers" in shown
    model = genome_model.load(out)
    assert model.config.scorer.name == "linear"
    assert model.config.provenance["start"]["stage"] == "ranked"
    # 96 bp, 12 of them cropped: 14 6-mers and CLS.
    assert model.config.num_tokens == 15
    summary = json.loads((out / "summary.json").read_text())
    names = [row["name"] for row in summary["test"]]
    assert names == ["linear, trained", *FEATURES, "ridge on 5-mers"]
    spans = RegionStore.open(out / "data" / "wide")
    judged = sum(row["full_order"]["num_values"] for row in summary["test"][:1])
    assert 0 < judged <= len(spans.split("test"))
    assert (out / "curves.png").stat().st_size > 10_000
    facts = json.loads((out / "report" / "report.json").read_text())
    parts = {part["part"]: part for part in facts["results"]["ranking"]["parts"]}
    assert parts["test"]["examples"]["run"]
    assert (out / "report" / "index.html").exists()


@pytest.mark.parametrize("study", ["region_ranking", "kmer_pretraining"])
@pytest.mark.usefixtures("lightly_compiled")
def test_a_dry_run_says_what_it_would_take_and_writes_nothing(
    tracks, tmp_path, capsys, study
):
    out = tmp_path / "run"
    flags = shlex.split(TINY if study == "region_ranking" else SHAPE)
    if study == "kmer_pretraining":
        flags += ["--fasta", str(tracks.fasta), "--window-bp", "96"]
        flags += ["--batch-size", "8", "--steps", "7"]
    command = [f"genome_model.{study}", "--out", str(out), *flags, "--dry-run"]
    assert train.main(command) == 0
    shown = capsys.readouterr().out
    assert not out.exists()
    assert "nucleotide_transformer" in shown
    assert "8 rows" in shown
    steps = re.findall(r"expected time of ([\d,]+) steps", shown)
    assert steps == (["2", "2"] if study == "region_ranking" else ["7"])


@pytest.mark.long
@pytest.mark.usefixtures("lightly_compiled")
def test_a_grid_judges_every_span_out_of_fold_and_goes_on(tracks, tmp_path, capsys):
    out = tmp_path / "grid"
    run = ["genome_model.ranking_grid", "--out", str(out), "--folds", "2"]
    run += ["--heads", "linear", "convolutional", *shlex.split(TINY)]
    assert train.main(run) == 0
    assert "out of fold" in capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary) == {"near", "wide"}
    rows = {result["name"]: result for result in summary["near"]}
    heads = [
        f"{h}, {e}" for h in ("linear", "convolutional") for e in ("trained", "frozen")
    ]
    assert set(heads) < set(rows)
    assert rows["length"]["full_order"]["mean"] == pytest.approx(1 / 6)
    assert {r["full_order"]["num_groups"] for r in rows.values()} == {6}
    assert (out / "grid_wide.png").stat().st_size > 10_000
    # A frozen encoder is the one that was started from; a trained one saw the signal.
    folder = out / "fold_0" / "seed_0"
    stages = {
        encoder: genome_model.load(folder / "near" / f"linear_{encoder}")
        for encoder in ("trained", "frozen")
    }
    assert stages["frozen"].config.provenance["start"] is None
    assert stages["trained"].config.provenance["start"]["stage"] == "ranked"
    # One fold's scores lost: it alone is computed again, and is the same.
    kept = out / "fold_1" / "seed_0" / "near" / "linear_trained" / "scores.npy"
    before = np.load(kept)
    kept.unlink()
    other = out / "fold_0" / "seed_0" / "near" / "linear_trained" / "scores.npy"
    stamp = other.stat().st_mtime_ns
    assert train.main(run) == 0
    np.testing.assert_array_equal(np.load(kept), before)
    assert other.stat().st_mtime_ns == stamp


@pytest.mark.usefixtures("lightly_compiled")
def test_processes_share_a_grid_by_folds(tracks, tmp_path, capsys):
    out = tmp_path / "grid"
    run = ["genome_model.ranking_grid", "--out", str(out), "--folds", "2"]
    run += ["--heads", "linear", "--encoders", "frozen", "--examples", "near"]
    run += shlex.split(TINY)
    assert train.main([*run, "--only-folds", "1"]) == 0
    assert "out of fold" not in capsys.readouterr().out
    kept = Path("seed_0", "near", "linear_frozen", "scores.npy")
    assert (out / "fold_1" / kept).is_file()
    assert not (out / "fold_0").exists()
    stamp = (out / "fold_1" / kept).stat().st_mtime_ns
    assert train.main(run) == 0
    assert "out of fold" in capsys.readouterr().out
    assert (out / "fold_1" / kept).stat().st_mtime_ns == stamp
    assert train.main([*run, "--only-folds", "2"]) == 2
    assert "--only-folds: is 2. name folds from 0 to 1" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.usefixtures("lightly_compiled")
def test_a_grid_does_not_go_on_from_another_start(tracks, tmp_path, capsys):
    """The path of a start may be the same, and what is there another model."""
    start, out = tmp_path / "start", tmp_path / "grid"
    run = ["genome_model.region_ranking", "--out", str(start), *shlex.split(TINY)]
    assert train.main([*run, "--signal.steps", "0"]) == 0
    grid = ["genome_model.ranking_grid", "--out", str(out), "--start", str(start)]
    grid += ["--heads", "linear", "--encoders", "frozen", "--examples", "near"]
    grid += ["--folds", "2", *shlex.split(STARTED)]
    assert train.main(grid) == 0
    shutil.rmtree(start)
    assert train.main([*run, "--signal.steps", "0", "--seed", "5"]) == 0
    assert train.main(grid) == 2
    assert "the run in this folder has start_sha256" in capsys.readouterr().err


def test_the_folds_of_a_grid_share_no_region(tracks, tmp_path):
    spans = {
        which: examples.prepare(tracks, which, SMALL, tmp_path / which)
        for which in ("near", "wide")
    }
    fold_of = out_of_fold.deal(spans, 3)
    assert np.bincount(fold_of).tolist() == [2, 2, 2]
    # A region is in one fold, whichever spans are judged.
    alone = out_of_fold.deal({"near": spans["near"]}, 3)
    np.testing.assert_array_equal(alone, fold_of)


@pytest.mark.parametrize("folds", ["1", "7"])
def test_folds_that_cannot_be_are_refused(tracks, tmp_path, capsys, folds):
    run = ["genome_model.ranking_grid", "--out", str(tmp_path / "grid"), "--folds"]
    assert train.main([*run, folds, *shlex.split(TINY)]) == 2
    assert f"--folds: is {folds}. Give 2 to 6" in capsys.readouterr().err


@pytest.mark.usefixtures("lightly_compiled")
def test_kmers_are_learnt_from_a_fasta(tracks, tmp_path, capsys):
    out = tmp_path / "kmers"
    run = ["genome_model.kmer_pretraining", "--out", str(out)]
    run += ["--fasta", str(tracks.fasta), "--window-bp", "60", "--steps", "2"]
    run += shlex.split(
        "--shape.dim 8 --shape.num-layers 1 --shape.num-heads 2 --shape.hidden 8 "
        "--batch-size 8 --validation-windows 16 --table-windows 50"
    )
    assert train.main(run) == 0
    assert "unigram by GC" in capsys.readouterr().out
    losses = json.loads((out / "losses.json").read_text())
    assert set(losses) == {"model", "unigram", "unigram by GC"}
    assert genome_model.load(out).config.scorer is None
    assert (out / "curves.png").stat().st_size > 10_000
    facts = json.loads((out / "report" / "report.json").read_text())
    (part,) = facts["results"]["kmers"]["parts"]
    values = {score["model"]: score["values"]["loss"] for score in part["scores"]}
    assert values == {"the model": losses.pop("model"), **losses}


@pytest.mark.parametrize(
    ("study", "flags"),
    [
        ("ranking_grid", ["--seed", "3"]),
        ("ranking_grid", ["--encoder", "frozen"]),
        ("ranking_grid", ["--scorer.name", "unet"]),
        ("region_ranking", ["--scorer.name", "unet"]),
        ("region_ranking", ["--start", "none", "--shape.dim", "16"]),
        ("ranking_grid", ["--start", "none", "--shape.num-layers", "3"]),
    ],
)
def test_a_flag_that_would_be_ignored_is_refused(tmp_path, capsys, study, flags):
    run = [f"genome_model.{study}", "--out", str(tmp_path / "run"), *flags]
    assert train.main(run) == 2
    assert "is not read " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--layer-decay", "0"], "layer_decay: is 0.0. Give a number in (0, 1]"),
        (["--l2", "-1"], "l2: is -1.0. Give 0 or more"),
    ],
)
def test_numbers_that_cannot_be_end_in_one_line(tmp_path, capsys, flags, words):
    run = ["genome_model.region_ranking", "--out", str(tmp_path / "run"), *flags]
    assert train.main(run) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

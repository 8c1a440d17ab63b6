"""Training in segmentation: learns, starts from a ranking, freezes, resumes, judges."""

import dataclasses
import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from scmultimodal import datasets
from scmultimodal.evaluation import element_baseline
from scmultimodal.evaluation import segmentation as evaluation
from scmultimodal.genome.elements import ELEMENTS, ElementRules
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.region_splits import ChromosomeSplit
from scmultimodal.models import GenomeModel
from scmultimodal.modules.heads.accessibility import ScorerConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.training import loop
from scmultimodal.training.metrics import read_metrics
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.workflows import (
    element_inputs,
    genome_presets,
    prepare_segmentation,
    ranking,
    segmentation,
)
from scmultimodal.workflows.element_inputs import LabelFiles
from scmultimodal.workflows.prepare_segmentation import PrepareSegmentationConfig
from scmultimodal.workflows.ranking_config import RankingConfig
from scmultimodal.workflows.segmentation_config import SegmentationTrainingConfig
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

SHAPE = builders.dna_encoder_config(vocabulary_size=4107, max_tokens=64)
SPLIT = ChromosomeSplit(train=("1",), validation=("2",), test=("3",))
CONFIG = SegmentationTrainingConfig(
    shape=SHAPE,
    window_bp=240,
    steps=12,
    batch_size=4,
    evaluate_every=6,
    validation_windows=20,
    checkpoint_every=6,
    optimizer=OptimizerConfig(learning_rate=3e-3, weight_decay=0.0),
)


def prepare(folder, *, length_bp, chromosomes=3, split=SPLIT):
    """A made-up genome with its labels."""
    made = datasets.simulate_genome(
        folder, chromosomes=chromosomes, length_bp=length_bp
    )
    annotation = element_inputs.read(
        LabelFiles(
            gtf=(made.gtf,),
            polya=(made.polya,),
            regulatory=(made.regulatory,),
            invariant=made.invariant,
        ),
        ElementRules(),
    )
    with Genome.open(made.fasta) as genome:
        return prepare_segmentation.run(
            annotation,
            genome,
            PrepareSegmentationConfig(split=split),
            folder / "elements",
            provenance={"name": "made up"},
        )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("genome"), length_bp=10_000)


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmentation") / "run"
    return folder, segmentation.run(store, CONFIG, folder)


@pytest.fixture(scope="module")
def ranked(tmp_path_factory):
    """A model of region ranking with the same encoder."""
    folder = tmp_path_factory.mktemp("ranking")
    sequences = [[builders.dna(42, seed=9 * i + j) for j in range(3)] for i in range(8)]
    spans = builders.region_store(
        folder / "spans", sequences, np.tile([0, 1, 2], (8, 1)), num_tokens=8
    )
    config = RankingConfig(
        shape=SHAPE, scorer=ScorerConfig(name="linear"), steps=2, batch_size=4
    )
    return ranking.run(spans, config, folder / "run")


def test_a_run_folder_has_all_that_a_user_needs(trained, store):
    folder, model = trained
    records = read_metrics(folder / "metrics.jsonl")
    judged = [r for r in records if r["split"] == "validation"]
    assert [r["step"] for r in judged] == [6, 12]
    assert {"loss", "mcc", "f1", "auprc", "mcc exon"} <= judged[-1].keys()
    assert model.config.segmenter.elements == ELEMENTS
    assert model.config.encoder.rescaling is None
    loaded = GenomeModel.load(folder)
    assert loaded.elements == ELEMENTS
    assert loaded.self_check() < 1e-5
    found = loaded.segment("ACGTNNacgt" * 61)
    assert found.shape == (610, 14)
    assert np.isnan(found).any(axis=1).sum() == 122
    with pytest.raises(InputError, match="is no letter"):
        loaded.segment("ACGT-")
    with pytest.raises(InputError, match="sequence: is a list"):
        inspect.unwrap(GenomeModel.segment)(loaded, ["ACGT"])
    with pytest.raises(InputError, match=r"window_bp: is 250 bp, .* the next .* 264"):
        loaded.segment("ACGT", window_bp=250)


def test_the_model_trains_by_one_call(store, ranked, tmp_path, monkeypatch):
    """`GenomeModel.fit_segmentation`, from a model that was ranked."""
    small = dataclasses.replace(genome_presets.SMALL, segmentation=CONFIG)
    monkeypatch.setitem(genome_presets.GENOME_PRESETS, "small", small)
    options = {"out": tmp_path / "run", "start": GenomeModel(ranked), "steps": 2}
    model = GenomeModel.fit_segmentation(store.path, frozen=True, **options)
    assert model.elements == ELEMENTS
    assert GenomeModel.load(tmp_path / "run").self_check() < 1e-5
    for name, leaves in model._stored.params.items():
        if name.startswith("nucleotide_transformer") and name in ranked.params:
            for leaf, value in leaves.items():
                np.testing.assert_array_equal(value, ranked.params[name][leaf])
    with pytest.raises(InputError, match=r"encoder_rate = 0\.0, not 1\.0"):
        GenomeModel.fit_segmentation(store.path, **options)


def test_the_judgement_counts_every_base_once(trained, store):
    counts = segmentation.judge(trained[1], store, store.split("test"), batch_size=3)
    (territory,) = (t for t in store.territories if t.split == "test")
    ((group, found),) = counts.items()
    assert group == territory.group
    bases = territory.end - territory.start
    np.testing.assert_allclose(found["confusion"].sum(1), bases, rtol=1e-6)
    results = evaluation.judge(found["confusion"], found["score_counts"])
    report = store.manifest["report"]["test"]["elements"]
    for result in results:
        expected = report[result.name]["bp"] / bases
        np.testing.assert_allclose(result.share, expected, rtol=1e-6)


def test_the_encoder_of_a_ranking_is_taken_and_the_account_says_so(
    store, ranked, tmp_path, capsys
):
    config = dataclasses.replace(CONFIG, encoder_rate=0.0)
    model = segmentation.run(
        store, config, tmp_path / "run", start=ranked, source="runs/ranking"
    )
    for module, leaves in ranked.params.items():
        if module.startswith("nucleotide_transformer"):
            for name, leaf in leaves.items():
                np.testing.assert_array_equal(model.params[module][name], leaf)
    fresh = segmentation.run(
        store, dataclasses.replace(config, steps=1), tmp_path / "fresh", start=ranked
    )
    head = "segmentation_head/elements"
    assert (fresh.params[head]["w"] != model.params[head]["w"]).any()
    printed = capsys.readouterr().out
    assert "all that are taken of runs/ranking" in printed
    assert "accessibility_head/score" in printed
    lines = (tmp_path / "run" / "parameters.txt").read_text().splitlines()
    fates = {line.split()[1]: line.split()[0] for line in lines}
    assert fates["nucleotide_transformer/token_embedding"] == "taken"
    assert fates["segmentation_head/elements/w"] == "new"
    assert fates["accessibility_head/score/w"] == "left"


def test_longer_windows_rescale_the_encoder(ranked):
    config = dataclasses.replace(CONFIG, window_bp=960)
    task = segmentation.make_task(config, ranked)
    assert task.config.encoder.rescaling == 161 / 64
    with pytest.raises(InputError, match=r"window_bp: is 250, no multiple .* Take 264"):
        dataclasses.replace(CONFIG, window_bp=250)


def test_a_resume_goes_on_and_another_config_does_not(
    trained, store, tmp_path, monkeypatch
):
    """Stopped after its first checkpoint it ends as the one that was not."""
    folder, model = trained
    write = loop.RunFolder.save

    def save(self, done, *rest):
        write(self, done, *rest)
        self.checkpoints.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.RunFolder, "save", save)
    with pytest.raises(KeyboardInterrupt):
        segmentation.run(store, CONFIG, tmp_path / "run")
    monkeypatch.undo()
    again = segmentation.run(store, CONFIG, tmp_path / "run")
    for module, leaves in model.params.items():
        for name, leaf in leaves.items():
            np.testing.assert_array_equal(again.params[module][name], leaf)
    with pytest.raises(InputError, match="gamma"):
        segmentation.run(store, dataclasses.replace(CONFIG, gamma=0.0), folder)


@pytest.mark.long
def test_the_seed_decides(trained, store, tmp_path):
    _, model = trained
    same = segmentation.run(store, CONFIG, tmp_path / "same")
    other = segmentation.run(
        store, dataclasses.replace(CONFIG, seed=1), tmp_path / "other"
    )
    name = "segmentation_head/elements"
    np.testing.assert_array_equal(same.params[name]["w"], model.params[name]["w"])
    assert (other.params[name]["w"] != model.params[name]["w"]).any()


def test_a_plan_starts_nothing(store, ranked):
    plan = segmentation.plan(store, CONFIG, start=ranked)
    assert plan.parameters["segmentation_head/unet"] > 0
    assert plan.batch == 4


def test_a_short_territory_is_judged_though_none_learns_from_it(
    store, trained, tmp_path
):
    territories = [dict(t) for t in map(dataclasses.asdict, store.territories)]
    territories[2] |= {"end": territories[2]["start"] + 100}
    size = sum(t["end"] - t["start"] for t in territories)
    short = dataclasses.replace(
        store,
        manifest=store.manifest | {"territories": territories},
        letters=store.letters[:size],
        labels=store.labels[:size],
    )
    (counts,) = segmentation.judge(trained[1], short, short.split("test")).values()
    np.testing.assert_allclose(counts["confusion"].sum(1), 100, rtol=1e-6)


def test_a_dataset_without_windows(store, tmp_path):
    config = dataclasses.replace(CONFIG, window_bp=24_000)
    with pytest.raises(InputError, match="none of 1 territories holds a window"):
        segmentation.run(store, config, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_labels_of_another_genome(tmp_path):
    made = datasets.simulate_genome(tmp_path, chromosomes=1, length_bp=10_000)
    annotation = element_inputs.read(LabelFiles(gtf=(made.gtf,)), ElementRules())
    path = tmp_path / "other.fa"
    path.write_bytes(builders.fasta({"chr7": builders.dna(500)}))
    with (
        Genome.open(path) as genome,
        pytest.raises(InputError, match="on chr7: it is of chr1"),
    ):
        prepare_segmentation.run(
            annotation,
            genome,
            PrepareSegmentationConfig(split=ChromosomeSplit(train=("7",))),
            tmp_path / "out",
            provenance={},
        )
    assert not (tmp_path / "out").exists()
    # A shorter chr1: another assembly.
    path.write_bytes(builders.fasta({"chr1": builders.dna(500)}))
    with (
        Genome.open(path) as genome,
        pytest.raises(InputError, match="ends beyond the 500 bp of chr1"),
    ):
        prepare_segmentation.run(
            annotation,
            genome,
            PrepareSegmentationConfig(split=SPLIT),
            tmp_path / "out",
            provenance={},
        )


def test_what_is_known_in_a_region_is_said_by_the_table(tmp_path):
    made = datasets.simulate_genome(tmp_path, chromosomes=1, length_bp=10_000)
    annotation = element_inputs.read(LabelFiles(gtf=(made.gtf,)), ElementRules())
    table = tmp_path / "regions.tsv"
    rows = [
        ("chrom", "start", "end", "split", "elements"),
        ("chr1", "0", "4000", "train", "exon, intron"),
        ("chr1", "4000", "8000", "test", ""),
    ]
    table.write_text("".join("\t".join(row) + "\n" for row in rows))
    regions = prepare_segmentation.read_regions(table)
    with Genome.open(made.fasta) as genome:
        store = prepare_segmentation.run(
            annotation,
            genome,
            PrepareSegmentationConfig(),
            tmp_path / "out",
            regions=regions,
            provenance={},
        )
        assert [t.known for t in store.territories] == [0b1100, 0b11111111]
        assert segmentation.known_in(store, np.array([0])) == 0b1100
        run = segmentation.run(
            store, dataclasses.replace(CONFIG, steps=1), tmp_path / "run"
        )
        learned = run.config.segmenter.learned
        assert learned == ("exon", "intron")
        found = GenomeModel(run).segment(builders.dna(240))
        told = [name in learned for name in ELEMENTS]
        assert np.isfinite(found).all(axis=0).tolist() == told
        regions.loc[0, "elements"] = "CTCF-bound"
        with pytest.raises(InputError, match="names CTCF-bound, which no file tells"):
            prepare_segmentation.run(
                annotation,
                genome,
                PrepareSegmentationConfig(),
                tmp_path / "other",
                regions=regions,
                provenance={},
            )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no annotation was given"),
        ({"gtf": ("a",), "invariant": "b"}, "nothing is there to split"),
        (
            {"regulatory": ("a",), "invariant": "b", "open_in": ("c",)},
            "both say what is tissue-invariant",
        ),
    ],
)
def test_files_that_do_not_go_together(files, message):
    paths = {
        name: Path(value) if isinstance(value, str) else tuple(map(Path, value))
        for name, value in files.items()
    }
    with pytest.raises(InputError, match=message):
        LabelFiles(**paths)


@pytest.mark.long
def test_all_fourteen_elements_are_learned(tmp_path):
    """On the made-up genome; each far above zero on a chromosome never seen."""
    store = prepare(tmp_path, length_bp=500_000)
    config = dataclasses.replace(
        CONFIG,
        shape=dataclasses.replace(
            SHAPE, dim=64, num_layers=2, num_heads=4, hidden=128, max_tokens=86
        ),
        window_bp=960,
        steps=2_500,
        batch_size=16,
        evaluate_every=500,
        validation_windows=None,
        checkpoint_every=None,
        optimizer=OptimizerConfig(
            learning_rate=2e-3, weight_decay=1e-2, warmup_steps=50
        ),
    )
    model = segmentation.run(store, config, tmp_path / "run")
    baseline = element_baseline.fit(
        store, store.split("train"), store.split("validation")
    )
    results, simple = (
        evaluation.judge(*(counts[name] for name in evaluation.COUNTS))
        for found in (
            segmentation.judge(model, store, store.split("test")),
            baseline.judge(store, store.split("test")),
        )
        for counts in found.values()
    )
    print(evaluation.format_table(results))
    print(f"logistic regression\n{evaluation.format_table(simple)}")
    print(json.dumps(read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]))
    assert all(result.is_judged for result in results)
    assert min(result.mcc for result in results) > 0.25
    assert evaluation.mean(results, "mcc") > 0.75
    for metric in ("mcc", "auprc"):
        assert evaluation.mean(results, metric) > evaluation.mean(simple, metric)

"""Sections beside cell types: what they ask for, and their arithmetic."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.evaluation import (
    ablations,
    attention,
    cases,
    cell_types,
    command,
    expression,
    imputation,
    integration,
    links,
    sets,
    studies,
    tables,
    texts,
    transfer,
    unassigned,
)
from experiments.evaluation.cases import Case
from experiments.evaluation.variants import vary
from scmultimodal import datasets
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.workflows import judge, prepare, pretrain
from scmultimodal.workflows.presets import BEST, PEAKS, PRESETS
from tests import builders

TINY = {
    "pretrain.steps": 3,
    "pretrain.buckets": (40,),
    "pretrain.path.num_layers": 0,
    "finetune.epochs": 1,
}
ELSEWHERE = {"cell_types", "multiome", "few_shot", "batches"}
ELSEWHERE |= {"distal_links", "distal_expression"}
"""Sections that `test_evaluation` or `test_distal` runs, or that need batches, which
simulated cells do not have."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Small simulated cells as `best` takes them."""
    return _prepared("simulated", BEST.recipe, 0, tmp_path_factory.mktemp("sections"))


def _cells():
    """Enough for a hundred test cells."""
    return builders.simulated_cells(num_cells=520, num_genes=40)


def _prepared(
    name, recipe, seed, out, *, across_batches=False, cells=None, peaks=False
):
    data = _cells()
    config = prepare.PrepareConfig(
        recipe=recipe,
        label=sets.LABEL,
        batch=sets.BATCH,
        peak_tokens="consensus" if peaks else None,
        seed=seed,
    )
    genes = datasets.simulated_genes(data)
    place = out / "data" / f"{name}-{seed}-{recipe.strategy}-{peaks}"
    if place.exists():
        return sets.Store.open(place)
    facts = {"name": name, "simulated": True}
    return prepare.run(data, genes, config, place, provenance=facts)


@pytest.mark.parametrize("name", command.SECTIONS)
def test_what_a_section_asks_for(name, tmp_path):
    """Rows differ, and so do the results they are read from; numbers are fields."""
    section = command.SECTIONS[name]
    for regime in section.regimes:
        case = Case(name="simulated", regime=regime, seed=1, cells=section.cells)
        entries = section.entries(case, tmp_path)
        rows = [tuple(entry.row.items()) for entry in entries]
        assert len(set(rows)) == len(rows)
        results = {(entry.job.key, entry.within) for entry in entries}
        assert len(results) == len(rows)
        models = {entry.row["model"] for entry in entries}
        assert models.issuperset(section.references)
        for change in ({"seed": 2}, {"cells": 77}, {"across_batches": True}):
            if name == "batches" and "across_batches" in change:
                continue
            other = section.entries(dataclasses.replace(case, **change), tmp_path)
            keys = ({*_keys([e.job for e in found])} for found in (entries, other))
            assert not set.intersection(*keys)


def _keys(jobs):
    """Of jobs, and of all that they need."""
    for job in jobs:
        yield job.key
        yield from _keys(job.needs)


def test_sections_and_their_names():
    names = command.SectionName.__args__
    assert set(names) == set(command.SECTIONS)
    assert len(names) == len(command.SECTIONS)


def test_a_varied_preset():
    changed = vary(BEST, {"pretrain.path.dim": 7, "finetune.epochs": 2})
    assert changed.pretrain.path.dim == 7
    assert changed.finetune.epochs == 2
    assert changed.pretrain.path.num_layers == BEST.pretrain.path.num_layers
    assert BEST.finetune.epochs != 2


def test_types_are_found_where_the_modalities_lie_together(store):
    """The truth as vectors of both finds all, noise about as much as chance."""
    truth = np.eye(len(store.label_names))[store.labels].astype(np.float32)
    noise = np.random.default_rng(0).normal(size=(2, *truth.shape)).astype(np.float32)
    known = transfer.judge_all(store, (truth, truth), seed=0)
    lost = transfer.judge_all(store, (truth, noise[0]), seed=0)
    for part in transfer.PARTS:
        assert set(known[part]) == {
            *transfer.OURS,
            "canonical_correlation",
            "logistic_regression",
            "standardised_logistic_regression",
            "naive_bayes_with_labels",
        }
        for name in transfer.OURS:
            assert known[part][name]["accuracy"] == 1
            assert lost[part][name]["accuracy"] < 0.8
        assert known[part][transfer.OURS[0]]["foscttm"] < 0.2
        assert 0.35 < lost[part][transfer.OURS[0]]["foscttm"] < 0.65
        assert known[part]["naive_bayes_with_labels"]["accuracy"] > 0.5


def test_one_modality_is_told_from_the_other(store):
    """Baselines by their order, and ours as the model has it."""
    config = vary(imputation.ALIGNED, TINY).pretrain
    model = pretrain.untrained(store, config)
    truth = {
        part: np.eye(len(store.label_names))[store.labels[store.split(part)]]
        for part in imputation.PARTS
    }
    found = imputation.judge_all(store, model, truth, Modality.RNA, seed=0)
    for part in imputation.PARTS:
        scores = found[part]
        assert set(scores) == set(imputation.MODELS)
        assert scores["mean_profile"]["gene_pearson"] == 0
        assert scores["mean_of_true_type"]["gene_pearson"] > 0.05
        assert scores["ridge"]["gene_pearson"] > 0.05
        # It begins about the mean of the training cells, as shares of counts.
        assert scores["best"]["cell_pearson"] > 0.3
        likely = scores["best_with_types"]["gene_pearson"]
        assert likely > 0.9 * scores["mean_of_true_type"]["gene_pearson"]
        other = scores["best_of_another_cell"]["gene_pearson"]
        assert other < scores["mean_of_true_type"]["gene_pearson"]


def test_expression_is_told_from_peaks(tmp_path):
    """Baselines by their order; ours as the model has it, and of another cell not."""
    store = _prepared("simulated", PEAKS.recipe, 0, tmp_path, peaks=True)
    small = {"pretrain.gene_from_peaks.loadings": 8, "pretrain.steps": 60}
    config = vary(PEAKS, small).pretrain
    by_peaks = pretrain.run(store, config, tmp_path / "run")
    by_gene = pretrain.untrained(store, vary(imputation.ALIGNED, TINY).pretrain)
    found = expression.judge_all(store, by_peaks, by_gene, seed=0)
    for part in expression.PARTS:
        scores = found[part]
        assert set(scores) == set(expression.MODELS)
        assert scores["mean_profile"]["gene_auroc"] == 0.5
        assert scores["peaks"]["gene_auroc"] > 0.55
        assert scores["peaks"]["gene_pearson"] > 0.05
        types = scores["mean_of_likely_types"]["gene_pearson"]
        assert scores["peaks_with_types"]["gene_pearson"] > 0.9 * types
        other = scores["peaks_of_another_cell"]
        assert other["gene_auroc"] < 0.55 < scores["ridge"]["gene_auroc"]


def test_expected_log1p_of_poisson_counts():
    rates = np.array([0.0, 0.3, 5.0, 80.0])
    drawn = np.random.default_rng(0).poisson(rates, (200_000, 4))
    np.testing.assert_allclose(
        imputation.expected_log1p(rates), np.log1p(drawn).mean(0), atol=0.005
    )


def test_refusal_by_hand():
    """A threshold of .8 is right nine times in ten on validation."""
    validation = np.array([[0.9, 0.1]] * 9 + [[0.2, 0.8]] + [[0.4, 0.6]] * 5)
    labels = {
        "validation": np.array([0] * 9 + [0] + [0] * 5),
        "test": np.array([0, 0, 1, 2, 2]),
    }
    test = np.array([[0.9, 0.1], [0.7, 0.3], [0.15, 0.85], [0.6, 0.4], [0.95, 0.05]])
    found = unassigned.scores(
        {"validation": validation, "test": test}, labels, labels["test"] == 2
    )
    assert found == {
        "auroc": pytest.approx((3 + 0) / 6),
        "refused": 0.5,
        "called": pytest.approx(2 / 3),
        "accuracy": 1.0,
    }


def test_types_left_out(store):
    chosen = {unassigned.left_out(store, Regime.RNA, seed=seed) for seed in range(9)}
    assert len(chosen) > 1
    assert all(len(types) == 1 for types in chosen)
    with pytest.raises(InputError, match="has no type 'unheard'"):
        judge.finetune_cells.cells_of(store, "train", Regime.RNA, without=["unheard"])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Folder that sections share, as they share jobs."""
    return tmp_path_factory.mktemp("results")


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(set(command.SECTIONS) - ELSEWHERE))
def test_a_section_runs(results, monkeypatch, name):
    """On small cells, a step or so each; its table and its picture are written."""
    monkeypatch.setattr(sets, "prepared", _prepared)
    monkeypatch.setattr(sets, "_simulated", lambda seed: _cells())
    modules = (ablations, cell_types, expression, imputation, integration, transfer)
    for module in modules:
        for preset in ("BEST", "ATTENDING", "ALIGNED"):
            if hasattr(module, preset):
                small = vary(getattr(module, preset), TINY)
                monkeypatch.setattr(module, preset, small)
    monkeypatch.setattr(unassigned, "BEST", vary(BEST, TINY))
    monkeypatch.setattr(expression, "PEAKS", vary(PEAKS, TINY))
    monkeypatch.setattr(cell_types, "MEMBERS", 1)
    monkeypatch.setattr(links, "PRESET", vary(links.PRESET, TINY))
    monkeypatch.setattr(studies, "BASE", vary(studies.BASE, TINY))
    monkeypatch.setattr(studies, "EPOCHS", (1,))
    monkeypatch.setattr(attention, "SMALL", vary(attention.SMALL, TINY))
    monkeypatch.setattr(attention, "STEPS", 2)
    section = command.SECTIONS[name]
    regime = section.regimes[0]
    arguments = ["--sets", "simulated", "--seeds", "0", "--out", str(results)]
    arguments += ["--regimes", str(regime), "--sections", name]
    assert not command.main(arguments)
    rows = json.loads((results / f"{name}.json").read_text())["rows"]
    case = Case(name="simulated", regime=regime, seed=0)
    assert len(rows) == len(section.entries(case, results))
    assert all(row[next(iter(section.metrics))] is not None for row in rows)
    assert (results / "figures" / f"{name}.png").exists()
    assert (results / "report" / "index.html").exists()


def test_the_curve_of_an_order_is_that_of_its_training(tmp_path):
    """Validations end the epochs; what training said before is averaged."""
    case = Case(name="simulated", regime=Regime.RNA, seed=0, cells=50)
    entries = studies.FEATURE_ORDER.entries(case, tmp_path)
    job = entries[0].job
    told = [(1, "train", 0.2), (2, "train", 0.4), (2, "validation", 0.5)]
    told += [(3, "validation", 0.6)]
    lines = [{"step": s, "split": p, "accuracy": a} for s, p, a in told]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert job.compute(tmp_path, [tmp_path]) == {
        "1": {"accuracy": 0.5, "training_accuracy": pytest.approx(0.3)},
        "2": {"accuracy": 0.6, "training_accuracy": None},
    }


def test_presets_by_name():
    assert PRESETS["aligned"].pretrain.contrastive_weight > 0


def test_so_many_cells_are_drawn_where_they_can_be():
    found = cases.every(["granja", "simulated"], list(Regime), [0], cells=50)
    assert {(c.name, c.regime, c.cells) for c in found} == {
        ("granja", Regime.ATAC, None),
        *(("simulated", regime, 50) for regime in Regime),
    }


def test_a_set_is_read_where_the_user_has_it(data_folder, tmp_path, monkeypatch):
    """Some real cells of it, under the name and columns of the whole."""
    wanted = {
        sets.FILES["zheng68k"].path: "scrna/zheng68k_165.h5ad",
        sets.GENES: sets.GENES,
    }
    for path, source in wanted.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).symlink_to(data_folder / source)
    monkeypatch.setenv("SCMULTIMODAL_DATA", str(tmp_path))
    assert sets.missing("zheng68k") is None
    lacking = "SCMULTIMODAL_DATA has no bmmc_neurips/bmmc_neurips.h5ad"
    assert sets.missing("bmmc_neurips") == lacking
    assert sets.regimes("zheng68k") == (Regime.RNA,)
    store = sets.prepared("zheng68k", BEST.recipe, 0, tmp_path / "out")
    assert store.num_cells == 165
    assert len(store.label_names) > 5
    case = Case(name="zheng68k", regime=Regime.RNA, seed=0)
    rows = tables.measure(
        dataclasses.replace(
            cell_types.SECTION, entries=lambda case, _: cell_types.published(case)
        ),
        [case, dataclasses.replace(case, seed=1)],
        tmp_path / "out",
    )
    found = {row["model"]: (row["accuracy"], row["macro_f1"]) for row in rows}
    assert found["published: scBERT"] == (0.718, 0.708)
    assert {row["seeds"] for row in rows} == {1}
    assert all(row["accuracy_gains"] == {} for row in rows)
    assert texts.markdown(cell_types.SECTION, rows).count(".718") == 1

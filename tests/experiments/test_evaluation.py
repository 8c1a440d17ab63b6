"""The tables of `make evaluate`: what is measured, paired by split, and read back."""

import contextlib
import dataclasses
import functools
import json
import multiprocessing
import pickle
import runpy
import sys
import threading
from concurrent import futures

import numpy as np
import pytest

from experiments.evaluation import (
    batches,
    cell_types,
    classifiers,
    command,
    few_shot,
    jobs,
    processes,
    readme,
    results,
    sets,
    tables,
    texts,
    vectors,
)
from experiments.evaluation.cases import Case
from experiments.evaluation.classifiers import Voice
from scmultimodal import datasets
from scmultimodal.evaluation import classification
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.workflows import prepare
from scmultimodal.workflows.finetune_config import FinetuneConfig
from scmultimodal.workflows.presets import BEST, PEAKS
from tests import builders
from tests.experiments import one_process

TINY = dataclasses.replace(
    BEST,
    pretrain=dataclasses.replace(BEST.pretrain, steps=3, buckets=(40,)),
    finetune=dataclasses.replace(BEST.finetune, epochs=1),
)
TINY_ON_PEAKS = dataclasses.replace(
    PEAKS, finetune=dataclasses.replace(PEAKS.finetune, epochs=1)
)

QUICK, ALL = (Regime.RNA,), tuple(Regime)
EVERY = [pytest.param(ALL, marks=pytest.mark.long)]


@pytest.fixture(scope="module", params=[QUICK, *EVERY])
def regimes(request):
    """What is shown; all of it takes two minutes."""
    return request.param


@pytest.fixture(scope="module")
def folder(regimes, tmp_path_factory):
    """Results on small simulated cells, two splits, two networks to an ensemble."""
    path = tmp_path_factory.mktemp("evaluation")
    sections = ["cell_types", *(["multiome", "few_shot"] if regimes == ALL else [])]

    def prepared(name, recipe, seed, out, *, peaks=False, **_):
        data = builders.simulated_cells(num_cells=240, num_genes=40)
        config = prepare.PrepareConfig(
            recipe=recipe,
            label=sets.LABEL,
            batch=sets.BATCH,
            peak_tokens="consensus" if peaks else None,
            seed=seed,
        )
        genes = datasets.simulated_genes(data)
        provenance = {"name": name, "simulated": True}
        place = out / "data" / f"{name}-{seed}{'-peaks' if peaks else ''}"
        return prepare.run(data, genes, config, place, provenance=provenance)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "prepared", prepared)
        patch.setattr(
            sets,
            "_simulated",
            lambda seed: builders.simulated_cells(num_cells=240, num_genes=40),
        )
        patch.setattr(cell_types, "BEST", TINY)
        patch.setattr(cell_types, "PEAKS", TINY_ON_PEAKS)
        patch.setattr(few_shot, "BEST", TINY)
        patch.setattr(few_shot, "LABELLED", (5, None))
        patch.setattr(few_shot, "STEPS", 2)
        attending = dataclasses.replace(
            TINY,
            pretrain=dataclasses.replace(
                TINY.pretrain,
                path=dataclasses.replace(TINY.pretrain.path, num_layers=1),
            ),
        )
        patch.setattr(cell_types, "ATTENDING", attending)
        patch.setattr(cell_types, "MEMBERS", 2)
        assert not command.main(
            [
                *("--sets", "simulated", "--seeds", "0", "1", "--out", str(path)),
                *("--regimes", *regimes),
                *("--sections", *sections),
            ]
        )
        yield path


def records(folder, section):
    return json.loads((folder / f"{section}.json").read_text())["rows"]


def rows(folder):
    found = records(folder, "cell_types")
    if (folder / "multiome.json").exists():
        found += records(folder, "multiome")
    return {(row["modality"], row["model"]): row for row in found}


def test_every_model_is_judged_beside_the_simple_ones(folder, regimes):
    found = rows(folder)
    assert {regime for regime, _ in found} == set(regimes)
    for regime in regimes:
        assert {(regime, name) for name in cell_types.BASELINES} < set(found)
    if Regime.ATAC in regimes:
        assert {("atac", name) for name in cell_types.SIMPLE_ON_PEAKS} < set(found)
        assert ("multiome", "RNA and ATAC networks, fused late") in found
        assert ("multiome", "RNA networks and open peaks, fused late") in found
    assert {m for r, m in found if r == "rna"} == {
        *("best", "best, pre-trained", "best, with attention", "best-ensemble"),
        *cell_types.BASELINES,
    }
    for row in found.values():
        assert row["seeds"] == 2
        assert row["accuracy"] == pytest.approx(np.mean(row["accuracy_by_seed"]))


def test_gains_are_paired_by_split(folder):
    found = rows(folder)
    best, reference = (found["rna", m] for m in ("best", "logistic_regression"))
    gains = np.subtract(best["accuracy_by_seed"], reference["accuracy_by_seed"])
    found = best["accuracy_gains"]["logistic_regression"]
    assert found["mean"] == pytest.approx(gains.mean())
    assert reference["accuracy_gains"]["logistic_regression"]["mean"] == 0
    half = 12.706 * gains.std(ddof=1) / np.sqrt(2)
    assert found["half_width"] == pytest.approx(half, rel=1e-3)


def test_nothing_is_measured_twice(folder, monkeypatch):
    case = Case(name="simulated", regime=Regime.RNA, seed=0)
    wanted = [entry.job for entry in cell_types.entries(case, folder)]
    monkeypatch.setattr(jobs, "_compute", lambda *_: pytest.fail("done already"))
    assert len(jobs.run(list({j.key: j for j in wanted}.values()), folder)) > 3


def test_an_ensemble_by_hand(folder):
    """Mean of its networks times powers that were best on validation cells."""
    case = Case(name="simulated", regime=Regime.RNA, seed=0)
    simple = classifiers.simple(case, TINY, folder)
    members = [classifiers.trained(case, TINY, folder, member=m) for m in range(2)]
    voice = Voice(name="naive_bayes", job=simple, folder="naive_bayes")
    job = classifiers.ensemble(case, TINY, folder, members=members, voices=[voice])
    (record,) = jobs.run([job], folder)

    def read(path):
        with np.load(path / classifiers.FILE) as found:
            return dict(found)

    own = [read(member.place(folder)) for member in members]
    other = read(simple.place(folder) / "naive_bayes")
    power = record["result"]["powers"]["naive_bayes"]
    product = {
        part: np.mean([one[part] for one in own], 0)
        * np.maximum(other[part], 1e-9) ** power
        for part in classifiers.PARTS
    }
    found = read(job.place(folder))
    for part, values in product.items():
        expected = values / values.sum(1, keepdims=True)
        np.testing.assert_allclose(found[part], expected, rtol=1e-4, atol=1e-7)
    store = sets.prepared("simulated", TINY.recipe, 0, folder)
    labels = store.labels[store.split("test")]
    scores = classification.score(labels, found["test"].argmax(1), 3)
    assert record["result"]["test"]["accuracy"] == scores.accuracy


def test_a_classifier_as_sure_of_itself_as_it_may_be():
    """It is right in eight of ten cells and says .99; the test cells go along."""
    labels = np.array([0] * 8 + [1] * 2)
    sure = np.tile([[0.99, 0.01]], (10, 1))
    said = {"validation": sure, "test": np.array([[0.01, 0.99], [0.5, 0.5]])}
    found = classifiers._temper(said, labels)
    # .3 of log 99 are 1.38: of those that are tried nearest to log 4, of .8.
    expected = 99**0.3 / (1 + 99**0.3)
    np.testing.assert_allclose(found["validation"][:, 0], expected)
    np.testing.assert_allclose(found["test"][:, 1], [expected, 0.5])


@pytest.mark.parametrize("regimes", EVERY, indirect=True)
def test_few_labels(folder, regimes):
    """With all of them, logistic regression is the one that sees all of them."""
    found = records(folder, "few_shot")
    by = {(row["modality"], row["model"], row["per_type"]): row for row in found}
    models = {model for _, model, _ in by}
    taught = "best, self-trained"
    own = {"best", "best-ensemble", taught}
    assert models == {*own, *few_shot.SIMPLE, *few_shot.UNLABELLED}
    single = [r for r in regimes if r is not Regime.MULTIOME]
    assert len(by) == len(single) * (len(models) * 2 - 1)
    for regime in single:
        for model in ("logistic_regression", "naive_bayes"):
            whole = by[regime, model, None]["accuracy"]
            assert whole == pytest.approx(rows(folder)[regime, model]["accuracy"])
    text = texts.markdown(few_shot.SECTION, found)
    assert text.splitlines()[0] == "| set | modality | model | 5 a type | all |"
    assert len(text.splitlines()) == 2 + len(single) * len(models)


def test_vectors_are_of_cells_that_have_what_they_are_made_of(folder):
    case = Case(name="simulated", regime=Regime.RNA, seed=0)
    job = vectors.components(case, TINY, folder)
    (record,) = jobs.run([job], folder)
    found = vectors.read(job.place(folder))
    store = sets.prepared("simulated", TINY.recipe, 0, folder)
    assert found.shape == (store.num_cells, record["result"]["width"])
    train = store.split("train")
    np.testing.assert_allclose(found[train].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(found[train].std(0), 1, atol=1e-3)


def test_a_table_for_people():
    gains = {
        "logistic_regression": {"mean": -0.012, "half_width": 0.003},
        "naive_bayes": {"mean": 0.02, "half_width": None},
    }
    row = {"set": "a", "modality": "rna", "accuracy": 0.5, "accuracy_gains": gains}
    row |= {"seeds": 1, "measured": [{"cells": None}]}
    section = dataclasses.replace(
        cell_types.SECTION,
        metrics={"accuracy": "accuracy"},
        references=("logistic_regression", "naive_bayes"),
    )
    text = texts.markdown(
        section, [row | {"model": "best"}, row | {"model": "logistic_regression"}]
    )
    assert text.splitlines() == [
        "| set | modality | model | accuracy | over logistic regression | "
        "over naive bayes |",
        "|---|---|---|---:|---:|---:|",
        "| a | rna | best | .500 | −.012 ± .003 | +.020 |",
        "|  |  | logistic regression | .500 |  | +.020 |",
    ]


def test_a_single_split_has_no_interval():
    assert results.half_width([0.1]) is None


def test_tables_of_the_readme(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("a\n<!-- x -->\nold\n<!-- end of x -->\nb\n")
    readme.fill(path, "x", "| new |")
    readme.fill(path, "x", "| newer |")
    assert path.read_text() == ("a\n<!-- x -->\n\n| newer |\n\n<!-- end of x -->\nb\n")
    for text in ("none", "<!-- x -->\n", "<!-- x -->\n<!-- x -->\n<!-- end of x -->"):
        path.write_text(text)
        with pytest.raises(InputError, match="no place, or several"):
            readme.fill(path, "x", "y")
        assert path.read_text() == text


def test_sets_that_are_not_at_hand_are_skipped(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("SCMULTIMODAL_DATA", raising=False)
    assert command.main(["--sets", "bmmc", "--out", str(tmp_path)])
    said = capsys.readouterr()
    assert "skipped bmmc: SCMULTIMODAL_DATA names no folder" in said.out
    assert "sets: none is at hand" in said.err
    monkeypatch.setenv("SCMULTIMODAL_DATA", str(tmp_path))
    assert "h5mu" in sets.missing("bmmc")
    assert sets.missing("mouse_cortex") is None


def test_a_file_without_a_place_is_told_before_anything_is_measured(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(tables, "measure", lambda *_: pytest.fail("measured"))
    path = tmp_path / "README.md"
    path.write_text("nothing")
    assert command.main(["--readme", str(path), "--out", str(tmp_path)])
    assert "has no place, or several" in capsys.readouterr().err


def test_numbers_of_a_job_are_those_that_are_not_defaults():
    assert jobs.numbers(FinetuneConfig()) == {}
    changed = FinetuneConfig(epochs=3, optimizer=OptimizerConfig())
    assert jobs.numbers(changed) == {"epochs": 3, "optimizer": {}}


def _job(compute, *, needs=(), name="one"):
    return jobs.Job(
        section="made_up", settings={"name": name}, compute=compute, needs=needs
    )


def test_what_could_not_be_judged_is_kept_as_none(tmp_path):
    job = _job(lambda *_: {"test": {"a": float("nan"), "b": [1.0, float("nan")]}})
    for _ in range(2):
        (record,) = jobs.run([job], tmp_path)
        assert record["result"] == {"test": {"a": None, "b": [1.0, None]}}


def test_cells_that_cannot_be_judged_have_no_row(tmp_path):
    """Nor has what needs them; the reason is kept, and asked for once."""
    asked = []

    def refuse(*_):
        asked.append(1)
        raise jobs.NothingToJudgeError("three cells")

    small = _job(refuse)
    made = {
        "small": small,
        "upon it": _job(lambda *_: pytest.fail("done"), needs=(small,), name="two"),
        "large": _job(lambda *_: {"test": {"accuracy": 1.0}}, name="three"),
    }
    section = tables.Section(
        about="",
        entries=lambda case, folder: [
            tables.Entry(row={"model": name}, job=job) for name, job in made.items()
        ],
        metrics={"accuracy": "accuracy"},
    )
    case = Case(name="simulated", regime=Regime.RNA, seed=0)
    for _ in range(2):
        rows = tables.measure(section, [case], tmp_path)
        assert [row["model"] for row in rows] == ["large"]
    assert asked == [1]
    (record,) = jobs.run([made["upon it"]], tmp_path)
    assert record["why"] == "three cells"


def test_sets_without_batches_are_not_split_by_them(tmp_path):
    section = dataclasses.replace(
        batches.SECTION, entries=lambda *_: pytest.fail("asked for")
    )
    case = Case(name="simulated", regime=Regime.RNA, seed=0)
    assert tables.measure(section, [case], tmp_path) == []


def test_two_processes_share_the_work(tmp_path):
    """One waits within its job for what only the other can do meanwhile."""
    begun, ended, done = threading.Event(), threading.Event(), []

    def first(*_):
        done.append("first")
        begun.set()
        assert ended.wait(60)
        return {"a": 1}

    def second(*_):
        done.append("second")
        ended.set()
        return {"a": 2}

    work = [_job(first), _job(second, name="two")]
    upon = _job(lambda *_: {"a": 3}, needs=work, name="three")

    def other():
        assert begun.wait(60)
        return jobs.run([work[1], upon], tmp_path)

    with futures.ThreadPoolExecutor() as pool:
        results = [pool.submit(jobs.run, [*work, upon], tmp_path), pool.submit(other)]
        one, two = ([record["result"]["a"] for record in r.result()] for r in results)
    assert (one, two) == ([1, 2, 3], [2, 3])
    assert done == ["first", "second"]


def test_processes_beside_this_one_end_with_it(tmp_path):
    begun = multiprocessing.get_context("spawn").Event()
    work = functools.partial(one_process.say_and_wait, begun)
    with processes.beside(work, tmp_path, 2):
        assert begun.wait(60)
        assert len(multiprocessing.active_children()) == 1
    assert not multiprocessing.active_children()
    assert (tmp_path / "process-1.log").read_text() == "here\n"


def test_the_command_gives_others_what_they_can_load(tmp_path, monkeypatch):
    """A process that is spawned loads no package's `__main__`."""
    given = []

    def beside(work, *_):
        given.append(pickle.dumps(work))
        return contextlib.nullcontext()

    monkeypatch.setattr(processes, "beside", beside)
    monkeypatch.setattr(tables, "measure", lambda *_, **__: [])
    words = ["--sets", "simulated", "--sections", "joint", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["evaluation", *words])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("experiments.evaluation", run_name="__main__")
    assert b"__main__" not in given[0]


def test_what_fails_beside_leaves_its_traceback(tmp_path, capsys):
    with processes.beside(one_process.fail, tmp_path, 2):
        (other,) = multiprocessing.active_children()
        other.join(300)
    assert "ValueError: it went wrong" in (tmp_path / "process-1.log").read_text()
    assert "process 1 ended: see process-1.log" in capsys.readouterr().out

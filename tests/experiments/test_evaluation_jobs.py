"""Jobs are done once, whatever ends a run, and their results are read back."""

import json
from pathlib import Path

import pytest

from experiments.evaluation import classifiers, jobs, vectors
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job
from experiments.evaluation.variants import vary
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from tests.experiments import job_defaults

NAMES = {
    "pretraining": "93b5383ec31fb44d",
    "trained": "950bbf1385fca73d",
    "member": "e336755c489d593c",
    "simple": "0029f0b45bb91900",
    "ensemble": "2476fd473546c11e",
    "frozen": "a4a249595a3877a4",
    "components": "1595363b17aaf033",
}
"""Of results that are kept: see the test of names."""


class Work:
    """Jobs that count how often they are done; one may fail."""

    def __init__(self):
        self.done, self.fails = [], None

    def jobs(self, *seeds, **settings):
        return [self.job({"seed": seed} | settings) for seed in seeds]

    def job(self, settings):
        def compute(place, needed):
            (place / "file.txt").write_text(str(settings["seed"]))
            if settings["seed"] == self.fails:
                raise KeyboardInterrupt
            self.done.append(settings["seed"])
            return {"accuracy": settings["seed"] / 10}

        return Job(section="types", settings=settings, compute=compute)


def nothing(place, needed):
    return {}


def accuracies(records):
    return [record["result"]["accuracy"] for record in records]


def test_what_is_done_is_not_done_again(tmp_path):
    work = Work()
    assert accuracies(jobs.run(work.jobs(1, 2), tmp_path)) == [0.1, 0.2]
    assert accuracies(jobs.run(work.jobs(2, 3, 1), tmp_path)) == [0.2, 0.3, 0.1]
    assert work.done == [1, 2, 3]
    jobs.run(work.jobs(1, layers=2), tmp_path)  # Other settings: another job.
    assert work.done == [1, 2, 3, 1]
    record = jobs.run(work.jobs(1), tmp_path)[0]
    assert record["settings"] == {"seed": 1}
    assert record["seconds"] >= 0
    assert record["revision"]


def test_a_run_that_was_ended_goes_on(tmp_path):
    work = Work()
    work.fails = 2
    with pytest.raises(KeyboardInterrupt):
        jobs.run(work.jobs(1, 2, 3), tmp_path)
    work.fails = None
    assert accuracies(jobs.run(work.jobs(1, 2, 3), tmp_path)) == [0.1, 0.2, 0.3]
    assert work.done == [1, 2, 3]


def test_the_order_of_settings_is_none_of_them():
    one, two = (
        Job(section="a", settings=settings, compute=nothing)
        for settings in ({"x": 1, "y": [2]}, {"y": [2], "x": 1})
    )
    assert one.key == two.key
    other = Job(section="b", settings=one.settings, compute=nothing)
    assert other.key != one.key


def test_a_damaged_result_is_named_and_kept(tmp_path):
    work = Work()
    jobs.run(work.jobs(1), tmp_path)
    (path,) = tmp_path.rglob("*.json")
    for text in ("{", json.dumps({"section": "types"}), "3"):
        path.write_text(text)
        with pytest.raises(InputError, match="is no result of a job"):
            jobs.run(work.jobs(1), tmp_path)
        assert path.read_text() == text


def test_what_a_job_needs_is_done_before_it_and_once(tmp_path):
    work = Work()
    parts = work.jobs(1, 2)

    def add(place, needed):
        work.done.append("sum")
        return {"accuracy": sum(int((n / "file.txt").read_text()) for n in needed)}

    total, other = (
        Job(section="sums", settings={"name": name}, compute=add, needs=parts)
        for name in "ab"
    )
    assert accuracies(jobs.run([total, parts[1], other], tmp_path)) == [3, 0.2, 3]
    assert work.done == [1, 2, "sum", "sum"]
    fewer = Job(section="sums", settings={"name": "a"}, compute=add, needs=parts[:1])
    assert accuracies(jobs.run([fewer, total], tmp_path)) == [1, 3]
    assert work.done == [1, 2, "sum", "sum", "sum"]


def test_files_of_a_job_that_was_ended_are_gone_when_it_is_done_again(tmp_path):
    job = Work().jobs(1)[0]
    job.place(tmp_path).mkdir(parents=True)
    (job.place(tmp_path) / "half").write_text("")
    jobs.run([job], tmp_path)
    assert sorted(p.name for p in job.place(tmp_path).iterdir()) == [
        "file.txt",
        "result.json",
    ]


def test_the_same_job_twice(tmp_path):
    with pytest.raises(InputError, match=r"\{'seed': 1\} is there twice"):
        jobs.run(Work().jobs(1, 1), tmp_path)


def test_a_result_that_is_infinite_is_not_kept(tmp_path):
    job = Job(section="a", settings={}, compute=lambda *_: {"x": float("inf")})
    with pytest.raises(ValueError, match="JSON"):
        jobs.run([job], tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_names_of_jobs_are_those_that_results_are_kept_under():
    """Another name is another job: what was measured in days would be done anew."""
    case = Case(name="mouse_cortex", regime=Regime.RNA, seed=3)
    drawn = Case(name="simulated", regime=Regime.ATAC, seed=0, cells=2_000)
    changes = {"pretrain.path.num_layers": 1, "recipe.target_sum": None}
    preset, out = vary(job_defaults.DEFAULTS, changes), Path()
    start = classifiers.pretraining(case, preset, out)
    member = classifiers.trained(case, preset, out, member=2)
    wanted = {
        "pretraining": start,
        "trained": classifiers.trained(case, preset, out, start=start),
        "member": member,
        "simple": classifiers.simple(drawn, preset, out),
        "ensemble": classifiers.ensemble(case, preset, out, members=[member]),
        "frozen": vectors.frozen(case, preset, out, start=start),
        "components": vectors.components(drawn, preset, out),
    }
    assert {name: job.key for name, job in wanted.items()} == NAMES


def test_another_version_is_another_name(monkeypatch):
    job = Work().job({"seed": 1})
    upon = Job(section="upon", settings={}, compute=nothing, needs=(job,))
    before = {job.key, upon.key}
    for version in (2, 3):
        monkeypatch.setattr(jobs, "VERSION", version)
        assert not before & {job.key, upon.key}
        before |= {job.key, upon.key}


def test_no_default_that_names_lean_on_has_changed():
    said = job_defaults.changes(job_defaults.read(), job_defaults.defaults())
    assert not said, "\n".join(said)


def test_what_is_said_of_defaults_that_change(monkeypatch):
    was, gone = {"A.x": 1, "A.y": 2}, {"A.x": 1}
    golden = {"version": jobs.VERSION, "defaults": was}
    assert job_defaults.changes(golden, was) == []
    for found, told, to_do in (
        (was | {"A.x": 3}, "A.x was 1 by default and is 3.", job_defaults.RAISE),
        (was | {"A.z": None}, "A.z is new, None by default.", job_defaults.ADD),
        (gone, "A.y is gone.", job_defaults.ADD),
    ):
        assert job_defaults.changes(golden, found) == [told, to_do]
    raised = jobs.VERSION + 1
    monkeypatch.setattr(jobs, "VERSION", raised)
    assert job_defaults.changes(golden, gone | {"A.y": 3}) == [
        "A.y was 2 by default and is 3.",
        f"VERSION was {raised - 1} and is {raised}.",
        job_defaults.WRITE,
    ]


def test_a_default_is_not_written_over_unseen(tmp_path, monkeypatch, capsys):
    path, found = tmp_path / "golden.json", job_defaults.defaults()
    monkeypatch.setattr(job_defaults, "GOLDEN", path)
    other = found | {"FinetuneConfig.epochs": -1}
    path.write_text(json.dumps({"version": jobs.VERSION, "defaults": other}))
    before = path.read_text()
    assert job_defaults.main() == 1
    told = f"epochs was -1 by default and is {found['FinetuneConfig.epochs']}"
    assert told in capsys.readouterr().err
    assert path.read_text() == before
    monkeypatch.setattr(jobs, "VERSION", jobs.VERSION + 1)
    assert job_defaults.main() == 0
    assert job_defaults.read() == {"version": jobs.VERSION, "defaults": found}


def test_all_that_has_a_default_is_in_the_golden():
    """Classes that hold each other, those that only some preset has among them."""
    kinds = {name.partition(".")[0] for name in job_defaults.defaults()}
    assert kinds == {
        *("CountDecoderConfig", "FinetuneConfig", "OptimizerConfig"),
        *("GeneFromPeaksOptions", "GeneQueryConfig", "PeakAggregation"),
        *("PeakPathConfig", "PeakTokenConfig", "PerformerConfig", "PretrainConfig"),
        *("RecipeConfig", "RunningConfig"),
    }

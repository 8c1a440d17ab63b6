"""Jobs are done once, whatever ends a run, and their results are read back."""

import json

import pytest

from experiments.evaluation import jobs
from experiments.evaluation.jobs import Job
from scmultimodal.schemas.errors import InputError


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

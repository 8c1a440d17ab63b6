"""Jobs on their way to a pod: placed once, followed, stopped, looked at."""

import pytest

from scmultimodal.data import remote
from scmultimodal.schemas.errors import InputError
from tpu import __main__ as tpu
from tpu import backends, jobs, launch
from tpu.pod import Pod
from tpu.shell import CommandError

POD = Pod(
    name="one",
    project="p",
    zone="z",
    accelerator_type="v4-16",
    bucket="gs://bucket/lab",
    recreate=2,
)
FLAGS = [
    *("--pod.name", "one", "--pod.project", "p", "--pod.zone", "z"),
    *("--pod.accelerator-type", "v4-16", "--pod.bucket", "gs://bucket/lab"),
]
ROOT = "/bucket/lab/"


class Somewhere:
    """A back end that is in the states of a plan, one after the other."""

    active = "READY"

    def __init__(self, *plan):
        self.pod, self.plan, self.asked = POD, list(plan), []

    def state(self):
        state = self.plan.pop(0)
        if isinstance(state, Exception):
            raise state
        return state() if callable(state) else state

    def __getattr__(self, verb):
        return lambda: self.asked.append(verb)


@pytest.fixture
def place(monkeypatch):
    """Runs a study by the command line; returns what the machines are told."""
    monkeypatch.setattr(launch, "LOOK_EVERY", 0.0)

    def place(*words):
        status = tpu.main(["run", *words, *FLAGS])
        return status, jobs.current(remote.at(POD.bucket), "one")

    return place


def end(job, status=0, why="the study ended"):
    found = {"id": job["id"], "code": job["code"], "host": 0}
    jobs.write_json(
        jobs.said_of(job["out"]) / "ended.json",
        found | {"status": status, "why": why},
    )


def say(job, host, **words):
    said = {"host": host, "job": job["id"], "phase": "running", "time": "now"} | words
    jobs.write_json(jobs.said_of(job["out"]) / f"{host}.json", said)


def test_a_job_has_its_code_and_a_place(place, bucket, capsys):
    status, job = place("some.study", "--steps", "3")
    assert status == 0
    assert job["words"] == ["some.study", "--steps", "3"]
    assert job["out"].startswith("gs://bucket/lab/runs/study-")
    assert f"{ROOT}code/{job['code']}.tar.gz" in bucket.store
    assert f"run folder {job['out']}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("out", "found"),
    [
        ("third", "gs://bucket/lab/runs/third"),
        ("gs://other/x", "gs://other/x"),
    ],
)
def test_a_run_folder_of_ones_own(place, out, found):
    assert place("some.study", "--out", out)[1]["out"] == found


def test_the_same_job_is_placed_once(place, bucket, capsys):
    place("some.study")
    bucket.written.clear()
    assert place("some.study")[0] == 0
    assert not bucket.written
    assert "one has study-" in capsys.readouterr().out


def test_another_job_waits_for_the_end_of_the_first(place, capsys):
    _, first = place("some.study")
    status, has = place("other.study")
    assert (status, has) == (2, first)
    assert f"one: runs {first['id']}. wait for it" in capsys.readouterr().err
    end(first)
    status, has = place("other.study")
    assert (status, has["words"]) == (0, ["other.study"])


def test_changed_code_is_not_mixed_into_a_run(place, monkeypatch, capsys):
    _, first = place("some.study")
    monkeypatch.setattr("tpu.source.pack", lambda: ("d" * 64, b"changed"))
    assert place("some.study") == (2, first)
    assert "with other code" in capsys.readouterr().err
    jobs.stop_of(remote.at(POD.bucket), "one").write_bytes(b"")
    status, job = place("some.study")
    assert (status, job["code"]) == (0, "d" * 64)
    assert not jobs.stop_of(remote.at(POD.bucket), "one").exists()


def test_data_must_be_where_machines_see_it(place, bucket, tmp_path, capsys):
    path = tmp_path / "three"
    assert place("some.study", "--data.dataset", str(path))[0] == 0
    end(jobs.current(remote.at(POD.bucket), "one"))
    path.mkdir()
    (path / "manifest.json").write_text("{}")
    assert place("some.study", "--data.dataset", str(path))[0] == 2
    assert f"run `python -m tpu push {path}`" in capsys.readouterr().err
    address = "gs://bucket/lab/data/three"
    assert place("some.study", f"--data.dataset={address}")[0] == 2
    assert f"{address}: was not pushed" in capsys.readouterr().err
    assert tpu.main(["push", str(path), *FLAGS]) == 0
    assert f"{address}  (1 files sent, 2 bytes)" in capsys.readouterr().out
    assert place("some.study", f"--data.dataset={address}")[0] == 0


def test_a_bucket_that_refuses_is_named(place, bucket, capsys):
    """Nothing is half-placed: the job comes after its code."""
    bucket.refuses = "/code/"
    assert place("some.study") == (2, None)
    said = capsys.readouterr().err
    assert "tpu: gs://bucket/lab: cannot be written (OSError: 403" in said


def test_it_is_followed_to_its_end(place, capsys):
    _, job = place("some.study")
    log = jobs.said_of(job["out"]) / "0.log"
    log.write_bytes(b"step 1\n")

    def later():
        log.write_bytes(b"step 1\nstep 2\n")
        say(job, 0, phase="ended", attempt=1)
        end(job, 3, "the loss is NaN")
        return "READY"

    where = Somewhere("READY", later)
    assert launch.follow(where, job) == 3
    shown = capsys.readouterr().out
    assert shown.count("step 1") == shown.count("step 2") == 1
    assert shown.endswith("host 0: the loss is NaN\n")
    assert where.asked == []


def test_a_pod_that_deletes_itself_at_the_end_is_not_asked_for_again(place):
    _, job = place("some.study")
    end(job)
    where = Somewhere("not there")
    assert launch.follow(where, job) == 0
    assert where.asked == []


def test_a_pod_that_is_taken_away_is_asked_for_again(place):
    """As often as it gets further; a lost connection is no loss of the pod."""
    _, job = place("some.study")
    steps = iter(range(10, 100, 10))

    def gone():
        remote.write(
            remote.at(job["out"]) / f"checkpoints/{next(steps)}/manifest.json", b"{}"
        )
        return "SUSPENDED"

    def done():
        end(job)
        return "not there"

    lost = CommandError(["gcloud"], "ended with 1", "ERROR: 503 UNAVAILABLE")
    where = Somewhere(*[gone] * 5, lost, "READY", done)
    assert launch.follow(where, job) == 0
    assert where.asked == ["wait"] * 5


def test_a_pod_that_gets_nowhere_is_given_up(place):
    _, job = place("some.study")
    where = Somewhere(*["SUSPENDED"] * 9)
    with pytest.raises(InputError, match=r"one: was taken away 3 times without a new"):
        launch.follow(where, job)
    assert where.asked == ["wait", "wait", "down"]


def test_what_cannot_pass_ends_the_following(place):
    _, job = place("some.study")
    denied = CommandError(["gcloud"], "ended with 1", "ERROR: PERMISSION_DENIED")
    with pytest.raises(CommandError, match="roles/tpu"):
        launch.follow(Somewhere(denied), job)


def test_stop_waits_for_the_machines(place, bucket, monkeypatch, capsys):
    _, job = place("some.study")
    for host in range(2):
        say(job, host)
    looks = iter(range(3))

    def later(_):
        say(job, next(looks), phase="ended", why="asked to stop")

    monkeypatch.setattr("time.sleep", later)
    assert tpu.main(["stop", *FLAGS]) == 0
    shown = capsys.readouterr().out
    assert shown.count("asked to stop") == 2
    assert "is still there, and costs" in shown
    assert f"{ROOT}pods/one/stop" in bucket.store


def test_what_machines_said_of_a_job_before_does_not_count(place, monkeypatch):
    _, first = place("some.study")
    for host in range(2):
        say(first, host, phase="ended")
    end(first)
    _, job = place("some.study")
    assert job == first
    assert launch.hosts(job) == []
    say(job, 0)
    monkeypatch.setattr(launch, "PATIENCE", -1.0)
    assert tpu.main(["stop", *FLAGS]) == 75


def test_who_follows_hears_of_a_stop_and_of_a_pod_that_is_given_back(
    place, monkeypatch
):
    """And does not ask for it again."""
    _, job = place("some.study")
    where = Somewhere("READY", "not there")
    monkeypatch.setattr(backends, "of", lambda pod, shell: where)
    assert tpu.main(["down", *FLAGS]) == 0
    assert launch.follow(where, job) == 75
    assert where.asked == ["down"]


def test_a_pod_is_given_back_whatever_the_bucket_does(place, bucket, monkeypatch):
    place("some.study")
    where = Somewhere()
    monkeypatch.setattr(backends, "of", lambda pod, shell: where)
    bucket.refuses = "stop"
    assert tpu.main(["down", *FLAGS]) == 0
    assert where.asked == ["down"]


def test_who_follows_outlasts_the_bucket(place, monkeypatch):
    _, job = place("some.study")
    answers = [OSError("503"), OSError("503"), 0]

    def progress(out):
        if isinstance(answer := answers.pop(0), OSError):
            raise answer
        return answer

    def done():
        end(job)
        return "not there"

    monkeypatch.setattr(jobs, "progress", progress)
    where = Somewhere("SUSPENDED", "READY", done)
    assert launch.follow(where, job) == 0
    assert where.asked == []


def test_progress_is_that_of_all_trainings(bucket):
    out = "gs://bucket/lab/runs/x"
    assert jobs.progress(out) == 0
    for name in (
        *("checkpoints/20/manifest.json", "checkpoints/100/manifest.json"),
        *("from_scratch/checkpoints/7/manifest.json", "checkpoints/200/metadata.json"),
    ):
        remote.write(remote.at(out) / name, b"{}")
    assert jobs.progress(out) == 107


def test_code_that_is_half_there_is_sent_again(place, bucket):
    _, job = place("some.study")
    end(job)
    code = remote.at(POD.bucket) / "code" / f"{job['code']}.tar.gz"
    whole = code.read_bytes()
    code.write_bytes(whole[:-1])
    place("some.study")
    assert code.read_bytes() == whole


def test_stop_tells_of_machines_that_do_not_answer(place, monkeypatch):
    _, job = place("some.study")
    say(job, 0)
    monkeypatch.setattr(launch, "PATIENCE", -1.0)
    assert tpu.main(["stop", *FLAGS]) == 75


def test_logs_of_a_machine(place, capsys):
    _, job = place("some.study")
    assert tpu.main(["logs", *FLAGS]) == 0
    assert "host 0 has said nothing yet" in capsys.readouterr().out
    (jobs.said_of(job["out"]) / "1.log").write_bytes(b"hello\n")
    assert tpu.main(["logs", "--host", "1", *FLAGS]) == 0
    assert capsys.readouterr().out == "hello\n"


def test_logs_where_there_is_no_job(bucket, capsys):
    assert tpu.main(["logs", *FLAGS]) == 2
    assert "one: has no job. give it one" in capsys.readouterr().err


def test_status_has_pod_job_and_machines(place, monkeypatch, capsys):
    _, job = place("some.study")
    say(job, 1, attempt=2, why="3 chips are seen, 4 expected", phase="unfit")
    monkeypatch.setattr(backends, "of", lambda pod, shell: Somewhere("READY"))
    assert tpu.main(["status", *FLAGS]) == 0
    shown = capsys.readouterr().out
    assert "one: READY; 1 × v4-16, 8 chips on 2 hosts, z" in shown
    assert f"{job['id']}, not ended" in shown
    row = next(line for line in shown.splitlines() if "unfit" in line)
    assert row.split()[:3] == ["1", "unfit", "3"]


def test_a_new_pod_does_not_find_a_job_that_has_ended(place, bucket, monkeypatch):
    """It would delete itself at once."""
    monkeypatch.setattr(backends, "of", lambda pod, shell: Somewhere())
    _, job = place("some.study")
    assert tpu.main(["up", *FLAGS]) == 0
    assert jobs.current(remote.at(POD.bucket), "one") == job
    end(job)
    assert tpu.main(["up", *FLAGS]) == 0
    assert jobs.current(remote.at(POD.bucket), "one") is None


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["run", "some.study", "--x", "a b"], '"a b"'),
        (["push", "README.md"], "send README.md to gs://bucket/lab/data/README.md"),
        (["stop"], "write gs://bucket/lab/pods/one/stop"),
    ],
)
def test_a_dry_run_changes_nothing(bucket, capsys, words, shown):
    assert tpu.main([*words, *FLAGS, "--dry-run"]) == 0
    assert shown in capsys.readouterr().out
    assert not bucket.store


def test_words_that_are_quoted_stay_whole(place):
    words = ("some.study", "--name", "a b", "--path", "it's", "--empty", "")
    assert place(*words)[1]["words"] == list(words)

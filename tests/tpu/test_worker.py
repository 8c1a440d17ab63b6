"""A machine of a pod: whether it is fit, who it is, and when it ends."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from etils import epath

from scmultimodal.data import remote
from scmultimodal.schemas.errors import InputError
from scmultimodal.training.meeting import HostsConfig
from tpu import fitness, inputs, jobs, queued_resources, source, worker
from tpu.facts import Facts
from tpu.machine import Machine

CODE = "c" * 64
JOB = jobs.Job(words=("some.study",), out="", code=CODE, revision="r", restarts=2)
FACTS = Facts(
    name="one",
    bucket="",
    hosts=8,
    hosts_a_slice=4,
    devices_a_host=4,
    budget_seconds=2**30,
    ends_by="launcher",
)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """One of two, in a bucket of its own, with the code that is asked for."""
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    here = tmp_path / CODE
    here.mkdir()
    monkeypatch.chdir(here)
    job = dataclasses.replace(JOB, out=str(tmp_path / "run"), pause=0.0)
    jobs.place(epath.Path(tmp_path / "bucket"), "one", job)
    monkeypatch.setattr(fitness, "_chips", lambda: ["/dev/accel0"] * 4)
    return Machine(
        facts=dataclasses.replace(FACTS, bucket=str(tmp_path / "bucket")),
        job=job.as_json(),
        role=HostsConfig(coordinator="here:1", hosts=2, host=1),
        work=tmp_path,
    )


def test_a_machine_that_is_fit(machine, tmp_path):
    fitness.check(machine)
    assert not list((tmp_path / "run" / "hosts").iterdir())


def test_other_code_than_asked_for(machine, monkeypatch, tmp_path):
    """It names the machine: there may be a thousand."""
    other = tmp_path / ("d" * 64)
    other.mkdir()
    monkeypatch.chdir(other)
    with pytest.raises(InputError, match=r"^host 1 \(.*has code d{12}, .* for c{12}"):
        fitness.check(machine)
    end = worker.work(machine)
    assert end.status == 2
    assert "host 1" in end.why


@pytest.mark.parametrize("change", [{"code": "d" * 64}, {"id": "other"}, None])
def test_a_job_that_is_not_wanted_any_more_is_left(machine, tmp_path, change):
    """The startup script brings the one that is."""
    path = tmp_path / "bucket" / "pods" / "one" / "job.json"
    path.unlink()
    if change:
        path.write_text(json.dumps(machine.job | change))
    wanted = worker.End(75, "another job is wanted", is_final=False)
    assert worker.work(machine) == wanted


def test_a_bucket_that_may_not_be_written(machine, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(InputError, match=r"cannot be written .*roles/storage"):
        fitness.check(machine)


@pytest.mark.parametrize(
    ("name", "found", "words"),
    [
        ("_chips", ["/dev/accel0"] * 3, "3 chips are seen, 4 expected"),
        ("_holder", (7, "python"), r"process 7 \(python\) holds the chips"),
    ],
)
def test_chips_that_are_not_free_may_be_later(
    machine, monkeypatch, capfd, name, found, words
):
    """It looks again, as often as it may start, and does not give up for good."""
    monkeypatch.setattr(fitness, name, lambda: found)
    with pytest.raises(fitness.UnfitError, match=words):
        fitness.check(machine)
    assert worker.work(machine) == worker.End(
        75, "started 3 times without a new checkpoint"
    )
    assert capfd.readouterr().err.count("worker: ") == 3
    said = json.loads((machine.said / "1.json").read_text())
    assert (said["phase"], said["attempt"]) == ("unfit", 2)


def test_a_process_that_holds_a_chip_is_found(monkeypatch, tmp_path):
    chip = tmp_path / "accel0"
    chip.touch()
    monkeypatch.setattr(fitness, "_CHIPS", (str(chip),))
    assert fitness._holder() is None
    with chip.open():
        assert fitness._holder() == (
            os.getpid(),
            Path("/proc/self/comm").read_text()[:-1],
        )


@pytest.mark.parametrize(
    ("ends_by", "host", "status", "deleted"),
    [
        ("deletion", 0, 2, True),
        ("deletion", 1, 2, True),
        ("deletion", 0, 0, True),
        ("deletion", 1, 0, False),
        ("launcher", 0, 2, False),
    ],
)
@pytest.mark.parametrize("bucket_is", ["there", "away"])
def test_who_deletes_the_pod_when_all_is_over(
    machine, monkeypatch, ends_by, host, status, deleted, bucket_is
):
    """Also where the bucket cannot be told; host 0 may still write what is done."""
    if bucket_is == "away":

        def away(*_):
            raise OSError("503")

        monkeypatch.setattr(jobs, "ended", away)
    ended = dataclasses.replace(
        machine,
        facts=dataclasses.replace(machine.facts, ends_by=ends_by),
        role=dataclasses.replace(machine.role, host=host),
    )
    calls = []
    monkeypatch.setattr(worker, "read", lambda _: ended)
    monkeypatch.setattr(worker, "work", lambda _: worker.End(status, "over"))
    monkeypatch.setattr(worker.Shell, "do", lambda shell, words: calls.append(words))
    assert worker.main(["folder"]) == status
    assert [words[5:7] for words in calls] == [["one", "--project"]] * deleted


@pytest.mark.parametrize(
    ("ends_by", "why", "expected"),
    [
        ("exit", "stop", 130),
        ("exit", "restarts", 130),
        ("exit", "budget", 130),
        ("exit", "SIGTERM", 75),
        ("deletion", "stop", 75),
        ("launcher", "budget", 75),
    ],
)
def test_what_the_machine_ends_with(
    machine, monkeypatch, tmp_path, ends_by, why, expected
):
    """75 starts it again on GKE: not where somebody says stop."""
    ended = dataclasses.replace(
        machine,
        facts=dataclasses.replace(machine.facts, ends_by=ends_by),
        deadline=0.0 if why == "budget" else machine.deadline,
    )
    if why == "stop":
        (tmp_path / "bucket" / "pods" / "one" / "stop").touch()
    monkeypatch.setattr(worker, "read", lambda _: ended)
    end = worker.End(75, "asked to end", is_final=why in ("restarts", "budget"))
    monkeypatch.setattr(worker, "work", lambda _: end)
    assert worker.main(["folder"]) == expected


@pytest.mark.parametrize(("gathering", "expected"), [(0.0, 300.0), (3_600.0, 3_600.0)])
def test_machines_that_come_one_by_one_wait_for_each_other(
    machine, monkeypatch, tmp_path, gathering, expected
):
    told = dataclasses.replace(machine.facts, gathering_seconds=gathering)
    (tmp_path / "pod.json").write_text(told.as_json())
    (tmp_path / "job.json").write_text(json.dumps(machine.job))
    (tmp_path / "deadline").write_text("1")
    monkeypatch.setattr("tpu.roles.of", lambda _: machine.role)
    assert worker.read(tmp_path).role.meeting_seconds == expected


def test_hours_that_are_over(machine):
    late = dataclasses.replace(machine, deadline=0.0)
    over = "the hours of the budget are over"
    assert worker.work(late) == worker.End(75, over)


def test_a_stop_is_taken_back_by_the_next_job(machine, tmp_path):
    bucket = epath.Path(tmp_path / "bucket")
    (bucket / "pods" / "one" / "stop").touch()
    assert worker.work(machine) == worker.End(75, "asked to stop", is_final=False)
    jobs.place(bucket, "one", JOB)
    assert not machine.is_asked_to_stop()


def test_the_same_job_has_the_same_name():
    assert JOB.id == dataclasses.replace(JOB, code="e" * 64, restarts=9).id
    assert JOB.id != dataclasses.replace(JOB, words=("some.study", "--x")).id
    assert JOB.id.startswith("study-")


def test_the_same_files_are_the_same_code(tmp_path):
    """Whenever they are packed; as they are, not as they were committed."""
    root = tmp_path / "clone"
    root.mkdir()
    (root / "a.sh").write_text("one")
    (root / "a.sh").chmod(0o700)
    (root / "not ours").write_text("x")
    for words in (["init", "-q"], ["add", "a.sh"]):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    code, content = source.pack(root)
    os.utime(root / "a.sh", (0, 0))
    assert source.pack(root) == (code, content)
    (tmp_path / "code.tar.gz").write_bytes(content)
    shutil.unpack_archive(
        tmp_path / "code.tar.gz", tmp_path / "unpacked", filter="data"
    )
    (found,) = (tmp_path / "unpacked").iterdir()
    assert (found.name, found.read_text()) == ("a.sh", "one")
    assert found.stat().st_mode & 0o111
    (root / "a.sh").write_text("two")
    assert source.pack(root)[0] != code
    (root / "a.sh").unlink()
    with pytest.raises(InputError, match=r"a\.sh: cannot be read .*`git rm` it"):
        source.pack(root)
    with pytest.raises(InputError, match="is no checkout of git"):
        source.pack(tmp_path)


def environment(folder, **more):
    """Of a machine without a cloud."""
    return {
        **os.environ,
        "SCMULTIMODAL_WORK": str(folder / "work"),
        "SCMULTIMODAL_POD": str(folder / "pod.json"),
        "SCMULTIMODAL_EVERY": "0.05",
        **more,
    }


def start(folder, **more):
    """The startup script on a machine without a cloud."""
    return subprocess.run(
        ["bash", str(queued_resources.STARTUP)],
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def pod_of(folder, **facts):
    told = dataclasses.replace(FACTS, bucket=str(folder / "bucket"), **facts)
    (folder / "pod.json").write_text(told.as_json())


def test_damaged_code_is_not_run(tmp_path):
    pod_of(tmp_path)
    bucket = epath.Path(tmp_path / "bucket")
    jobs.place(bucket, "one", dataclasses.replace(JOB, out=str(tmp_path / "run")))
    remote.write(bucket / "code" / f"{CODE}.tar.gz", b"half of it")
    done = start(tmp_path, SCMULTIMODAL_PYTHON="/bin/false")
    assert done.returncode == 2
    assert "is not what its name says; run again" in done.stdout
    assert not (tmp_path / "work" / "code").exists()


def test_a_pod_that_gets_no_job_deletes_itself(tmp_path):
    pod_of(tmp_path, project="p", zone="z", budget_seconds=-1_000, ends_by="deletion")
    program = tmp_path / "bin" / "gcloud"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s " "$@" > {tmp_path}/asked\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    done = start(tmp_path, PATH=path)
    assert done.returncode == 75
    assert (tmp_path / "asked").read_text() == (
        "compute tpus queued-resources delete one --force --quiet --async "
        "--project p --zone z "
    )


def test_no_job_in_the_hours_of_the_budget(tmp_path):
    """Where another status than 75 keeps it from being started again."""
    pod_of(tmp_path, budget_seconds=-1_000, ends_by="exit")
    assert start(tmp_path).returncode == 130


def test_what_fails_before_the_worker_may_do_better_later(tmp_path):
    pod_of(tmp_path)
    bucket = epath.Path(tmp_path / "bucket")
    content = b"no archive"
    job = dataclasses.replace(JOB, code=hashlib.sha256(content).hexdigest(), out="/x")
    jobs.place(bucket, "one", job)
    remote.write(bucket / "code" / f"{job.code}.tar.gz", content)
    assert start(tmp_path).returncode == 75


def test_a_machine_that_waits_for_a_job_ends_when_asked_to(tmp_path):
    pod_of(tmp_path)
    process = subprocess.Popen(
        ["bash", str(queued_resources.STARTUP)],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if "waiting for a job" in line:
            break
    process.terminate()
    assert process.wait(60) == 75


def test_the_startup_script_is_clean():
    script = str(queued_resources.STARTUP)
    program = str(Path(sys.executable).with_name("shellcheck"))
    found = subprocess.run([program, script], capture_output=True, check=False)
    assert (found.returncode, found.stdout) == (0, b"")


def test_a_study_of_a_bucket_is_told_paths_that_are_the_same_everywhere(
    machine, bucket, tmp_path
):
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "manifest.json").write_text("{}")
    inputs.push(tmp_path / "three", "gs://bucket/data/three")
    words = ["some.study", "--data=gs://bucket/data/three", "--x", "a=b"]
    words += ["--start", "gs://bucket/data/three"]
    job = machine.job | {"words": words, "out": "gs://bucket/runs/one", "id": "some-1"}
    found = []
    for folder in ("here", "there"):
        place = dataclasses.replace(machine, job=job, work=tmp_path / folder)
        arguments, started_in = worker._arguments(place)
        assert started_in == tmp_path / folder
        found.append(arguments)
    one, another = found
    assert one == another
    assert one[0] == "some.study"
    data = one[1].removeprefix("--data=")
    assert (tmp_path / "here" / data / "manifest.json").read_text() == "{}"
    assert one[2:] == [
        *("--x", "a=b", "--start", data),
        *("--out", "runs/some-1", "--bucket", "gs://bucket/runs/one"),
    ]


def test_data_that_was_not_pushed_ends_it(machine, bucket, monkeypatch):
    job = machine.job | {"words": ["s", "gs://bucket/data/x"], "out": "gs://bucket/r"}
    monkeypatch.setattr(fitness, "check", lambda machine: None)
    end = worker.work(dataclasses.replace(machine, job=job))
    assert end.status == 2
    assert end.why.startswith("gs://bucket/data/x: was not pushed")


def test_a_bucket_that_is_away_for_a_while_is_waited_for(machine, monkeypatch, capfd):
    answers = [OSError("503")] * 2

    def ended(job):
        if answers:
            raise answers.pop()

    monkeypatch.setattr(jobs, "ended", ended)
    monkeypatch.setattr(worker, "_study", lambda *_: 0)
    assert worker.work(machine) == worker.End(0, "the study ended")
    assert capfd.readouterr().err.count("the bucket: 503") == 1


def test_starts_that_follow_each_other_wait_longer(machine, monkeypatch):
    pauses = []
    job = machine.job | {"pause": 100.0}
    patient = dataclasses.replace(machine, job=job)
    monkeypatch.setattr(patient.asked, "wait", pauses.append)
    monkeypatch.setattr(worker, "_study", lambda *_: -9)
    assert worker.work(patient) == worker.End(
        75, "started 3 times without a new checkpoint"
    )
    assert pauses == [100.0, 200.0]


def test_a_machine_that_was_stopped_goes_on_with_the_next_job(tmp_path):
    """On a pod the startup script waits; other ends are ends."""
    pod_of(tmp_path, project="p", zone="z", budget_seconds=600, ends_by="deletion")
    place = epath.Path(tmp_path / "bucket")
    job = dataclasses.replace(JOB, out=str(tmp_path / "run"))
    jobs.place(place, "one", job)
    (tmp_path / "work" / "code" / CODE).mkdir(parents=True)
    python = tmp_path / "python"
    stop = jobs.stop_of(place, "one")
    # The first life is asked to stop.
    python.write_text(
        f"#!/bin/sh\necho life >> {tmp_path}/lives\n"
        f"[ $(wc -l < {tmp_path}/lives) = 1 ] && touch {stop} && exit 75\n"
        f"touch {tmp_path}/work/final; exit 3\n"
    )
    python.chmod(0o755)
    script = subprocess.Popen(
        ["bash", str(queued_resources.STARTUP)],
        env=environment(tmp_path, SCMULTIMODAL_PYTHON=str(python)),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not list(stop.parent.glob("startup-*.log")):
            with pytest.raises(subprocess.TimeoutExpired):
                script.wait(0.1)
        assert (tmp_path / "lives").read_text() == "life\n"
        stop.unlink()
        assert script.wait(120) == 3
    finally:
        os.killpg(script.pid, signal.SIGKILL)  # The watchdog of the budget.
    assert (tmp_path / "lives").read_text() == "life\n" * 2


def test_what_gets_further_is_started_as_often_as_it_takes(machine, monkeypatch):
    steps = iter([0, 5, 5, 9, 9, 9, 9])
    ends = iter([-9] * 6)
    monkeypatch.setattr(jobs, "progress", lambda out: next(steps))
    monkeypatch.setattr(worker, "_study", lambda *_: next(ends))
    monkeypatch.setattr(machine.asked, "wait", lambda seconds: None)
    end = worker.End(75, "started 3 times without a new checkpoint")
    assert worker.work(machine) == end
    assert list(ends) == []


def test_how_a_study_ended_is_told_in_its_last_words(machine, monkeypatch):
    def study(*_):
        log = machine.work / f"{machine.job['id']}.log"
        log.write_text("step 3\nsome.study: loss is NaN\n\n")
        return 3

    monkeypatch.setattr(worker, "_study", study)
    end = worker.work(machine)
    assert end == worker.End(3, "the study ended: some.study: loss is NaN")


def test_a_pod_that_may_not_delete_itself_is_told_of(machine, gcloud):
    facts = dataclasses.replace(FACTS, ends_by="deletion", project="p", zone="z")
    first = dataclasses.replace(machine.role, host=0)
    pod = dataclasses.replace(machine, facts=facts, role=first)
    assert fitness.warning(pod) == fitness.warning(machine) == ""
    gcloud.answer("describe", [1, "", "ERROR: PERMISSION_DENIED"])
    assert "may not be able to delete itself" in fitness.warning(pod)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError(104, "reset"), fitness.UnfitError),
        (OSError("403 Forbidden"), InputError),
    ],
)
def test_a_bucket_that_is_away_is_told_from_one_that_refuses(
    machine, bucket, error, kind
):
    bucket.refuses, bucket.error = "probe", staticmethod(lambda path: error)
    job = machine.job | {"out": "gs://bucket/run"}
    with pytest.raises(kind, match=r"reset|roles/storage"):
        fitness.check(dataclasses.replace(machine, job=job))


def test_what_a_machine_before_this_one_said_is_kept(machine):
    sent = machine.said / "1.log"
    remote.write(sent, b"of the first life\n")
    assert worker._log(machine).read_text() == "of the first life\n"

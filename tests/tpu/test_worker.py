"""A machine of a pod: whether it is fit, who it is, and when it ends."""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.training.meeting import HostsConfig
from tpu import jobs, queued_resources, source, worker
from tpu.facts import Facts

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
    jobs.place(worker.epath.Path(tmp_path / "bucket"), "one", job)
    monkeypatch.setattr(worker, "_chips", lambda: ["/dev/accel0"] * 4)
    return worker.Machine(
        facts=dataclasses.replace(FACTS, bucket=str(tmp_path / "bucket")),
        job=job.as_json(),
        role=HostsConfig(coordinator="here:1", hosts=2, host=1),
        work=tmp_path,
    )


def test_a_machine_that_is_fit(machine, tmp_path):
    worker.check(machine)
    assert not list((tmp_path / "run" / "hosts").iterdir())


def test_other_code_than_asked_for(machine, tmp_path):
    """It names the machine: there may be a thousand."""
    path = tmp_path / "bucket" / "pods" / "one" / "job.json"
    path.write_text(json.dumps(machine.job | {"code": "d" * 64}))
    with pytest.raises(InputError, match=r"^host 1 \(.*has code c{12}, .* for d{12}"):
        worker.check(machine)
    status, why = worker.work(machine)
    assert status == 2
    assert "host 1" in why


def test_a_bucket_that_may_not_be_written(machine, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(InputError, match=r"cannot be written .*roles/storage"):
        worker.check(machine)


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
    monkeypatch.setattr(worker, name, lambda: found)
    with pytest.raises(worker.UnfitError, match=words):
        worker.check(machine)
    assert worker.work(machine) == (75, "started 3 times")
    assert capfd.readouterr().err.count("worker: ") == 3
    said = json.loads((machine.said / "1.json").read_text())
    assert (said["phase"], said["attempt"]) == ("unfit", 2)


def test_a_process_that_holds_a_chip_is_found(monkeypatch, tmp_path):
    chip = tmp_path / "accel0"
    chip.touch()
    monkeypatch.setattr(worker, "_CHIPS", (str(chip),))
    assert worker._holder() is None
    with chip.open():
        assert worker._holder() == (
            os.getpid(),
            Path("/proc/self/comm").read_text()[:-1],
        )


@pytest.mark.parametrize(
    ("ends_by", "host", "deleted"),
    [("deletion", 0, True), ("deletion", 1, False), ("launcher", 0, False)],
)
def test_who_deletes_the_pod_when_all_is_done(
    machine, monkeypatch, ends_by, host, deleted
):
    ended = dataclasses.replace(
        machine,
        facts=dataclasses.replace(machine.facts, ends_by=ends_by),
        role=dataclasses.replace(machine.role, host=host),
    )
    calls = []
    monkeypatch.setattr(worker, "read", lambda _: ended)
    monkeypatch.setattr(worker, "work", lambda _: (2, "the input is wrong"))
    monkeypatch.setattr("subprocess.run", lambda words, check: calls.append(words))
    assert worker.main(["folder"]) == 2
    assert [words[5:7] for words in calls] == [["one", "--project"]] * deleted


@pytest.mark.parametrize(
    ("ends_by", "why", "expected"),
    [
        ("exit", "stop", 130),
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
    monkeypatch.setattr(worker, "work", lambda _: (75, "asked to end"))
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
    assert worker.work(late) == (75, "the hours of the budget are over")


def test_a_stop_is_taken_back_by_the_next_job(machine, tmp_path):
    bucket = worker.epath.Path(tmp_path / "bucket")
    (bucket / "pods" / "one" / "stop").touch()
    assert worker.work(machine) == (75, "asked to stop")
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


def start(folder, *, work=None, **environment):
    """The startup script on a machine without a cloud."""
    return subprocess.run(
        ["bash", str(queued_resources.STARTUP)],
        env=os.environ
        | {"SCMULTIMODAL_WORK": str(work or folder / "work")}
        | {"SCMULTIMODAL_POD": str(folder / "pod.json")}
        | environment,
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
    bucket = worker.epath.Path(tmp_path / "bucket")
    jobs.place(bucket, "one", dataclasses.replace(JOB, out=str(tmp_path / "run")))
    jobs.write(bucket / "code" / f"{CODE}.tar.gz", b"half of it")
    done = start(tmp_path, SCMULTIMODAL_PYTHON="/bin/false")
    assert done.returncode == 2
    assert "is not what its name says; push it again" in done.stdout
    assert not (tmp_path / "work" / "code").exists()


def test_a_pod_that_gets_no_job_deletes_itself(tmp_path):
    pod_of(tmp_path, project="p", zone="z", budget_seconds=-1, ends_by="deletion")
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
    pod_of(tmp_path, budget_seconds=-1, ends_by="exit")
    assert start(tmp_path).returncode == 130


def test_what_fails_before_the_worker_may_do_better_later(tmp_path):
    pod_of(tmp_path)
    bucket = worker.epath.Path(tmp_path / "bucket")
    content = b"no archive"
    job = dataclasses.replace(JOB, code=hashlib.sha256(content).hexdigest(), out="/x")
    jobs.place(bucket, "one", job)
    jobs.write(bucket / "code" / f"{job.code}.tar.gz", content)
    assert start(tmp_path).returncode == 75


def test_a_machine_that_waits_for_a_job_ends_when_asked_to(tmp_path):
    pod_of(tmp_path)
    environment = {"SCMULTIMODAL_WORK": str(tmp_path / "work")}
    environment["SCMULTIMODAL_POD"] = str(tmp_path / "pod.json")
    process = subprocess.Popen(
        ["bash", str(queued_resources.STARTUP)],
        env=os.environ | environment,
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

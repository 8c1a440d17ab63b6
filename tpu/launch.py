"""A job on a pod: placed in the bucket, followed, looked at, stopped.

Machines look for their job there by themselves: a lost connection, or a laptop that is
closed, changes nothing.
"""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from etils import epath

from scmultimodal.data import remote
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.status import Status
from scmultimodal.workflows import provenance
from tpu import inputs, jobs, source
from tpu.backends import Backend
from tpu.jobs import Job
from tpu.pod import Pod
from tpu.shell import CommandError

LOOK_EVERY = 30.0
"""Seconds between looks at a job."""
PATIENCE = 300.0
"""Seconds that machines have to end their study when they are asked to stop."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A study on a pod."""

    study: Annotated[str, tyro.conf.Positional]
    """Such as cell_model.pretraining; flags that are not named here are its own."""
    pod: Pod
    """Which."""
    config: Path | None = None
    """TOML file with its numbers."""
    out: str | None = None
    """Run folder: a name below BUCKET/runs, or an address; by default study and flags
    give it a name."""
    follow: bool = False
    """Stay, show what host 0 says, and ask for the pod anew where it is taken away."""
    restarts: int = 8
    """How often a machine starts the study again without a new checkpoint."""
    heartbeat_seconds: float = 30.0
    """Silence after which a host counts as dead."""
    meeting_seconds: float = 600.0
    """How long hosts wait for each other at the start."""
    dry_run: bool = False
    """Show what would be written, and write nothing."""


def run(command: Run, of_study: Sequence[str], backend: Backend) -> int:
    """Places a job, unless it runs there already; returns a `Status`.

    Raises:
        InputError: the pod runs another job, or the study needs what is not pushed.
    """
    pod = command.pod
    bucket = remote.at(pod.bucket)
    code, packed = source.pack()
    job = _job(command, of_study, code)
    if command.dry_run:
        print(f"write {bucket}/code/{code}.tar.gz  ({len(packed):,} bytes)")
        print(f"write {jobs.path_of(bucket, pod.name)}")
        print(json.dumps(job.as_json(), indent=1))
        return Status.DONE
    with remote.access(pod.bucket, "read"):
        for word in job.words:
            _check(word)
        placed = _is_placed(bucket, pod.name, job)
    if placed:
        print(f"{pod.name} has {job.id} already")
    else:
        with remote.access(pod.bucket, "written"):
            jobs.push_code(bucket, code, packed)
            jobs.place(bucket, pod.name, job)
        print(f"{pod.name} gets {job.id}")
    print(f"run folder {job.out}")
    return follow(backend, job.as_json()) if command.follow else Status.DONE


def push(pod: Pod, path: Path, *, dry: bool = False) -> str:
    """Sends a file or folder to BUCKET/data; returns its address there."""
    address = f"{pod.bucket.rstrip('/')}/data/{path.resolve().name}"
    if dry:
        print(f"send {path} to {address}")
        return address
    sent = inputs.push(path, address)
    size = sum(fact["bytes"] for fact in sent.values())
    print(f"{address}  ({len(sent)} files sent, {size:,} bytes)")
    return address


def follow(backend: Backend, job: dict[str, Any]) -> int:
    """Shows what host 0 says until the job has ended; returns its status.

    A pod that was taken away is asked for again, as long as there is a new checkpoint
    each time, or `recreate` times without one.

    Raises:
        InputError: it was taken away too often; nothing is left in the queue.
    """
    pod = backend.pod
    shown, newest, reached, left = 0, 0, 0, pod.recreate
    while True:
        try:
            there = backend.state() == backend.active
            end, stopped, newest = _look(pod, job)
            shown = _show(jobs.said_of(job["out"]) / "0.log", shown)
            if end is not None:
                print(f"\n{table(job)}\nhost {end['host']}: {end['why']}")
                return end["status"]
        except CommandError as error:
            if not error.may_pass:
                raise
            print(f"tpu: {error}", file=sys.stderr)
            there, stopped = True, False
        except Exception as error:  # of the bucket: the next look may do
            print(f"tpu: the bucket: {error}", file=sys.stderr)
            there, stopped = True, False
        if stopped:
            print(f"{pod.name} was asked to stop")
            return Status.RESTART_ME
        if not there:
            left = pod.recreate if newest > reached else left - 1
            reached = max(newest, reached)
            if left < 0:
                backend.down()
                raise InputError(
                    pod.name,
                    f"was taken away {1 + pod.recreate} times without a new checkpoint",
                    "save more often, or ask for chips that are not spot",
                )
            backend.wait()
        time.sleep(LOOK_EVERY)


def _look(pod: Pod, job: dict[str, Any]) -> tuple[dict[str, Any] | None, bool, int]:
    """How a job ended, whether it is asked to stop, and how far it is."""
    stop = jobs.stop_of(remote.at(pod.bucket), pod.name)
    return jobs.ended(job), stop.exists(), jobs.progress(job["out"])


def take_back(pod: Pod) -> None:
    """Says that a job is not wanted any more, for who follows it and for machines."""
    bucket = remote.at(pod.bucket)
    with remote.access(pod.bucket, "written"):
        job = jobs.current(bucket, pod.name)
        if job is not None and jobs.ended(job) is None:
            remote.write(jobs.stop_of(bucket, pod.name), b"")


def stop(pod: Pod, *, dry: bool = False) -> int:
    """Asks the machines to save and to end their study, and waits until they have.

    Returns:
        RESTART_ME where one has not said so in time.
    """
    bucket = remote.at(pod.bucket)
    path = jobs.stop_of(bucket, pod.name)
    if dry:
        print(f"write {path}")
        return Status.DONE
    with remote.access(path, "written"):
        job = jobs.current(bucket, pod.name)
        remote.write(path, b"")
    if job is None:
        print(f"{pod.name} has no job")
        return Status.DONE
    deadline = time.monotonic() + PATIENCE
    while not _all_ended(job, pod.hosts):
        if time.monotonic() > deadline:
            break
        time.sleep(min(LOOK_EVERY, PATIENCE) / 6)
    print(table(job))
    if pod.backend == "jobset":
        print("its JobSet ends: `up`, then `run` go on")
    else:
        print(f"{pod.name} is still there, and costs: `run` goes on, `down` ends it")
    return Status.DONE if _all_ended(job, pod.hosts) else Status.RESTART_ME


def _all_ended(job: dict[str, Any], wanted: int) -> bool:
    """Also where none has begun."""
    found = hosts(job)
    return not found or (
        len(found) >= wanted and all(one["phase"] == "ended" for one in found)
    )


def logs(pod: Pod, *, host: int, follow: bool) -> int:
    """Shows what a host says, to the end of the job where it is followed."""
    job = _current(pod)
    path, shown = jobs.said_of(job["out"]) / f"{host}.log", 0
    while True:
        end = jobs.ended(job)
        shown = _show(path, shown)
        if end is not None or not follow:
            if not shown:
                print(f"host {host} has said nothing yet\n{table(job)}")
            return Status.DONE
        time.sleep(LOOK_EVERY)


def describe(pod: Pod) -> str:
    """The job of a pod and its machines, for people."""
    with remote.access(pod.bucket, "read"):
        job = jobs.current(remote.at(pod.bucket), pod.name)
        if job is None:
            return "no job"
        end = jobs.ended(job)
        how = f"ended with {end['status']}: {end['why']}" if end else "not ended"
        if jobs.stop_of(remote.at(pod.bucket), pod.name).exists():
            how += ", asked to stop"
        return f"{job['id']}, {how}\nrun folder {job['out']}\n{table(job)}"


def hosts(job: dict[str, Any]) -> list[dict[str, Any]]:
    """How each machine said that it is in this job, by number."""
    folder = jobs.said_of(job["out"])
    if not folder.exists():
        return []
    paths = [p for p in folder.iterdir() if p.suffix == ".json" and p.stem.isdecimal()]
    found = [one for one in map(jobs.read_json, paths) if one]
    own = [one for one in found if one["job"] == job["id"]]
    return sorted(own, key=lambda said: said["host"])


def table(job: dict[str, Any]) -> str:
    """The same, for people."""
    lines = [f"{'host':>5} {'phase':<9} {'start':>5}  {'said at':<25} why"]
    lines += [
        f"{one['host']:>5} {one['phase']:<9} {1 + one.get('attempt', 0):>5}  "
        f"{one['time']:<25} {one.get('why', '')}".rstrip()
        for one in hosts(job)
    ]
    return "\n".join(lines)


def _job(command: Run, of_study: Sequence[str], code: str) -> Job:
    job = Job(
        words=(command.study, *of_study),
        out="",
        code=code,
        revision=provenance.git_revision(),
        restarts=command.restarts,
        heartbeat_seconds=command.heartbeat_seconds,
        meeting_seconds=command.meeting_seconds,
    )
    out = command.out or job.id
    if not remote.is_remote(out):
        out = f"{command.pod.bucket.rstrip('/')}/runs/{out}"
    return dataclasses.replace(job, out=out)


def _check(word: str) -> None:
    """Raises where a machine of a pod would not find what a word names."""
    value = word.rpartition("=")[2]
    if remote.is_remote(value):
        inputs.find(value)
    elif Path(value).is_file() or (os.sep in value and Path(value).exists()):
        raise InputError(
            value,
            "is on this machine, and machines of a pod do not see it",
            f"run `python -m tpu push {value}`, and give the address that it says",
        )


def _is_placed(bucket: epath.Path, pod: str, job: Job) -> bool:
    """Whether the pod has this job; raises where it runs another."""
    has = jobs.current(bucket, pod)
    is_free = (
        has is None or jobs.ended(has) is not None or jobs.stop_of(bucket, pod).exists()
    )
    if is_free:
        return False
    if (has["id"], has["out"]) != (job.id, job.out):
        raise InputError(
            pod, f"runs {has['id']}", "wait for it, or `python -m tpu stop`"
        )
    if has["code"] != job.code:
        raise InputError(
            pod,
            f"runs {job.id} with other code",
            "`python -m tpu stop`, then run again",
        )
    return True


def _current(pod: Pod) -> dict[str, Any]:
    with remote.access(pod.bucket, "read"):
        job = jobs.current(remote.at(pod.bucket), pod.name)
    if job is None:
        raise InputError(pod.name, "has no job", "give it one: `python -m tpu run`")
    return job


def _show(log: epath.Path, shown: int) -> int:
    """Prints what was said beyond `shown` bytes; returns how many there are now."""
    try:
        content = log.read_bytes()
    except FileNotFoundError:
        return shown
    if len(content) < shown:
        shown = 0  # Of a new machine.
    sys.stdout.write(content[shown:].decode(errors="replace"))
    sys.stdout.flush()
    return len(content)

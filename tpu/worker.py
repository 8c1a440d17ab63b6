"""What a machine of a pod does once it has our code: `python -m tpu.worker FOLDER`.

It looks whether it is fit, runs the study, and again, a few times, where the study asks
for it or is killed, until all is done, it gives up, somebody says stop, or the hours of
the budget are over; then the pod ends. What it reads and says in the bucket is listed
in `tpu.jobs`.

Where the run folder is in a bucket, the machine has one of its own that is kept there
too, and what the flags of the study name there is fetched first.
"""

import dataclasses
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath

from scmultimodal.data import remote
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.status import Status
from scmultimodal.training import meeting
from scmultimodal.workflows import provenance
from tpu import facts, inputs, jobs, queued_resources, roles
from tpu.facts import Facts
from tpu.shell import Shell

LONGEST_PAUSE = 300.0
"""Seconds between two starts of the study at most."""
GRACE = 60.0
"""Seconds, beyond two heartbeats, that a study has to end when it is asked to."""
_CHIPS = ("/dev/accel", "/dev/vfio/")


class UnfitError(Exception):
    """This machine cannot run the study now."""


@dataclasses.dataclass(frozen=True)
class End:
    """How the work of a machine ended.

    Attributes:
        status: of the study.
        why: there is no more, for people.
        is_final: whether it would do no better if it were started again.
    """

    status: int
    why: str
    is_final: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine of a pod, and its job.

    Attributes:
        facts: of the pod.
        job: what to run; see `jobs.Job`.
        role: among the machines.
        work: its own folder.
        deadline: seconds since 1970 at which the hours of the budget are over.
        launcher: process without which it is to end; None on a pod.
        asked: set when this process is asked to end (SIGTERM).
    """

    facts: Facts
    job: Mapping[str, Any]
    role: meeting.HostsConfig
    work: Path
    deadline: float = math.inf
    launcher: int | None = None
    asked: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def pod(self) -> epath.Path:
        """What is said of the pod."""
        return remote.at(self.facts.bucket) / "pods" / self.facts.name

    @property
    def said(self) -> epath.Path:
        """Where the machines say how they are."""
        return jobs.said_of(self.job["out"])

    def say(self, **words: Any) -> None:
        """How it is, for whoever looks; nothing depends on it."""
        known = {
            "host": self.role.host,
            "name": socket.gethostname(),
            "code": self.job["code"],
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        try:
            jobs.write_json(self.said / f"{self.role.host}.json", known | words)
        except Exception as error:  # each kind of bucket raises its own
            print(f"worker: the bucket: {error}", file=sys.stderr, flush=True)

    def is_asked_to_stop(self) -> bool:
        """Whether somebody says stop, or the launcher has gone."""
        if self.launcher is not None and os.getppid() != self.launcher:
            self.asked.set()
        return self.asked.is_set() or self.is_stopped()

    def is_stopped(self) -> bool:
        """Whether somebody said stop to all machines."""
        return (self.pod / "stop").exists()

    def is_over_budget(self) -> bool:
        """Whether the hours are over."""
        return time.time() > self.deadline


def main(arguments: list[str] | None = None) -> int:
    """Does the job of this machine; returns the `Status` of the study.

    Or INTERRUPTED, where a status that asks for it would start the machine again.
    """
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    (folder,) = sys.argv[1:] if arguments is None else arguments
    machine = dataclasses.replace(read(Path(folder)), asked=asked)
    end = work(machine)
    machine.say(phase="ended", status=int(end.status), why=end.why)
    print(f"worker: {end.why}; status {int(end.status)}", flush=True)
    if end.is_final:
        _tell(machine, end)
        if machine.role.host == 0 and machine.facts.ends_by == "deletion":
            _delete_pod(machine)
    # A JobSet starts a machine again that asks for it.
    nobody = end.is_final or machine.is_over_budget() or machine.is_stopped()
    if machine.facts.ends_by == "exit" and end.status == Status.RESTART_ME and nobody:
        return Status.INTERRUPTED
    return end.status


def _tell(machine: Machine, end: End) -> None:
    """That all is over: the first that failed knows why; of those done one tells."""
    if jobs.ended(machine.job) is None and (end.status or machine.role.host == 0):
        ended = {"id": machine.job["id"], "code": machine.job["code"]}
        ended |= {"host": machine.role.host, "status": int(end.status)}
        jobs.write_json(machine.said / "ended.json", ended | {"why": end.why})


def read(work: Path) -> Machine:
    """What the startup script has left in the folder of this machine."""
    told = facts.read(work / "pod.json")
    job = json.loads((work / "job.json").read_text())
    role = dataclasses.replace(
        roles.of(told),
        heartbeat_seconds=job["heartbeat_seconds"],
        meeting_seconds=max(job["meeting_seconds"], told.gathering_seconds),
    )
    return Machine(
        facts=told,
        job=job,
        role=role,
        work=work,
        deadline=float((work / "deadline").read_text()),
        launcher=os.getppid() if told.ends_by == "launcher" else None,
    )


def work(machine: Machine) -> End:
    """Runs the study until it ends for good, or is asked to."""
    restarts = machine.job["restarts"]
    for attempt in range(1 + restarts):
        if (end := _ended(machine)) is not None:
            return end
        machine.say(phase="looking", attempt=attempt)
        try:
            check(machine)
        except UnfitError as error:
            print(f"worker: {error}", file=sys.stderr, flush=True)
            machine.say(phase="unfit", attempt=attempt, why=str(error))
            status = Status.RESTART_ME
        except InputError as error:
            return End(Status.GIVE_UP, str(error))
        else:
            status = _study(machine, attempt)
        if status == Status.DONE and machine.role.host == 0:
            _push_model(machine)
        if status >= 0 and status != Status.RESTART_ME:
            return End(status, "the study ended")
        if attempt < restarts and _ended(machine) is None:
            print(f"worker: ended with {status}; starting again", flush=True)
            pause = min(machine.job["pause"] * 2**attempt, LONGEST_PAUSE)
            machine.asked.wait(pause)
    return _ended(machine) or End(Status.RESTART_ME, f"started {1 + restarts} times")


def _ended(machine: Machine) -> End | None:
    """Why there is nothing to start now; None where there is."""
    try:
        found = jobs.ended(machine.job)
        stopped = machine.is_asked_to_stop()
    except Exception as error:  # each kind of bucket raises its own
        print(f"worker: the bucket: {error}", file=sys.stderr, flush=True)
        return None
    if found is not None:
        return End(found["status"], "the run has ended")
    if stopped:
        return End(Status.RESTART_ME, "asked to stop", is_final=False)
    if machine.is_over_budget():
        over = "the hours of the budget are over"
        return End(Status.RESTART_ME, over, is_final=False)
    return None


def check(machine: Machine) -> None:
    """Whether this machine is fit.

    Raises:
        UnfitError: chips are missing, or another process holds them.
        InputError: it has other code than the job, or may not write to the bucket.
    """
    try:
        job = jobs.current(remote.at(machine.facts.bucket), machine.facts.name)
    except Exception as error:  # each kind of bucket raises its own
        raise UnfitError(f"the bucket cannot be read: {error}") from error
    if job is None:
        raise UnfitError("the bucket has no job any more")
    here = Path.cwd().name
    if not job["code"] == machine.job["code"] == here:
        raise InputError(
            f"host {machine.role.host} ({socket.gethostname()})",
            f"has code {here[:12]}, and the job asks for {job['code'][:12]}",
            "stop the pod, push, and run again",
        )
    probe = machine.said / f"{machine.role.host}.probe"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_text("x")
        probe.unlink()
    except Exception as error:  # each kind of bucket raises its own
        if not (isinstance(error, OSError) or "403" in str(error)):
            raise UnfitError(f"the bucket cannot be written: {error}") from error
        raise InputError(
            probe,
            f"cannot be written ({type(error).__name__}: {error})",
            "let the service account write to the bucket (roles/storage.objectAdmin)",
        ) from error
    if "JAX_PLATFORMS" in os.environ:
        return
    wanted, seen = machine.facts.devices_a_host, len(_chips())
    if seen != wanted:
        raise UnfitError(f"{seen} chips are seen, {wanted} expected")
    if holder := _holder():
        raise UnfitError(f"process {holder[0]} ({holder[1]}) holds the chips")


def _study(machine: Machine, attempt: int) -> int:
    """Runs the study once; SIGTERM is handed to it where it is to end."""
    try:
        arguments, folder = _arguments(machine)
    except Exception as error:  # of the bucket, or of what was pushed
        print(f"worker: {error}", file=sys.stderr, flush=True)
        return Status.GIVE_UP if isinstance(error, InputError) else Status.RESTART_ME
    machine.say(phase="running", attempt=attempt)
    # -P: of the code that was unpacked, whatever the folder holds.
    words = [sys.executable, "-P", "-m", machine.job["program"], *arguments]
    log = machine.work / "study.log"
    environment = {**os.environ, **machine.role.environment()}
    paths = [os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    if machine.job["revision"] is not None:
        environment[provenance.REVISION] = machine.job["revision"]
    with log.open("ab") as said:
        process = subprocess.Popen(
            words,
            env=environment,
            cwd=folder,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(machine, process, log, ended))
    watch.start()
    try:
        return process.wait()
    finally:
        ended.set()
        watch.join()


def _arguments(machine: Machine) -> tuple[list[str], str | Path | None]:
    """What the study is told, alike on all machines, and the folder it starts in."""
    job = machine.job
    if not remote.is_remote(job["out"]):
        return [*job["words"], "--out", job["out"]], job["folder"]
    found = []
    for word in job["words"]:
        flag, is_flag, value = word.rpartition("=")
        if remote.is_remote(value):
            machine.say(phase="fetching", what=value)
            path = inputs.fetch(value, machine.work / "inputs")
            word = f"{flag}{is_flag}{path.relative_to(machine.work)}"
        found.append(word)
    found += ["--out", f"runs/{job['id']}", "--bucket", job["out"]]
    return found, machine.work


def _push_model(machine: Machine) -> None:
    """Lists the model of a run in a bucket, so that other runs may start from it."""
    model = machine.work / "runs" / machine.job["id"] / "model"
    if remote.is_remote(machine.job["out"]) and model.is_dir():
        try:
            inputs.push(model, f"{machine.job['out'].rstrip('/')}/model")
        except InputError as error:
            print(f"worker: {error}", file=sys.stderr, flush=True)


def _watch(
    machine: Machine, process: subprocess.Popen, log: Path, ended: threading.Event
) -> None:
    """Copies what the study says to the bucket, and tells it where it is to end."""
    copy = machine.said / f"{machine.role.host}.log"
    patience = GRACE + 2 * machine.role.heartbeat_seconds
    asked, size = math.inf, -1
    while True:
        last = ended.wait(machine.job["every"])
        try:
            if machine.is_over_budget() or machine.is_asked_to_stop():
                if asked == math.inf:
                    asked = time.monotonic()
                    process.send_signal(signal.SIGTERM)
                elif time.monotonic() > asked + patience:
                    process.kill()
            if (now := log.stat().st_size) != size:
                remote.copy(log, copy)
                size = now
        except Exception as error:  # the study goes on without: the next look may do
            print(f"worker: the bucket: {error}", file=sys.stderr, flush=True)
        if last:
            return


def _chips() -> list[str]:
    """Device files of the chips: asking libtpu would wait for the other machines."""
    files = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]
    return sorted(map(str, files))


def _holder() -> tuple[int, str] | None:
    """A process that has a chip open: libtpu would say "already in use"."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = os.readlink(link)
            if target.startswith(_CHIPS) and target != "/dev/vfio/vfio":
                pid = int(link.parts[2])
                return pid, (link.parents[1] / "comm").read_text().strip()
        except OSError:
            continue
    return None


def _delete_pod(machine: Machine) -> None:
    """Nothing runs on that nobody needs; the watchdog comes where this fails."""
    of = machine.facts
    print(f"worker: deleting {of.name}", flush=True)
    words = queued_resources.deletion(of.name, of.project, of.zone)
    try:
        Shell().do([*words, "--async"])
    except InputError as error:
        print(f"worker: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

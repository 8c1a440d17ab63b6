"""What a machine of a pod does once it has our code: `python -m tpu.worker FOLDER`.

It looks whether it is fit, runs the study, and again, a few times, where the study asks
for it or is killed, until all is done, it gives up, somebody says stop, or the hours of
the budget are over; then the pod ends. What it reads and says in the bucket is listed
in `tpu.jobs`.

Where the run folder is in a bucket, the machine has one of its own that is kept there
too, and what the flags of the study name there is fetched first.
"""

import contextlib
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from scmultimodal.data import remote
from scmultimodal.schemas.errors import InputError, PassingError
from scmultimodal.schemas.status import Status
from scmultimodal.workflows import provenance
from tpu import facts, fitness, inputs, jobs, queued_resources, roles
from tpu.fitness import UnfitError
from tpu.machine import Machine
from tpu.shell import Shell

LONGEST_PAUSE = 300.0
"""Seconds between two starts of the study at most."""
_SLICE = 0.2
"""Seconds within which a signal is noticed."""
GRACE = 60.0
"""Seconds, beyond two heartbeats, that a study has to end when it is asked to."""


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
        (machine.work / "final").touch()
        _tell(machine, end)
        # The others may be done before host 0, which still writes.
        last = machine.role.host == 0 or end.status != Status.DONE
        if last and machine.facts.ends_by == "deletion":
            _delete_pod(machine)
    # A JobSet starts a machine again that asks for it.
    nobody = end.is_final or machine.is_stopped()
    if machine.facts.ends_by == "exit" and end.status == Status.RESTART_ME and nobody:
        return Status.INTERRUPTED
    return end.status


def _tell(machine: Machine, end: End) -> None:
    """That all is over: the first that failed knows why; of those done one tells."""
    ended = {"id": machine.job["id"], "code": machine.job["code"]}
    ended |= {"host": machine.role.host, "status": int(end.status), "why": end.why}
    try:
        if jobs.ended(machine.job) is None and (end.status or machine.role.host == 0):
            jobs.write_json(machine.said / "ended.json", ended)
    except Exception as error:  # of the bucket: the pod is to be deleted all the same
        print(f"worker: the bucket: {error}", file=sys.stderr, flush=True)


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
    restarts, attempt = machine.job["restarts"], 0
    left, reached = restarts, _progress(machine, -1)
    while (end := _ended(machine)) is None:
        status, why = _once(machine, attempt)
        if status >= 0 and status != Status.RESTART_ME:
            return End(status, why)
        newest = _progress(machine, reached)
        left = restarts if newest > reached else left - 1
        reached = newest
        if left < 0:
            why = f"started {1 + restarts} times without a new checkpoint"
            return _ended(machine) or End(Status.RESTART_ME, why)
        if _ended(machine) is None:
            print(f"worker: ended with {status}; starting again", flush=True)
            pause = machine.job["pause"] * 2 ** max(restarts - left - 1, 0)
            machine.asked.wait(min(pause, LONGEST_PAUSE))
        attempt += 1
    return end


def _once(machine: Machine, attempt: int) -> tuple[int, str]:
    """Looks whether the machine is fit and runs the study: its status, and why."""
    machine.say(phase="looking", attempt=attempt)
    try:
        fitness.check(machine)
        arguments, folder = _arguments(machine)
    except (UnfitError, PassingError) as error:
        print(f"worker: {error}", file=sys.stderr, flush=True)
        machine.say(phase="unfit", attempt=attempt, why=str(error))
        return Status.RESTART_ME, ""
    except InputError as error:
        return Status.GIVE_UP, str(error)
    status = _study(machine, attempt, arguments, folder)
    if status != Status.DONE:
        return status, f"the study ended: {_last_line(_log(machine))}"
    if machine.role.host == 0:
        _push_model(machine)
    return status, "the study ended"


def _ended(machine: Machine) -> End | None:
    """Why there is nothing to start now; None where there is."""
    try:
        ended = jobs.ended(machine.job)
        wanted = jobs.current(remote.at(machine.facts.bucket), machine.facts.name)
        stopped = machine.is_asked_to_stop()
    except Exception as error:  # each kind of bucket raises its own
        print(f"worker: the bucket: {error}", file=sys.stderr, flush=True)
        return None
    if ended is not None:
        return End(ended["status"], "the run has ended")
    if stopped:
        return End(Status.RESTART_ME, "asked to stop", is_final=False)
    if any((wanted or {}).get(name) != machine.job[name] for name in ("id", "code")):
        return End(Status.RESTART_ME, "another job is wanted", is_final=False)
    if machine.is_over_budget():
        return End(Status.RESTART_ME, "the hours of the budget are over")
    return None


def _progress(machine: Machine, before: int) -> int:
    """How far the run is; as far as before where nobody knows."""
    try:
        return max(jobs.progress(machine.job["out"]), before)
    except Exception as error:  # each kind of bucket raises its own
        print(f"worker: the bucket: {error}", file=sys.stderr, flush=True)
        return before


def _study(
    machine: Machine, attempt: int, arguments: Sequence[str], folder: str | Path | None
) -> int:
    """Runs the study once; SIGTERM is handed to it where it is to end."""
    machine.say(phase="running", attempt=attempt, why=fitness.warning(machine))
    role = machine.role
    if attempt:
        # Machines come together at first; later, who is not there has died.
        role = dataclasses.replace(role, meeting_seconds=machine.job["meeting_seconds"])
    # -P: of the code that was unpacked, whatever the folder holds.
    words = [sys.executable, "-P", "-m", machine.job["program"], *arguments]
    log = _log(machine)
    environment = {**os.environ, **role.environment()}
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


def _log(machine: Machine) -> Path:
    """What the study says; what a machine before this one had sent comes first."""
    log = machine.work / f"{machine.job['id']}.log"
    sent = machine.said / f"{machine.role.host}.log"
    if not log.exists():
        with contextlib.suppress(Exception):
            remote.copy(sent, log)
    return log


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


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
        except Exception as error:  # of the bucket: the model is there all the same
            print(f"worker: the bucket: {error}", file=sys.stderr, flush=True)


def _watch(
    machine: Machine, process: subprocess.Popen, log: Path, ended: threading.Event
) -> None:
    """Copies what the study says to the bucket, and tells it where it is to end."""
    copy = machine.said / f"{machine.role.host}.log"
    patience = GRACE + 2 * machine.role.heartbeat_seconds
    asked, size = math.inf, -1
    while True:
        last = _wait(machine, ended, first=asked == math.inf)
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


def _wait(machine: Machine, ended: threading.Event, *, first: bool) -> bool:
    """Until the next look, the first SIGTERM, or the end, which it returns."""
    until = time.monotonic() + machine.job["every"]
    while not ended.wait(min(_SLICE, max(until - time.monotonic(), 0))):
        if time.monotonic() >= until or (first and machine.asked.is_set()):
            return False
    return True


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

"""Runs a study as several hosts on this machine, one process each.

    python -m tpu run cell_model.pretraining --backend local --hosts 2 \\
        --devices-per-host 2 --out runs/two --steps 20

The processes start as those of a pod do, so that what works here works there. Flags
that are not of the launcher go to the study. What host 0 says is shown; what each says
is in OUT/hosts/. Where hosts are killed, or end by asking for a restart, all are
started again.
"""

import contextlib
import dataclasses
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import tyro

from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.status import Status
from scmultimodal.training import meeting

PROGRAM = "experiments.train"
LEEWAY = 60.0
"""Seconds, beyond two heartbeats, that hosts have to end after the first has."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A study on several hosts."""

    study: Annotated[str, tyro.conf.Positional]
    """Such as cell_model.pretraining."""
    out: Path
    """Run folder, the same for all hosts."""
    backend: Literal["local"] = "local"
    """Where the hosts are."""
    hosts: int = 2
    """Processes."""
    devices_per_host: int = 1
    """CPU devices of each."""
    restarts: int = 3
    """How often all are started again at most."""
    heartbeat_seconds: float = 30.0
    """Silence after which a host counts as dead."""
    meeting_seconds: float = 300.0
    """How long hosts wait for each other at the start."""

    def __post_init__(self):
        for field, least in (("hosts", 1), ("devices_per_host", 1), ("restarts", 0)):
            if (value := getattr(self, field)) < least:
                flag = f"--{field.replace('_', '-')}"
                raise InputError(flag, f"is {value}", f"Give {least} or more")


@dataclasses.dataclass(frozen=True)
class Ended:
    """How the process of a host ended: below 0 it was killed by that signal."""

    attempt: int
    host: int
    status: int
    seconds: float

    @property
    def word(self) -> str:
        """The status, for people."""
        if self.status < 0:
            return f"killed by {signal.Signals(-self.status).name}"
        try:
            return f"{self.status} {Status(self.status).name.lower().replace('_', ' ')}"
        except ValueError:
            return str(self.status)


def run(command: Run, of_study: Sequence[str]) -> int:
    """Starts the hosts, again where they ask for it; returns the last status."""
    ended: list[Ended] = []
    asked_to_end = threading.Event()
    for attempt in range(1 + command.restarts):
        ended += _attempt(command, of_study, attempt, asked_to_end)
        status = _together([one.status for one in ended if one.attempt == attempt])
        if status != Status.RESTART_ME or asked_to_end.is_set():
            break
        if attempt < command.restarts:
            print("tpu: not all hosts came to the end; restarting", file=sys.stderr)
    print(_table(ended))
    return status


def _together(statuses: Sequence[int]) -> int:
    """What several hosts ask for: one that gave up would do so again."""
    final = [s for s in statuses if s > 0 and s != Status.RESTART_ME]
    if final:
        return min(final)
    return Status.RESTART_ME if any(statuses) else Status.DONE


def _attempt(
    command: Run,
    of_study: Sequence[str],
    attempt: int,
    asked_to_end: threading.Event,
) -> list[Ended]:
    """One life of all hosts."""
    coordinator = f"localhost:{meeting.free_port()}"
    words = [sys.executable, "-m", PROGRAM, command.study]
    words += ["--out", str(command.out), *of_study]
    started, ended = time.monotonic(), queue.SimpleQueue[Ended]()
    with contextlib.ExitStack() as stack:
        processes = []
        for host in range(command.hosts):
            said = stack.enter_context(_log(command.out, host))
            process = subprocess.Popen(
                words,
                env=_environment(command, coordinator, host),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            stack.callback(process.kill)
            processes.append(process)

            def follow(host: int = host, process=process, said=said) -> None:
                _copy(process.stdout, [said, *([sys.stdout.buffer] * (host == 0))])
                status, seconds = process.wait(), time.monotonic() - started
                ended.put(Ended(attempt, host, status, seconds))

            threading.Thread(target=follow, name=f"host {host}", daemon=True).start()
        stack.enter_context(_forwarding(processes, asked_to_end))
        found = [ended.get()]
        # Hosts notice by themselves when one is gone; this is for one that cannot.
        deadline = time.monotonic() + 2 * command.heartbeat_seconds + LEEWAY
        with contextlib.suppress(queue.Empty):
            while len(found) < command.hosts:
                left = max(deadline - time.monotonic(), 0)
                found.append(ended.get(timeout=left))
        for process in processes:
            process.kill()
        while len(found) < command.hosts:
            found.append(ended.get())
    return sorted(found, key=lambda one: one.host)


def _environment(command: Run, coordinator: str, host: int) -> dict[str, str]:
    """That of a host."""
    role = meeting.HostsConfig(
        coordinator=coordinator,
        hosts=command.hosts,
        host=host,
        heartbeat_seconds=command.heartbeat_seconds,
        meeting_seconds=command.meeting_seconds,
    )
    devices = {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(command.devices_per_host),
    }
    return {**os.environ, **role.environment(), **devices}


def _log(out: Path, host: int) -> BinaryIO:
    """Where all that a host says is kept."""
    folder = out / "hosts"
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / f"host_{host}.log").open("ab")


def _copy(said: BinaryIO, to: Sequence[BinaryIO]) -> None:
    """Hands on what a process says, as it says it, until it says no more."""
    while chunk := said.read1(65_536):  # pyright: ignore[reportAttributeAccessIssue]
        for file in to:
            file.write(chunk)
            file.flush()


@contextlib.contextmanager
def _forwarding(
    processes: Sequence[subprocess.Popen], asked_to_end: threading.Event
) -> Iterator[None]:
    """SIGTERM goes on to one host, which asks the others; Ctrl-C reaches all anyway."""

    def forward(signum, frame):
        asked_to_end.set()
        for process in processes:
            if process.poll() is None:
                process.send_signal(signum)
                return

    previous = signal.signal(signal.SIGTERM, forward)
    ignored = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
        signal.signal(signal.SIGINT, ignored)


def _table(ended: Sequence[Ended]) -> str:
    lines = [f"{'attempt':>7} {'host':>5} {'seconds':>8}  ended"]
    lines += [
        f"{one.attempt:>7} {one.host:>5} {one.seconds:>8.1f}  {one.word}"
        for one in ended
    ]
    return "\n".join(lines)

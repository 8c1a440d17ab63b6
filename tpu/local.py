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
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.status import Status

PROGRAM = "experiments.train"


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
        for field in ("hosts", "devices_per_host"):
            if getattr(self, field) < 1:
                flag = f"--{field.replace('_', '-')}"
                raise InputError(flag, f"is {getattr(self, field)}", "Give 1 or more")


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
    coordinator = f"localhost:{_free_port()}"
    words = [sys.executable, "-m", PROGRAM, command.study]
    words += ["--out", str(command.out), *of_study]
    started = time.monotonic()
    ended: dict[int, Ended] = {}
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                _host(words, _role(command, coordinator, host), command.out, host)
            )
            for host in range(command.hosts)
        ]
        stack.enter_context(_forwarding(processes, asked_to_end))
        alone_since = None
        while len(ended) < command.hosts:
            for host, process in enumerate(processes):
                if host not in ended and process.poll() is not None:
                    seconds = time.monotonic() - started
                    ended[host] = Ended(attempt, host, process.returncode, seconds)
                    alone_since = alone_since or time.monotonic()
            # Hosts notice by themselves when one is gone; this is for one that cannot.
            patience = 2 * command.heartbeat_seconds + 60
            if alone_since and time.monotonic() - alone_since > patience:
                for process in processes:
                    process.kill()
            time.sleep(0.05)
    return [ended[host] for host in sorted(ended)]


def _role(command: Run, coordinator: str, host: int) -> dict[str, str]:
    """The environment of a host."""
    return {
        **os.environ,
        "SCMULTIMODAL_COORDINATOR": coordinator,
        "SCMULTIMODAL_HOSTS": str(command.hosts),
        "SCMULTIMODAL_HOST": str(host),
        "SCMULTIMODAL_HEARTBEAT_SECONDS": str(command.heartbeat_seconds),
        "SCMULTIMODAL_MEETING_SECONDS": str(command.meeting_seconds),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(command.devices_per_host),
    }


@contextlib.contextmanager
def _host(
    words: Sequence[str], environment: Mapping[str, str], out: Path, host: int
) -> Iterator[subprocess.Popen]:
    """A process, what it says in a file, and shown if it is host 0."""
    folder = out / "hosts"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"host_{host}.log").open("ab") as log:
        process = subprocess.Popen(
            words,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

        def copy() -> None:
            assert process.stdout is not None
            while chunk := process.stdout.read1(65_536):
                log.write(chunk)
                log.flush()
                if host == 0:
                    sys.stdout.buffer.write(chunk)
                    sys.stdout.flush()

        reader = threading.Thread(target=copy, name=f"host {host}", daemon=True)
        reader.start()
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            reader.join()


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


def _free_port() -> int:
    with socket.create_server(("localhost", 0)) as listener:
        return listener.getsockname()[1]

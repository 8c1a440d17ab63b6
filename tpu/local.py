"""Runs a study as several machines of a pod on this one, by the same startup script.

    python -m tpu run cell_model.pretraining --backend local --hosts 2 \\
        --devices-per-host 2 --out runs/two --steps 20

What works here works there: code is packed and unpacked, every machine looks whether it
is fit, meets the others, and starts the study again where it asks for it or was killed.
Flags that are not of the launcher go to the study. What host 0 says is shown; what each
says is in OUT/hosts/. A machine that dies as a whole is started again, as a cloud does.
With --out file:///FOLDER the folder stands for a bucket: machines have disks of their
own, which go with them.
"""

import contextlib
import dataclasses
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from etils import epath

from scmultimodal.data import locks, remote
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.status import Status
from scmultimodal.training import meeting
from scmultimodal.workflows import provenance
from tpu import jobs, source
from tpu.facts import Facts
from tpu.jobs import Job

STARTUP = Path(__file__).with_name("startup.sh")
PROGRAM = jobs.PROGRAM
POD = "local"
LEEWAY = 60.0
"""Seconds, beyond two heartbeats, that machines have to end after the first has."""
_LOOK_EVERY = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A study on several hosts."""

    study: Annotated[str, tyro.conf.Positional]
    """Such as cell_model.pretraining."""
    out: str
    """Run folder, the same for all hosts; file:///… stands for one in a bucket."""
    backend: Literal["local"] = "local"
    """Where the hosts are."""
    hosts: int = 2
    """Machines, as processes."""
    devices_per_host: int = 1
    """CPU devices of each."""
    restarts: int = 3
    """How often a host starts the study again at most, and dies at most."""
    heartbeat_seconds: float = 30.0
    """Silence after which a host counts as dead."""
    meeting_seconds: float = 300.0
    """How long hosts wait for each other at the start."""
    dry_run: bool = False
    """Show what the hosts would run, and start none."""

    def __post_init__(self):
        if remote.is_remote(self.out) and not self.out.startswith("file:///"):
            raise InputError("--out", f"is {self.out}", "Give a folder of this machine")
        for field, least in (("hosts", 1), ("devices_per_host", 1), ("restarts", 0)):
            if (value := getattr(self, field)) < least:
                flag = f"--{field.replace('_', '-')}"
                raise InputError(flag, f"is {value}", f"Give {least} or more")

    @property
    def folder(self) -> Path:
        """Where all is kept on this machine."""
        return Path(self.out.removeprefix("file://")).absolute()

    @property
    def has_own_disks(self) -> bool:
        """Whether machines share nothing but a bucket."""
        return remote.is_remote(self.out)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a machine ended: below 0 it was killed by that signal."""

    host: int
    life: int
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
    """Starts the machines, and again those that die; returns what they end with."""
    out = command.folder
    if command.dry_run:
        words = [
            "python",
            "-m",
            PROGRAM,
            command.study,
            *of_study,
            "--out",
            command.out,
        ]
        for host in range(command.hosts):
            role = {meeting.HOSTS: str(command.hosts), meeting.HOST: str(host)}
            role["JAX_NUM_CPU_DEVICES"] = str(command.devices_per_host)
            shown = " ".join(f"{name}={value}" for name, value in role.items())
            print(f"{shown} {shlex.join(words)}")
        return Status.DONE
    with _alone(out), _asked() as asked:
        return _run(command, of_study, out, asked)


def _run(
    command: Run, of_study: Sequence[str], out: Path, asked: threading.Event
) -> int:
    bucket = epath.Path(out / "pod")
    code, packed = source.pack()
    jobs.push_code(bucket, code, packed)
    job = Job(
        words=(command.study, *of_study),
        out=command.out if command.has_own_disks else str(out),
        code=code,
        revision=provenance.git_revision(),
        restarts=command.restarts,
        heartbeat_seconds=command.heartbeat_seconds,
        meeting_seconds=command.meeting_seconds,
        pause=_LOOK_EVERY,
        every=_LOOK_EVERY,
        program=PROGRAM,
        folder=os.getcwd(),
    )
    jobs.place(bucket, POD, job)
    (out / "pod" / "pod.json").write_text(_facts(command, bucket).as_json())
    coordinator = f"localhost:{meeting.free_port()}"
    machines = [_Machine(command, out, coordinator, k) for k in range(command.hosts)]
    with contextlib.ExitStack() as stack:
        for machine in machines:
            stack.callback(machine.kill)
            machine.start()
        stack.enter_context(_shown(out / "hosts" / "0.log"))
        ended = _follow(command, machines, asked)
    print(_table(ended))
    # Of each host that of its last life.
    return _together({one.host: one.status for one in ended}.values())


def _facts(command: Run, bucket: epath.Path) -> Facts:
    """What the machines are told."""
    return Facts(
        name=POD,
        bucket=os.fspath(bucket),
        hosts=command.hosts,
        hosts_a_slice=command.hosts,
        devices_a_host=command.devices_per_host,
        budget_seconds=10 * 365 * 86_400,
        ends_by="launcher",
    )


class _Machine:
    """A process that starts as a machine of a pod does."""

    def __init__(self, command: Run, out: Path, coordinator: str, host: int):
        self.has_own_disk = command.has_own_disks
        role = meeting.HostsConfig(
            coordinator=coordinator, hosts=command.hosts, host=host
        )
        self.host, self.life, self.asked = host, -1, False
        self.folder = out / "pod" / f"machine_{host}"
        self.environment = {
            **os.environ,
            **role.environment(),
            "SCMULTIMODAL_POD": str(out / "pod" / "pod.json"),
            "SCMULTIMODAL_WORK": str(self.folder),
            "SCMULTIMODAL_PYTHON": sys.executable,
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(command.devices_per_host),
            # gRPC asks a proxy even for this machine.
            "no_grpc_proxy": "localhost",
        }

    def start(self) -> None:
        """Begins a life, in a process group of its own."""
        self.life += 1
        self.began = time.monotonic()
        if self.has_own_disk:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "machine.log").open("ab") as said:
            self.process = subprocess.Popen(
                ["bash", str(STARTUP)],
                env=self.environment,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ended(self) -> Ended | None:
        """How this life ended; None where it goes on."""
        status = self.process.poll()
        if status is None:
            return None
        return Ended(self.host, self.life, status, time.monotonic() - self.began)

    def ask(self) -> None:
        """To end, once, of the worker; the startup script has become it."""
        if self.asked:
            return
        self.asked = True
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """With all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _follow(
    command: Run, machines: Sequence[_Machine], asked: threading.Event
) -> list[Ended]:
    """Until all have ended; what dies as a whole is started again."""
    running, found, deadline = list(machines), [], math.inf
    # Machines notice by themselves when one is gone; this is for one that cannot.
    patience = 2 * command.heartbeat_seconds + LEEWAY
    while running:
        if asked.is_set():
            deadline = min(deadline, time.monotonic() + 2 * patience)
            for machine in running:
                machine.ask()
        for machine in list(running):
            if (end := machine.ended()) is None:
                continue
            found.append(end)
            late = asked.is_set() or time.monotonic() > deadline
            if end.status < 0 and end.life < command.restarts and not late:
                machine.kill()  # What it started may be left.
                machine.start()
                continue
            running.remove(machine)
            deadline = min(deadline, time.monotonic() + patience)
        if time.monotonic() > deadline:
            for machine in running:
                machine.kill()
        time.sleep(_LOOK_EVERY)
    return sorted(found, key=lambda one: (one.host, one.life))


def _together(statuses: Collection[int]) -> int:
    """What several machines ask for: one that gave up would do so again."""
    final = [s for s in statuses if s > 0 and s != Status.RESTART_ME]
    if final:
        return min(final)
    return Status.RESTART_ME if any(statuses) else Status.DONE


@contextlib.contextmanager
def _shown(log: Path) -> Iterator[None]:
    """Within it what is said in a file is shown, as it is said."""
    ended = threading.Event()
    start = log.stat().st_size if log.exists() else 0

    def follow() -> None:
        place = start
        while True:
            last = ended.wait(_LOOK_EVERY)
            if log.exists() and len(content := log.read_bytes()) > place:
                sys.stdout.buffer.write(content[place:])
                sys.stdout.buffer.flush()
                place = len(content)
            if last:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Within it no other launcher takes the same run folder.

    Raises:
        InputError: one has it.
    """
    with locks.held(out / "pod" / "lock", wait=False) as mine:
        if not mine:
            raise InputError(
                out, "is that of a launcher that runs", "wait for it, or end it"
            )
        yield


@contextlib.contextmanager
def _asked() -> Iterator[threading.Event]:
    """Set by SIGTERM, Ctrl-C and a closed terminal: the machines are to end."""
    asked = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: asked.set())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    }
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _table(ended: Sequence[Ended]) -> str:
    lines = [f"{'host':>5} {'life':>5} {'seconds':>8}  ended"]
    lines += [
        f"{one.host:>5} {one.life:>5} {one.seconds:>8.1f}  {one.word}" for one in ended
    ]
    return "\n".join(lines)

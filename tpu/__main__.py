"""`python -m tpu VERB`: takes a study from a laptop to a pod, and back.

    python -m tpu check  --config pod.toml   what is at hand: account, chips, bucket
    python -m tpu up     --config pod.toml   ask for the pod, unless it is there
    python -m tpu wait   --config pod.toml   until it is there; asks again if taken away
    python -m tpu push data/three --config pod.toml   send data to the bucket
    python -m tpu run STUDY --config pod.toml …       what its machines are to run
    python -m tpu status --config pod.toml   pod, job and machines
    python -m tpu logs   --config pod.toml   what a machine says
    python -m tpu stop   --config pod.toml   save and end the study
    python -m tpu down   --config pod.toml   give the pod back
    python -m tpu run STUDY --backend local --hosts 2 --out RUN   on this machine

Every verb is safe to repeat, and shows with --dry-run what it would change. A pod is
described by a TOML file (tpu/pods/), each number of which a flag overrides:
--pod.zone, …
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from scmultimodal.data import remote
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.status import Status
from tpu import backends, jobs, launch, local, pod
from tpu.backends import Backend
from tpu.pod import ABSENT, Pod
from tpu.shell import Shell


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfPod:
    """What a verb for a pod is told."""

    pod: Pod
    """Which."""
    config: Path | None = None
    """TOML file with its numbers."""
    dry_run: bool = False
    """Show what would be changed, and change nothing."""

    @property
    def backend(self) -> Backend:
        """Where the pod comes from."""
        return backends.of(self.pod, Shell(dry=self.dry_run))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Push(OfPod):
    """What `push` is told."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files and folders of this machine."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Logs(OfPod):
    """What `logs` is told."""

    host: int = 0
    """Which machine."""
    follow: bool = False
    """Stay until the job has ended."""


def _up(told: OfPod) -> int:
    if told.dry_run:
        told.backend.up()
        return Status.DONE
    with remote.access(told.pod.bucket, "read"):
        jobs.clear_ended(remote.at(told.pod.bucket), told.pod.name)
    print(f"{told.pod.name}: {told.backend.up()}")
    return Status.DONE


def _wait(told: OfPod) -> int:
    told.backend.wait()
    return Status.DONE


def _push(told: Push) -> int:
    for path in told.paths:
        launch.push(told.pod, path, dry=told.dry_run)
    return Status.DONE


def _status(told: OfPod) -> int:
    """Status 0 where it is there or asked for, else 2."""
    if told.dry_run:
        told.backend.wait()
        print(f"read {told.pod.bucket}/pods/{told.pod.name}/job.json, and OUT/hosts")
        return Status.DONE
    state, one = told.backend.state(), told.pod
    print(
        f"{one.name}: {state}; {one.nodes} × {one.accelerator_type}, "
        f"{one.chips} chips on {one.hosts} hosts, {one.zone}"
    )
    print(launch.describe(one))
    return Status.GIVE_UP if state == ABSENT else Status.DONE


def _logs(told: Logs) -> int:
    if told.dry_run:
        print(f"read OUT/hosts/{told.host}.log of the job of {told.pod.name}")
        return Status.DONE
    return launch.logs(told.pod, host=told.host, follow=told.follow)


def _stop(told: OfPod) -> int:
    return launch.stop(told.pod, dry=told.dry_run)


def _down(told: OfPod) -> int:
    if not told.dry_run:
        try:
            launch.take_back(told.pod)
        except InputError as error:  # The pod costs, whatever the bucket does.
            print(f"tpu: {error}", file=sys.stderr)
    told.backend.down()
    return Status.DONE


def _check(told: OfPod) -> int:
    """Status 2 where something is not at hand."""
    found = told.backend.check()
    width = max(len(what) for what, _, _ in found)
    for what, _, how in found:
        print(f"{what:<{width}}  {how}")
    return Status.DONE if all(there for _, there, _ in found) else Status.GIVE_UP


OF_POD: dict[str, tuple[type[OfPod], Callable[[Any], int]]] = {
    "check": (OfPod, _check),
    "up": (OfPod, _up),
    "wait": (OfPod, _wait),
    "push": (Push, _push),
    "status": (OfPod, _status),
    "logs": (Logs, _logs),
    "stop": (OfPod, _stop),
    "down": (OfPod, _down),
}
VERBS = (*OF_POD, "run")


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line and does what the verb says; returns a `Status`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    verb = arguments[0] if arguments else ""
    if verb not in VERBS:
        print(f"{__doc__}\nVerbs: {', '.join(VERBS)}", file=sys.stderr)
        return Status.DONE if verb in ("-h", "--help") else Status.GIVE_UP
    try:
        return _run(arguments[1:]) if verb == "run" else _of_pod(verb, arguments[1:])
    except InputError as error:
        print(f"tpu: {error}", file=sys.stderr)
        return Status.GIVE_UP


def _run(arguments: Sequence[str]) -> int:
    where = local if _after("--backend", arguments) == "local" else launch
    command, of_study = tyro.cli(
        where.Run,
        args=[*_of_file(arguments), *arguments],
        return_unknown_args=True,
        description=where.__doc__,
        prog="python -m tpu run",
    )
    if isinstance(command, local.Run):
        return local.run(command, of_study)
    backend = backends.of(command.pod, Shell(dry=command.dry_run))
    return launch.run(command, of_study, backend)


def _of_pod(verb: str, arguments: Sequence[str]) -> int:
    kind, do = OF_POD[verb]
    return do(
        tyro.cli(
            kind,
            args=[*_of_file(arguments), *arguments],
            description=__doc__,
            prog=f"python -m tpu {verb}",
        )
    )


def _of_file(arguments: Sequence[str]) -> list[str]:
    """The numbers of the file that --config names, as flags: later ones win."""
    flags: list[str] = []
    for name, value in _named(arguments).items():
        flag = f"--pod.{name.replace('_', '-')}"
        match value:
            case bool():
                flags.append(flag if value else flag.replace("pod.", "pod.no-"))
            case dict():
                flags += [flag, *(str(word) for pair in value.items() for word in pair)]
            case _:
                flags += [flag, str(value)]
    return flags


def _named(arguments: Sequence[str]) -> dict[str, Any]:
    path = _after("--config", arguments)
    return pod.read(Path(path)) if path else {}


def _after(flag: str, arguments: Sequence[str]) -> str:
    """The value of a flag; empty where it is not given."""
    for word, after in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == flag:
            return after
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=")
    return ""


if __name__ == "__main__":
    sys.exit(main())

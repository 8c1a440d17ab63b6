"""`python -m tpu VERB`: takes a study from a laptop to a pod, and back.

    python -m tpu check  --config pod.toml   what is at hand: account, chips, bucket
    python -m tpu up     --config pod.toml   ask for the pod, unless it is there
    python -m tpu wait   --config pod.toml   until it is there; asks again if taken away
    python -m tpu status --config pod.toml   how it is
    python -m tpu down   --config pod.toml   delete it
    python -m tpu run STUDY --backend local --hosts 2 --out RUN   on this machine

Every verb is safe to repeat, and shows its commands with --dry-run. A pod is described
by a TOML file (tpu/pods/), each number of which a flag overrides: --pod.zone, …
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tyro

from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.status import Status
from tpu import backends, local, pod
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
    """Show the commands that change something, and run none."""


def _up(pod: Backend) -> int:
    print(f"{pod.pod.name}: {pod.up()}")
    return Status.DONE


def _wait(pod: Backend) -> int:
    pod.wait()
    return Status.DONE


def _status(pod: Backend) -> int:
    """Status 0 where it is there or asked for, else 2."""
    state = pod.state()
    one = pod.pod
    print(
        f"{one.name}: {state}; {one.nodes} × {one.accelerator_type}, "
        f"{one.chips} chips on {one.hosts} hosts, {one.zone}"
    )
    return Status.GIVE_UP if state == ABSENT else Status.DONE


def _down(pod: Backend) -> int:
    pod.down()
    return Status.DONE


def _check(pod: Backend) -> int:
    """Status 2 where something is not at hand."""
    found = pod.check()
    width = max(len(what) for what, _, _ in found)
    for what, _, how in found:
        print(f"{what:<{width}}  {how}")
    return Status.DONE if all(there for _, there, _ in found) else Status.GIVE_UP


OF_POD: dict[str, Callable[[Backend], int]] = {
    "check": _check,
    "up": _up,
    "wait": _wait,
    "status": _status,
    "down": _down,
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
    command, of_study = tyro.cli(
        local.Run,
        args=arguments,
        return_unknown_args=True,
        description=local.__doc__,
        prog="python -m tpu run",
    )
    return local.run(command, of_study)


def _of_pod(verb: str, arguments: Sequence[str]) -> int:
    command = tyro.cli(
        OfPod,
        args=[*_of_file(arguments), *arguments],
        description=__doc__,
        prog=f"python -m tpu {verb}",
    )
    return OF_POD[verb](backends.of(command.pod, Shell(dry=command.dry_run)))


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
    for before, after in zip(arguments, [*arguments[1:], ""], strict=True):
        if before == "--config":
            return pod.read(Path(after))
        if before.startswith("--config="):
            return pod.read(Path(before.removeprefix("--config=")))
    return {}


if __name__ == "__main__":
    sys.exit(main())

"""Commands of others: run with bounded patience, or shown.

What may pass is tried again, a few times and ever later, with some chance in it, so
that many who wait do not come back at once. What cannot pass is said at once.
"""

import dataclasses
import random
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from scmultimodal.schemas.errors import InputError

ATTEMPTS = 5
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
"""Seconds."""
LONGEST = 600.0
"""Seconds that a command may take."""

Found = tuple[str, bool, str]
"""What, whether it is at hand, words for people."""
T = TypeVar("T")

_PASSING = re.compile(
    r"UNAVAILABLE|DEADLINE_EXCEEDED|\bINTERNAL\b|ABORTED|\b50[0234]\b|\b429\b"
    r"|[Rr]ate limit|timed out|[Cc]onnection (reset|refused|closed)|Broken pipe"
    r"|[Tt]emporar(y|ily)|[Tt]ry again|EOF occurred"
    r"|Unable to connect to the server|server .* was refused|(i/o|handshake) timeout"
)
_LASTING = re.compile(r"quota|Quota|PERMISSION_DENIED|INVALID_ARGUMENT|unrecognized")
"""Even where what passes is spoken of."""
_REMEDIES = (
    (r"RESOURCE_EXHAUSTED|quota", "ask for more quota, or for fewer chips"),
    (r"Unable to connect to the server|server .* was refused|context .*does not exist",
     "look whether the cluster is there; `gcloud container clusters get-credentials "
     "CLUSTER` makes it known, `kubectl config get-contexts` tells what is known"),
    (r"resource type|no matches for kind",
     "install JobSet on the cluster: tpu/README.md, On GKE"),
    (r"namespaces? .*not found", "make it: `kubectl create namespace NAME`"),
    (r"is forbidden|\(Forbidden\)",
     "let the account use the cluster (roles/container.developer)"),
    (r"PERMISSION_DENIED|\b403\b|does not have permission",
     "let the account use TPUs and the bucket (roles/tpu.admin, roles/storage.admin)"),
    (r"gke-gcloud-auth-plugin",
     "run `gcloud components install gke-gcloud-auth-plugin`"),
    (r"UNAUTHENTICATED|Unauthorized|\b401\b|reauth|not.{0,40}active account",
     "run `gcloud auth login`"),
    (r"SERVICE_DISABLED|has not been used in project",
     "run `gcloud services enable tpu.googleapis.com`"),
    (r"INVALID_ARGUMENT|unrecognized arguments|Invalid choice|invalid value",
     "mend what is named; `python -m tpu check` tells what the zone has"),
    (r"NOT_FOUND|\b404\b|not found", "check its name, project and zone"),
)  # fmt: skip


class CommandError(InputError):
    """A command failed, for good or too often.

    Attributes:
        said: what it wrote to its standard error.
        may_pass: whether it may do better later.
    """

    def __init__(self, words: Sequence[str], problem: str, said: str):
        self.said, self.may_pass = said, _may_pass(said)
        found = (r for p, r in _REMEDIES if re.search(p, said, re.IGNORECASE))
        super().__init__(
            shlex.join(words),
            f"{problem}: {_last(said)}",
            next(found, "look at what it says"),
        )

    @property
    def is_missing(self) -> bool:
        """Whether what it was asked about is not there."""
        return bool(re.search(r"NOT_FOUND|\b404\b|not found", self.said))


@dataclasses.dataclass(frozen=True)
class Shell:
    """Runs commands.

    Attributes:
        dry: shows what changes something, quoted for a shell, and does not run it.
    """

    dry: bool = False

    def ask(self, words: Sequence[str]) -> str:
        """What a command that changes nothing says.

        Raises:
            CommandError: it fails.
        """
        return _patiently(words)

    def do(self, words: Sequence[str]) -> None:
        """Runs a command that changes something.

        Raises:
            CommandError: it fails.
        """
        if self.dry:
            print(shlex.join(words))
        else:
            _patiently(words)

    def at_hand(self, questions: Mapping[str, Sequence[str]]) -> list[Found]:
        """What each command says: nothing, or a failure, where it is not there."""
        if self.dry:
            return [
                (what, True, shlex.join(words)) for what, words in questions.items()
            ]
        found = []
        for what, words in questions.items():
            try:
                said = self.ask(words).strip()
                found.append((what, bool(said), (said or "NO").splitlines()[0]))
            except InputError as error:
                found.append((what, False, f"NO: {error}"))
        return found


def outlasting(ask: Callable[[], T], deadline: float, every: float) -> T:
    """What `ask` returns; again until then where what it asks is out of reach.

    Args:
        ask: raises CommandError where it fails.
        deadline: by the monotonic clock.
        every: seconds between attempts.
    """
    while True:
        try:
            return ask()
        except CommandError as error:
            if not error.may_pass or time.monotonic() > deadline:
                raise
            print(f"tpu: {error}", file=sys.stderr)
            time.sleep(every)


def pauses(attempts: int = ATTEMPTS) -> list[float]:
    """Seconds before each further attempt: up to twice the one before, at random."""
    longest = [min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) for n in range(attempts - 1)]
    return [random.uniform(0.5, 1) * seconds for seconds in longest]


def _patiently(words: Sequence[str]) -> str:
    for pause in (*pauses(), None):
        status, out, said = _run(words)
        if not status:
            return out
        if pause is None or not _may_pass(said):
            break
        print(f"tpu: {_last(said)}; again in {pause:.0f} s", file=sys.stderr)
        time.sleep(pause)
    problem = f"ended with {status}" if status > 0 else "did not end"
    if pause is None:
        problem += f" {ATTEMPTS} times"
    raise CommandError(words, problem, said)


def _run(words: Sequence[str]) -> tuple[int, str, str]:
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=LONGEST,
            check=False,
        )
    except FileNotFoundError as error:
        raise InputError(
            words[0], "is not installed, or not on PATH", "install Google Cloud's SDK"
        ) from error
    except subprocess.TimeoutExpired:
        return -1, "", f"timed out after {LONGEST:.0f} s"
    return done.returncode, done.stdout, done.stderr


def _may_pass(said: str) -> bool:
    return bool(_PASSING.search(said)) and not _LASTING.search(said)


def _last(said: str) -> str:
    """The line that says most: the last that is an error, else the last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line]
    return (errors or lines or ["it said nothing"])[-1]

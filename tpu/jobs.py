"""A job: which study, with which code, and where the machines of a pod find it.

BUCKET/code/SHA256.tar.gz        our code
BUCKET/pods/NAME/job.json        what the machines of a pod run
BUCKET/pods/NAME/stop            asks them to end it
OUT/                             the run folder
OUT/hosts/K.json                 how machine K is
OUT/hosts/K.log                  what it says
OUT/hosts/ended.json             there is nothing left to do
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from scmultimodal.data import remote

PROGRAM = "experiments.train"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What the machines of a pod run.

    Attributes:
        words: the study and its flags, without --out.
        out: run folder, the same for all machines; an address of a bucket where these
            have disks of their own.
        code: sha256 of the packed code.
        revision: of the code, for people.
        restarts: how often a machine starts the study again without a new checkpoint.
        heartbeat_seconds: see `training.meeting.HostsConfig`.
        meeting_seconds: see there.
        pause: seconds before the study is started again.
        every: seconds between looks at the bucket.
        program: module that runs studies.
        folder: that relative paths among the words start from; None takes that of the
            code.
    """

    words: tuple[str, ...]
    out: str
    code: str
    revision: str | None
    restarts: int = 8
    heartbeat_seconds: float = 30.0
    meeting_seconds: float = 300.0
    pause: float = 20.0
    every: float = 10.0
    program: str = PROGRAM
    folder: str | None = None

    @property
    def id(self) -> str:
        """Named by study, flags and run folder: the same job again goes on."""
        whole = json.dumps([self.words, self.out])
        study = self.words[0].rpartition(".")[2].replace("_", "-")
        return f"{study}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"

    def as_json(self) -> dict[str, Any]:
        """As the machines read it."""
        return {"id": self.id, **dataclasses.asdict(self)}


def push_code(bucket: epath.Path, code: str, content: bytes) -> None:
    """Sends packed code to the bucket, unless it is there; see `source.pack`."""
    target = bucket / "code" / f"{code}.tar.gz"
    if not target.exists() or target.stat().length != len(content):
        remote.write(target, content)


def place(bucket: epath.Path, pod: str, job: Job) -> None:
    """Puts a job where the machines of a pod look for it.

    A stop is taken back, and what machines said of the same run folder before.
    """
    said = said_of(job.out)
    if said.exists():
        for path in said.iterdir():
            if path.suffix == ".json":
                path.unlink(missing_ok=True)
    write_json(path_of(bucket, pod), job.as_json())
    # Machines that wait for that must not see the job before.
    stop_of(bucket, pod).unlink(missing_ok=True)


def current(bucket: epath.Path, pod: str) -> dict[str, Any] | None:
    """The job of a pod; None where it has none."""
    return read_json(path_of(bucket, pod))


def ended(job: Mapping[str, Any]) -> dict[str, Any] | None:
    """How a job ended for good with its code: host, status, why; None if it has not."""
    found = read_json(said_of(job["out"]) / "ended.json")
    same = found and all(found[name] == job[name] for name in ("id", "code"))
    return found if same else None


def clear_ended(bucket: epath.Path, pod: str) -> None:
    """Removes the job of a pod where it has ended: new machines are for another."""
    job = current(bucket, pod)
    if job is not None and ended(job) is not None:
        path_of(bucket, pod).unlink(missing_ok=True)


def progress(out: str) -> int:
    """How far a run is: the newest steps of all its trainings, added up."""
    newest: dict[str, int] = {}
    for pattern in ("checkpoints/*/manifest.json", "*/checkpoints/*/manifest.json"):
        for path in remote.at(out).glob(pattern):
            step, training = path.parent.name, str(path.parent.parent)
            if step.isdecimal():
                newest[training] = max(newest.get(training, 0), int(step))
    return sum(newest.values())


def path_of(bucket: epath.Path, pod: str) -> epath.Path:
    """The file that says what the machines of a pod run."""
    return bucket / "pods" / pod / "job.json"


def stop_of(bucket: epath.Path, pod: str) -> epath.Path:
    """The file that asks the machines of a pod to end their job."""
    return bucket / "pods" / pod / "stop"


def said_of(out: str) -> epath.Path:
    """Where the machines say how they are."""
    return remote.at(out) / "hosts"


def read_json(path: epath.Path) -> dict[str, Any] | None:
    """None where there is no file."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def write_json(path: epath.Path, content: Mapping[str, Any]) -> None:
    """Whole, or not at all."""
    remote.write(path, (json.dumps(content, indent=1) + "\n").encode())

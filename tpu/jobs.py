"""A job: which study, with which code, and where the machines of a pod find it."""

import dataclasses
import hashlib
import json
from typing import Any

from etils import epath

from tpu import source

PROGRAM = "experiments.train"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What the machines of a pod run.

    Attributes:
        words: the study and its flags, without --out.
        out: run folder, the same for all machines.
        code: sha256 of the packed code.
        revision: of the code, for people.
        restarts: how often a machine starts the study again at most.
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


def push_code(bucket: epath.Path) -> str:
    """Packs the code into the bucket, unless it is there; returns its sha256."""
    code, content = source.pack()
    target = bucket / "code" / f"{code}.tar.gz"
    if not target.exists():
        write(target, content)
    return code


def place(bucket: epath.Path, pod: str, job: Job) -> None:
    """Puts a job where the machines of a pod look for it.

    A stop is taken back, and what was said when the same run folder was done before.
    """
    (bucket / "pods" / pod / "stop").unlink(missing_ok=True)
    (epath.Path(job.out) / "hosts" / "ended.json").unlink(missing_ok=True)
    content = json.dumps(job.as_json(), indent=1) + "\n"
    write(bucket / "pods" / pod / "job.json", content.encode())


def write(path: epath.Path, content: bytes) -> None:
    """Whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".{path.name}.part"
    part.write_bytes(content)
    part.replace(path)

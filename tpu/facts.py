"""What the machines of a pod are told of it: pod.json.

`startup.sh` reads single facts of it, the worker all.
"""

import dataclasses
import json
from pathlib import Path
from typing import Literal

from tpu.pod import Pod

EndsBy = Literal["deletion", "exit", "launcher"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """A pod, for its machines.

    Attributes:
        name: of the pod.
        bucket: with the job, the code and the runs.
        hosts: machines of all slices.
        hosts_a_slice: machines of one.
        devices_a_host: that jax sees on each.
        budget_seconds: after which it ends, whatever it does.
        ends_by: "deletion": host 0 deletes the pod when all is done, and any machine
            that fails for good or whose budget is over; "exit": machines just exit,
            and what started them acts by their status; "launcher": likewise, also when
            the process that started them is gone.
        gathering_seconds: between the first machine and the last, at most; 0 where they
            come together.
        project: that pays; empty without a cloud.
        zone: where it is; empty without a cloud.
    """

    name: str
    bucket: str
    hosts: int
    hosts_a_slice: int
    devices_a_host: int
    budget_seconds: int
    ends_by: EndsBy
    gathering_seconds: float = 0.0
    project: str = ""
    zone: str = ""

    def as_json(self) -> str:
        """As `read` and the startup script read it."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def of(pod: Pod, ends_by: EndsBy, gathering_seconds: float = 0.0) -> Facts:
    """What the machines of a pod must know of it."""
    return Facts(
        name=pod.name,
        bucket=pod.bucket,
        hosts=pod.hosts,
        hosts_a_slice=pod.hosts_a_slice,
        devices_a_host=pod.devices_a_host,
        budget_seconds=round(3_600 * pod.budget_hours),
        ends_by=ends_by,
        gathering_seconds=gathering_seconds,
        project=pod.project,
        zone=pod.zone,
    )


def read(path: Path) -> Facts:
    """What `Facts.as_json` has written."""
    return Facts(**json.loads(path.read_text()))

"""A machine of a pod: what it knows, and what it says."""

import dataclasses
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath

from scmultimodal.data import remote
from scmultimodal.training import meeting
from tpu import jobs
from tpu.facts import Facts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine of a pod, and its job.

    Attributes:
        facts: of the pod.
        job: what to run; see `jobs.Job`.
        role: among the machines.
        work: its own folder.
        deadline: seconds since 1970 at which the hours of the budget are over.
        launcher: process without which it is to end; None on a pod.
        asked: set when this process is asked to end (SIGTERM).
    """

    facts: Facts
    job: Mapping[str, Any]
    role: meeting.HostsConfig
    work: Path
    deadline: float = math.inf
    launcher: int | None = None
    asked: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def said(self) -> epath.Path:
        """Where the machines say how they are."""
        return jobs.said_of(self.job["out"])

    def say(self, **words: Any) -> None:
        """How it is, for whoever looks; nothing depends on it."""
        known = {
            "host": self.role.host,
            "job": self.job["id"],
            "name": socket.gethostname(),
            "code": self.job["code"],
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        try:
            jobs.write_json(self.said / f"{self.role.host}.json", known | words)
        except Exception as error:  # each kind of bucket raises its own
            print(f"worker: the bucket: {error}", file=sys.stderr, flush=True)

    def is_asked_to_stop(self) -> bool:
        """Whether somebody says stop, or the launcher has gone."""
        if self.launcher is not None and os.getppid() != self.launcher:
            self.asked.set()
        return self.asked.is_set() or self.is_stopped()

    def is_stopped(self) -> bool:
        """Whether somebody said stop to all machines."""
        bucket = remote.at(self.facts.bucket)
        return jobs.stop_of(bucket, self.facts.name).exists()

    def is_over_budget(self) -> bool:
        """Whether the hours are over."""
        return time.time() > self.deadline

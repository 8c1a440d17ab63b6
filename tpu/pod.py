"""What a pod is: where, which chips, how many, for how long, on whose bill.

Read from a TOML file, each number of which a flag overrides:

    project = "my-project"
    zone = "us-central2-b"
    accelerator_type = "v4-32"
    bucket = "gs://my-bucket/scmultimodal"
    budget_hours = 12
"""

import dataclasses
import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from scmultimodal.schemas.errors import InputError
from tpu.chips import CHIPS_A_HOST, GENERATIONS, Generation

BackendName = Literal["queued-resources", "jobset"]
ABSENT = "not there"
"""State of a pod that nobody asked for, or that was given back."""


_NAME = re.compile(r"[a-z]([-a-z0-9]{0,47}[a-z0-9])?")
_LABEL = re.compile(r"[a-z][-_a-z0-9]{0,62}")
_VALUE = re.compile(r"[-_a-z0-9]{0,63}")
_OF_KUBERNETES = re.compile(r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?)?")
_SHAPE = re.compile(r"[1-9]\d*(x[1-9]\d*){1,2}")
IMAGE = "google/cloud-sdk:528.0.0-slim"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pod:
    """One or more slices of a TPU, asked for together."""

    name: str
    """Of the queued resource and its nodes, or of the JobSet."""
    project: str
    """That pays."""
    zone: str
    """Such as us-central2-b; the bucket should be in its region."""
    accelerator_type: str
    """Such as v4-32, v5litepod-16, v5p-8, v6e-64, tpu7x-128."""
    bucket: str
    """gs://… that holds code, data and runs."""
    backend: BackendName = "queued-resources"
    """What it is asked of; jobset: a cluster of GKE that has node pools for it."""
    context: str | None = None
    """jobset: the cluster, as kubectl names it, such as gke_PROJECT_REGION_CLUSTER."""
    namespace: str = "default"
    """jobset: in the cluster."""
    image: str = IMAGE
    """jobset: with bash, curl, python3 and its pip, flock, and gcloud."""
    topology: str | None = None
    """jobset: such as 16x16x24; by default the most compact of so many chips."""
    runtime_version: str | None = None
    """Software of the machines; by default what the chips ask for."""
    nodes: int = 1
    """Slices; several are connected by the data centre's network alone."""
    spot: bool = False
    """Cheaper, and taken away at any time."""
    reserved: bool = False
    """From the project's reservation."""
    service_account: str | None = None
    """The machines act as; it must be allowed to write to the bucket and, to end
    themselves, to delete TPUs. jobset: one of Kubernetes, of the namespace."""
    internal_ips: bool = False
    """No public addresses; packages must then come through Cloud NAT."""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """For the bill."""
    queue_hours: float = 24.0
    """How long to queue for chips at most."""
    budget_hours: float = 24.0
    """After so long of being there the pod deletes itself, whatever it does; one that
    was taken away and comes again has as long."""
    recreate: int = 8
    """How often to ask again for a pod that was taken away or failed."""

    def __post_init__(self):
        self._check(_NAME.fullmatch(self.name), "name", "Give a-z, 0-9 and -, up to 49")
        self._check(
            not (self.spot and self.reserved), "spot", "Give spot or reserved, not both"
        )
        for field in ("nodes", "queue_hours", "budget_hours"):
            self._check(getattr(self, field) > 0, field, "Give more than 0")
        self._check(self.recreate >= 0, "recreate", "Give 0 or more")
        self._check(
            "://" in self.bucket or Path(self.bucket).is_absolute(),
            "bucket",
            "Give gs://BUCKET/FOLDER",
        )
        for name, value in self.labels.items():
            self._check(
                _LABEL.fullmatch(name) and _VALUE.fullmatch(value),
                "labels",
                "Give names and values of a-z, 0-9, - and _, up to 63",
            )
        if not 1 <= self.chips_a_slice <= 12_288:
            raise self._unlike_any()
        if self.backend == "jobset":
            self._check_jobset()
        else:
            self._check(
                self.runtime,
                "backend",
                f"Give jobset: no queued resources for {self.accelerator_type}",
            )

    def _check_jobset(self) -> None:
        """What GKE, JobSet and Kubernetes ask for beyond."""
        self._check(
            self.context, "context", "Give one of `kubectl config get-contexts`"
        )
        for field in ("runtime_version", "reserved", "internal_ips"):
            self._check(
                not getattr(self, field), field, "Leave it to the node pool of GKE"
            )
        self._check(
            self.nodes == 1 or self.hosts_a_slice > 1,
            "nodes",
            "Give 1, or larger slices: GKE connects slices of several hosts alone",
        )
        longest = f"{self.name}-slice-{self.nodes - 1}-{self.hosts_a_slice - 1}-abcde"
        self._check(
            len(longest) <= 63, "name", f"Take {len(longest) - 63} characters off"
        )
        for word in (*self.labels, *self.labels.values()):
            self._check(
                _OF_KUBERNETES.fullmatch(word), "labels", "End words in a-z or 0-9"
            )
        sides = self.shape.split("x")
        self._check(
            _SHAPE.fullmatch(self.shape)
            and len(sides) == self.generation.sides
            and math.prod(map(int, sides)) == self.chips_a_slice,
            "topology",
            f"Give {self.generation.sides} sides, of {self.chips_a_slice} chips in all",
        )

    @property
    def generation(self) -> Generation:
        """Of its chips."""
        for one in GENERATIONS:
            if self.accelerator_type.startswith(one.prefix):
                return one
        raise self._unlike_any()

    @property
    def chips_a_slice(self) -> int:
        """Of one slice."""
        one = self.generation
        number = self.accelerator_type.removeprefix(one.prefix)
        if not number.isdecimal() or int(number) % one.per_chip:
            raise self._unlike_any()
        return int(number) // one.per_chip

    @property
    def hosts_a_slice(self) -> int:
        """Machines."""
        chips = self.chips_a_slice
        return 1 if chips <= self.generation.alone else -(-chips // CHIPS_A_HOST)

    @property
    def hosts(self) -> int:
        """Machines of all slices."""
        return self.nodes * self.hosts_a_slice

    @property
    def chips(self) -> int:
        """Of all slices."""
        return self.nodes * self.chips_a_slice

    @property
    def devices_a_host(self) -> int:
        """That jax sees on each."""
        return self.generation.devices * self.chips // self.hosts

    @property
    def shape(self) -> str:
        """Topology of a slice as GKE names it; empty where it must be given."""
        return self.topology or self.generation.topology(self.chips_a_slice)

    @property
    def runtime(self) -> str:
        """Software of the machines."""
        return self.runtime_version or self.generation.runtime

    def _check(self, fine: Any, field: str, remedy: str) -> None:
        if not fine:
            flag = f"--pod.{field.replace('_', '-')}"
            raise InputError(flag, f"is {getattr(self, field)!r}", remedy)

    def _unlike_any(self) -> InputError:
        known = ", ".join(f"{one.prefix}N" for one in GENERATIONS)
        return InputError(
            "--pod.accelerator-type",
            f"is {self.accelerator_type!r}",
            f"Give one of {known}; N counts cores of v4 and v5p, chips of the others",
        )


def read(path: Path) -> dict[str, Any]:
    """The numbers that a file gives.

    Raises:
        InputError: it cannot be read, or names what a pod does not have.
    """
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(
            path, f"cannot be read ({error.strerror})", "Name the file of a pod"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(path, f"is no TOML ({error})", "Mend it") from error
    known = {field.name for field in dataclasses.fields(Pod)}
    for name in found:
        if name not in known:
            raise InputError(
                path, f"names {name!r}", f"Name some of {', '.join(sorted(known))}"
            )
    return found

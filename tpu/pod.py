"""What a pod is: where, which chips, how many, for how long, on whose bill.

Read from a TOML file, each number of which a flag overrides:

    project = "my-project"
    zone = "us-central2-b"
    accelerator_type = "v4-32"
    bucket = "gs://my-bucket/scmultimodal"
    budget_hours = 12
"""

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from scmultimodal.schemas.errors import InputError

BackendName = Literal["queued-resources"]
ABSENT = "not there"
"""State of a pod that nobody asked for, or that was given back."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generation:
    """A generation of chips.

    Attributes:
        prefix: how names of its accelerator types begin.
        per_chip: what the number in such a name counts for each chip: TensorCores up
            to v5p, chips since.
        alone: chips of the largest type that is a single host; larger ones have 4 a
            host.
        runtime: software of its virtual machines.
        gke: its name as a node label of GKE.
        memory: of a chip, in GiB.
    """

    prefix: str
    per_chip: int
    alone: int
    runtime: str
    gke: str
    memory: int


GENERATIONS = (
    Generation(
        prefix="v4-", per_chip=2, alone=4, memory=32,
        runtime="tpu-ubuntu2204-base", gke="tpu-v4-podslice",
    ),
    Generation(
        prefix="v5litepod-", per_chip=1, alone=8, memory=16,
        runtime="v2-alpha-tpuv5-lite", gke="tpu-v5-lite-podslice",
    ),
    Generation(
        prefix="v5p-", per_chip=2, alone=4, memory=95,
        runtime="v2-alpha-tpuv5", gke="tpu-v5p-slice",
    ),
    Generation(
        prefix="v6e-", per_chip=1, alone=8, memory=32,
        runtime="v2-alpha-tpuv6e", gke="tpu-v6e-slice",
    ),
)  # fmt: skip
"""Those that queued resources serve. Source: Google Cloud's pages of each."""

CHIPS_A_HOST = 4
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,47}[a-z0-9])?")
_LABEL = re.compile(r"[a-z][-_a-z0-9]{0,62}")
_VALUE = re.compile(r"[-_a-z0-9]{0,63}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pod:
    """One or more slices of a TPU, asked for together."""

    name: str
    """Of the queued resource and its nodes."""
    project: str
    """That pays."""
    zone: str
    """Such as us-central2-b; the bucket should be in its region."""
    accelerator_type: str
    """Such as v4-32, v5litepod-16, v5p-8, v6e-64."""
    bucket: str
    """gs://… that holds code, data and runs."""
    backend: BackendName = "queued-resources"
    """What it is asked of."""
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
    themselves, to delete TPUs."""
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

    @property
    def generation(self) -> Generation:
        """Of its chips."""
        for one in GENERATIONS:
            if self.accelerator_type.startswith(one.prefix):
                return one
        raise self._unlike_any()

    @property
    def chips_a_slice(self) -> int:
        """Chips, each of which jax sees as a device."""
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

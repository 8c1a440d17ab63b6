"""Which of the machines of a pod this one is."""

import os
import urllib.request
from collections.abc import Mapping

from scmultimodal.schemas.errors import InputError
from scmultimodal.training import meeting
from tpu.facts import Facts

PORT = 8_476
"""At which host 0 listens."""
METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/"
FIRST = "SCMULTIMODAL_FIRST_HOST"
"""Name of host 0, where Kubernetes starts the machines."""
SLICE = "SCMULTIMODAL_SLICE"
"""Number of the slice, there."""
INDEX = "JOB_COMPLETION_INDEX"
"""Number of the machine in its slice: Kubernetes sets it in indexed Jobs."""


def of(
    facts: Facts, environment: Mapping[str, str] = os.environ
) -> meeting.HostsConfig:
    """By the environment where it names one, else by Google Cloud's metadata.

    Raises:
        InputError: the environment names a part of a role.
    """
    if (role := meeting.from_environment(environment)) is not None:
        return role
    if FIRST in environment:
        first, number = environment[FIRST], _in_jobset(facts, environment)
    else:
        first, number = _by_metadata(facts)
    return meeting.HostsConfig(
        coordinator=f"{first}:{PORT}", hosts=facts.hosts, host=number
    )


def _in_jobset(facts: Facts, environment: Mapping[str, str]) -> int:
    numbers = {name: environment.get(name, "") for name in (SLICE, INDEX)}
    for name, value in numbers.items():
        if not value.isdecimal():
            raise InputError(
                name, f"is {value!r}, and {FIRST} is set", "Give a number from 0"
            )
    return int(numbers[SLICE]) * facts.hosts_a_slice + int(numbers[INDEX])


def _by_metadata(facts: Facts) -> tuple[str, int]:
    number = int(_metadata("agent-worker-number"))
    address = _metadata("worker-network-endpoints").split(",")[0].split(":")[2]
    slices = dict(
        line.replace("'", "").split(": ", 1)
        for line in _metadata("tpu-env").splitlines()
        if line.startswith("MEGASCALE_")
    )
    number += int(slices.get("MEGASCALE_SLICE_ID", 0)) * facts.hosts_a_slice
    return slices.get("MEGASCALE_COORDINATOR_ADDRESS", address).split(":")[0], number


def _metadata(name: str) -> str:
    request = urllib.request.Request(
        METADATA + name, headers={"Metadata-Flavor": "Google"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()

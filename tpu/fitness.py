"""Whether a machine of a pod can run a study now."""

import os
import socket
from pathlib import Path

from scmultimodal.data import remote
from scmultimodal.schemas.errors import InputError, PassingError
from tpu import queued_resources
from tpu.machine import Machine
from tpu.shell import Shell

_CHIPS = ("/dev/accel", "/dev/vfio/")


class UnfitError(Exception):
    """This machine cannot run the study now."""


def check(machine: Machine) -> None:
    """Whether this machine is fit.

    Raises:
        UnfitError: the bucket is away, chips are missing, or another process has them.
        InputError: it has other code than the job, or may not write to the bucket.
    """
    here, wanted = Path.cwd().name, machine.job["code"]
    if here != wanted:
        raise InputError(
            f"host {machine.role.host} ({socket.gethostname()})",
            f"has code {here[:12]}, and the job asks for {wanted[:12]}",
            "stop the pod, and run again",
        )
    _write_to_bucket(machine)
    if "JAX_PLATFORMS" in os.environ:
        return
    wanted, seen = machine.facts.devices_a_host, len(_chips())
    if seen != wanted:
        raise UnfitError(f"{seen} chips are seen, {wanted} expected")
    if holder := _holder():
        raise UnfitError(f"process {holder[0]} ({holder[1]}) holds the chips")


def warning(machine: Machine) -> str:
    """Why a pod that is to delete itself may not be able to; empty where it may."""
    of = machine.facts
    if of.ends_by != "deletion" or machine.role.host:
        return ""
    try:
        Shell().ask(queued_resources.about("describe", of.name, of.project, of.zone))
    except InputError as error:
        return f"this pod may not be able to delete itself: {error}"
    return ""


def _write_to_bucket(machine: Machine) -> None:
    probe = machine.said / f"{machine.role.host}.probe"
    try:
        with remote.access(probe, "written"):
            remote.write(probe, b"x")
            probe.unlink()
    except PassingError as error:
        raise UnfitError(str(error)) from error
    except InputError as error:
        raise InputError(
            error.source,
            error.problem,
            "let the service account write to the bucket (roles/storage.objectAdmin)",
        ) from error


def _chips() -> list[str]:
    """Device files of the chips: asking libtpu would wait for the other machines."""
    files = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]
    return sorted(map(str, files))


def _holder() -> tuple[int, str] | None:
    """A process that has a chip open: libtpu would say "already in use"."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = os.readlink(link)
            if target.startswith(_CHIPS) and target != "/dev/vfio/vfio":
                pid = int(link.parts[2])
                return pid, (link.parents[1] / "comm").read_text().strip()
        except OSError:
            continue
    return None

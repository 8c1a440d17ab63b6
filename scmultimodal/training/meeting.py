"""How the hosts of a training meet: who they are, what they run, whether all is well.

Host 0 listens at the coordinator's address. The others connect and say who they are and
what they run; host 0 compares, and answers with the address of jax's own coordination
service or with what is wrong. Hence a host that does not come, or runs something else,
is named, where jax alone would abort the process without an exception.
"""

import contextlib
import dataclasses
import os
import socket
import time
from collections.abc import Mapping

from scmultimodal.schemas.errors import InputError, PassingError
from scmultimodal.training.connection import Connection

GRACE = 5.0
"""Seconds that hosts still have to come once something is known to be wrong, and that
one who knocks has to say who it is."""

COORDINATOR = "SCMULTIMODAL_COORDINATOR"
HOSTS = "SCMULTIMODAL_HOSTS"
HOST = "SCMULTIMODAL_HOST"
MEETING = "SCMULTIMODAL_MEETING_SECONDS"
HEARTBEAT = "SCMULTIMODAL_HEARTBEAT_SECONDS"


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostsConfig:
    """The role of a process.

    Attributes:
        coordinator: "name:port" at which host 0 listens.
        hosts: processes in all.
        host: which of them this one is, from 0.
        meeting_seconds: how long to wait for each other at the start.
        heartbeat_seconds: silence after which a host counts as dead.
    """

    coordinator: str
    hosts: int
    host: int
    meeting_seconds: float = 300.0
    heartbeat_seconds: float = 30.0

    def __post_init__(self):
        name, _, port = self.coordinator.rpartition(":")
        if not name or not port.isdecimal():
            raise InputError(
                COORDINATOR, f"is {self.coordinator!r}", "Give name:port of host 0"
            )
        if not 0 <= self.host < self.hosts:
            raise InputError(
                HOST,
                f"is {self.host}, and {HOSTS} is {self.hosts}",
                "Number the hosts from 0",
            )
        for field in ("meeting_seconds", "heartbeat_seconds"):
            if getattr(self, field) <= 0:
                raise InputError(
                    field, f"is {getattr(self, field)}", "Give more than 0"
                )

    @property
    def address(self) -> tuple[str, int]:
        """Name and port of host 0."""
        name, _, port = self.coordinator.rpartition(":")
        return name, int(port)

    def environment(self) -> dict[str, str]:
        """The variables that `from_environment` reads this role from."""
        return {
            COORDINATOR: self.coordinator,
            HOSTS: str(self.hosts),
            HOST: str(self.host),
            MEETING: str(self.meeting_seconds),
            HEARTBEAT: str(self.heartbeat_seconds),
        }


def from_environment(environment: Mapping[str, str] = os.environ) -> HostsConfig | None:
    """The role that the environment names; None where this process is alone.

    Raises:
        InputError: it names a part of a role, or none that there can be.
    """
    given = {name: environment.get(name) for name in (COORDINATOR, HOSTS, HOST)}
    if not any(given.values()):
        return None
    for name, value in given.items():
        if not value:
            others = ", ".join(other for other in given if given[other])
            raise InputError(name, f"is not set, and {others} is", "Set all or none")
    numbers = {}
    for field, name, kind in (
        ("hosts", HOSTS, int),
        ("host", HOST, int),
        ("meeting_seconds", MEETING, float),
        ("heartbeat_seconds", HEARTBEAT, float),
    ):
        if text := environment.get(name):
            try:
                numbers[field] = kind(text)
            except ValueError:
                raise InputError(name, f"is {text!r}", "Give a number") from None
    return HostsConfig(coordinator=environment[COORDINATOR], **numbers)


def meet(
    config: HostsConfig, identity: Mapping[str, str], problem: str | None
) -> tuple[dict[int, Connection], str]:
    """Meets the other hosts.

    Args:
        config: the role of this process.
        identity: what must be the same on all hosts.
        problem: why this host cannot take part, if it cannot.

    Returns:
        {host: connection}: of host 0 to all others, of the others to host 0; and the
        address at which jax's coordination service is to be.

    Raises:
        InputError: see `hosts.join`.
        PassingError: see there.
    """
    hello = {
        "host": config.host,
        "name": socket.gethostname(),
        "identity": dict(identity),
        "problem": problem,
    }
    deadline = time.monotonic() + config.meeting_seconds
    if config.host == 0:
        return _receive(config, hello, deadline)
    connection, service = _call(config, hello, deadline)
    return {0: connection}, service


def _receive(
    config: HostsConfig, hello: dict, deadline: float
) -> tuple[dict[int, Connection], str]:
    """Host 0: waits for all, compares, and answers."""
    name, port = config.address
    met: dict[int, Connection] = {}
    hellos = {0: hello}
    try:
        listener = socket.create_server(("", port))
    except OSError as error:
        raise InputError(
            config.coordinator,
            f"cannot be listened at ({error.strerror})",
            "choose another port, or end what listens there",
        ) from error
    problem = missing = None
    with listener:
        while len(_still_there(met, hellos)) < config.hosts - 1:
            said = None
            listener.settimeout(max(deadline - time.monotonic(), 0.001))
            # Somebody may knock and go away, stay silent, or be no host of ours.
            with contextlib.suppress(OSError):
                connection = Connection(listener.accept()[0])
                said = _hello(connection)
            if said is None:
                if time.monotonic() < deadline:
                    continue
                if problem is None:
                    missing = sorted(set(range(config.hosts)) - set(hellos))
                    problem = (
                        f"{len(hellos)} of {config.hosts} hosts came within "
                        f"{config.meeting_seconds:g} s; missing: "
                        f"{', '.join(map(str, missing))}"
                    )
                break
            _still_there(met, hellos)
            if problem is None and (problem := _unlike(hellos, said, config.hosts)):
                # The others are to hear of it too, if they are not long in coming.
                deadline = min(deadline, time.monotonic() + GRACE)
            connection.name = said["name"]
            if said["host"] in range(1, config.hosts):
                met.setdefault(said["host"], connection)
            hellos.setdefault(said["host"], said)
    if problem is None and hello["problem"]:
        problem = f"host 0 ({hello['name']}): {hello['problem']}"
    if problem is not None:
        for connection in met.values():
            connection.send({"error": problem, "missing": missing is not None})
            connection.close()
        raise _unfit(config, problem, missing=missing is not None)
    service = f"{name}:{free_port()}"
    for connection in met.values():
        connection.send({"service": service})
    return met, service


def _still_there(
    met: dict[int, Connection], hellos: dict[int, dict]
) -> dict[int, Connection]:
    """Forgets who ended before all had come: its machine may start it again."""
    for host in [host for host, connection in met.items() if connection.is_gone()]:
        met.pop(host).close()
        del hellos[host]
    return met


def _call(config: HostsConfig, hello: dict, deadline: float) -> tuple[Connection, str]:
    """Another host: tries until host 0 listens, and asks whether all is well."""
    while True:
        try:
            left = max(deadline - time.monotonic(), 0.001)
            connection = Connection(socket.create_connection(config.address, left))
            break
        except OSError as error:
            if time.monotonic() > deadline:
                raise PassingError(
                    config.coordinator,
                    f"host 0 did not listen there within {config.meeting_seconds:g} s "
                    f"({error})",
                    f"start host 0, or mend {COORDINATOR}",
                ) from error
            time.sleep(0.1)
    connection.name = config.coordinator
    connection.send(hello)
    try:
        # Host 0 began to wait at another time.
        answer = connection.receive(2 * config.meeting_seconds + 5)
    except (TimeoutError, OSError) as error:
        raise PassingError(
            config.coordinator,
            "host 0 ended before all hosts had met",
            "look at what host 0 says",
        ) from error
    if "error" in answer:
        connection.close()
        raise _unfit(config, answer["error"], missing=answer["missing"])
    return connection, answer["service"]


def _hello(connection: Connection) -> dict | None:
    """What a host says first; None, and no connection any more, from a stranger."""
    with contextlib.suppress(OSError):
        said = connection.receive(GRACE)
        if {"host", "name", "identity", "problem"} <= said.keys():
            return said
    connection.close()
    return None


def _unlike(hellos: Mapping[int, dict], said: dict, hosts: int) -> str | None:
    """What is wrong with a host that has come."""
    host, mine = said["host"], hellos[0]
    who = f"host {host} ({said['name']})"
    if host not in range(1, hosts):
        return f"{who} came, and the hosts are numbered from 0 to {hosts - 1}"
    if host in hellos:
        return f"{who} came twice, before from {hellos[host]['name']}"
    for field, value in mine["identity"].items():
        if said["identity"].get(field) != value:
            return (
                f"{who} has {field} {said['identity'].get(field)!r}, and host 0 "
                f"({mine['name']}) {value!r}"
            )
    return f"{who}: {said['problem']}" if said["problem"] else None


def _unfit(config: HostsConfig, problem: str, *, missing: bool) -> InputError:
    return (PassingError if missing else InputError)(
        config.coordinator,
        problem,
        "every host must run the same command on the same revision, at the same time",
    )


def free_port() -> int:
    """A port of this machine that nobody listens at now."""
    with socket.create_server(("", 0)) as listener:
        return listener.getsockname()[1]

"""What the tests that start processes share."""

import pytest

from scmultimodal.training import meeting
from scmultimodal.training.meeting import HostsConfig
from tests.training.hosts import Host


@pytest.fixture
def start():
    """Starts hosts; none outlives the test."""
    begun = []

    def start(*arguments, hosts=2, devices=2, come=None, heartbeat=20, wait=60, **more):
        coordinator = f"localhost:{meeting.free_port()}"
        for host in range(hosts) if come is None else come:
            role = HostsConfig(
                coordinator=coordinator,
                hosts=hosts,
                host=host,
                heartbeat_seconds=float(heartbeat),
                meeting_seconds=float(wait),
            ).environment()
            own = [*arguments, *more.get("own", {}).get(host, [])]
            begun.append(Host(own, {} if hosts == 1 else role, devices))
        return begun[-hosts:] if come is None else begun[-len(come) :]

    yield start
    for host in begun:
        host.process.kill()
        host.process.communicate()

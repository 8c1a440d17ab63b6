"""Two real processes: they train as one, stop as one, and notice when one is gone."""

import contextlib
import os
import re
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from scmultimodal.schemas.status import Status
from scmultimodal.training import meeting
from scmultimodal.training.meeting import HostsConfig
from scmultimodal.training.metrics import read_metrics
from tests.builders import checkpoint_arrays

PATIENCE = 120
"""Seconds after which a process that should have ended is a failure."""


class Host:
    """A process of a training, and what it has said."""

    def __init__(self, arguments, role, devices):
        environment = {
            k: v for k, v in os.environ.items() if "SCMULTIMODAL_HOST" not in k
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.one_host", *map(str, arguments)],
            env=environment | role | {"JAX_NUM_CPU_DEVICES": str(devices)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def until(self, pattern):
        """Reads on to a line that matches."""
        said = []
        for line in self.process.stdout:
            said.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError("".join(said))

    def until_there(self, path):
        """Returns once a file is there; fails if the process ends before."""
        for _ in range(10 * PATIENCE):
            if path.exists():
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"it ended with {self.process.wait(0.1)}")
        raise AssertionError(f"{path} did not come within {PATIENCE} s")

    def go_on(self, lines):
        """Lets it take so many batches."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("\n" * lines)
            self.process.stdin.flush()

    def end(self):
        """(status, the rest of what it said); one that waits for a line gets none."""
        return self.process.wait(PATIENCE), self.process.stdout.read()


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


def together(hosts, batches):
    """Lets all take so many batches, and returns when they have."""
    for host in hosts:
        host.go_on(batches)
    for host in hosts:
        host.until(f"batch {batches - 1}")
    return hosts


def without_times(folder):
    records = read_metrics(folder / "metrics.jsonl")
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Twelve steps by one process with four devices."""
    folder = tmp_path_factory.mktemp("one") / "run"
    host = Host([folder, 12], {}, devices=4)
    status, said = host.end()
    assert status == 0, said
    return folder


@pytest.mark.parametrize(
    "how",
    [
        [],
        pytest.param(["--jit"], marks=pytest.mark.long),
        pytest.param(["--fsdp"], marks=pytest.mark.long),
    ],
)
def test_two_hosts_train_as_one(start, undisturbed, tmp_path, how):
    ends = [host.end() for host in start(tmp_path / "run", 12, *how)]
    assert [status for status, _ in ends] == [0, 0], ends
    assert all("done on 4 devices" in said for _, said in ends)
    one, two = checkpoint_arrays(undisturbed), checkpoint_arrays(tmp_path / "run")
    assert list(one) == list(two) == [4, 8, 12]
    for a, b in zip(jax.tree.leaves(one[12]), jax.tree.leaves(two[12]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    for a, b in zip(
        without_times(undisturbed), without_times(tmp_path / "run"), strict=True
    ):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(
            [v for v in a.values() if not isinstance(v, str)],
            [v for v in b.values() if not isinstance(v, str)],
            rtol=1e-5,
        )


@pytest.mark.parametrize("asked", [pytest.param(0, marks=pytest.mark.long), 1])
def test_one_that_is_asked_to_end_stops_all_at_one_step(start, tmp_path, asked):
    pair = together(start(tmp_path / "run", 12, "--linger"), 5)
    pair[asked].process.send_signal(signal.SIGTERM)
    for host in pair:
        host.go_on(12)
    ends = [host.end() for host in pair]
    assert [status for status, _ in ends] == [Status.RESTART_ME] * 2, ends
    steps = {re.search(r"stopped after step (\d+) of 12", said)[1] for _, said in ends}
    (step,) = steps
    assert int(step) == max(checkpoint_arrays(tmp_path / "run")) < 12
    again = [host.end() for host in start(tmp_path / "run", 12)]
    assert [status for status, _ in again] == [0, 0], again
    whole = [host.end() for host in start(tmp_path / "whole", 12)]
    assert [status for status, _ in whole] == [0, 0], whole
    for a, b in zip(
        jax.tree.leaves(checkpoint_arrays(tmp_path / "run")[12]),
        jax.tree.leaves(checkpoint_arrays(tmp_path / "whole")[12]),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    assert without_times(tmp_path / "run") == without_times(tmp_path / "whole")


@pytest.mark.parametrize("killed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_host_that_is_killed_is_named_and_the_other_ends(start, tmp_path, killed):
    pair = start(tmp_path / "run", 12, "--linger")
    for host in pair:
        # Eight, and the one that the parameters are made from.
        host.go_on(9)
    # No batch is left: both wait, and no collective is under way, of which gloo would
    # make an end of its own.
    pair[0].until_there(tmp_path / "run" / "checkpoints" / "8" / "manifest.json")
    pair[killed].process.kill()
    status, said = pair[1 - killed].end()
    assert status == Status.RESTART_ME, said
    assert f"training stopped: host {killed}" in said
    assert "ended without a word" in said
    assert max(checkpoint_arrays(tmp_path / "run")) == 8


def test_a_host_that_hangs_is_named_and_the_other_ends(start, tmp_path):
    pair = together(start(tmp_path / "run", 12, "--linger", heartbeat=3), 5)
    pair[1].process.send_signal(signal.SIGSTOP)
    status, said = pair[0].end()
    assert status == Status.RESTART_ME, said
    assert re.search(r"training stopped: host 1 \(.*\) has been silent for \d+ s", said)


@pytest.mark.long
def test_a_host_that_gives_up_tells_the_others_why(start, tmp_path):
    folder = tmp_path / "run"
    (done,) = start(folder, 12, hosts=1)
    assert done.end()[0] == 0
    pair = start(folder, 13)
    ends = [host.end() for host in pair]
    assert [status for status, _ in ends] == [Status.GIVE_UP] * 2, ends
    assert any("trained with num_steps = 12, not 13" in said for _, said in ends)


def test_a_host_that_does_not_come_is_named(start, tmp_path):
    (host,) = start(tmp_path / "run", 12, hosts=3, come=[0], wait=1)
    status, said = host.end()
    assert status == Status.GIVE_UP
    assert "1 of 3 hosts came within 1 s; missing: 1, 2" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_without_host_0_the_others_say_where_they_knocked(start, tmp_path):
    (host,) = start(tmp_path / "run", 12, come=[1], wait=1)
    status, said = host.end()
    assert status == Status.GIVE_UP
    assert "host 0 did not listen there within 1 s" in said


def test_hosts_that_run_something_else_are_named_on_both(start, tmp_path):
    pair = start(tmp_path / "run", own={0: ["12"], 1: ["13"]})
    for host in pair:
        status, said = host.end()
        assert status == Status.GIVE_UP
        assert re.search(r"host 1 \(.*\) has command '.*13', and host 0", said), said
    assert not (tmp_path / "run").exists()

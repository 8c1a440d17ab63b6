"""Two real processes: they train as one, stop as one, and notice when one is gone."""

import re
import signal
import types

import jax
import numpy as np
import pytest

from scmultimodal.schemas.status import Status
from scmultimodal.training import hosts
from tests.builders import checkpoint_arrays, records_without_times
from tests.training.hosts import Host, assert_same_end, newest, take


@pytest.mark.parametrize(
    ("error", "patience"),
    [(jax.errors.JaxRuntimeError("gloo: closed"), 12.0), (ValueError("a bug"), 2.0)],
)
def test_what_may_be_a_lost_host_waits_for_news_of_it(monkeypatch, error, patience):
    """The heartbeat's seconds longer: by then the watch has ended this process."""
    done = []
    watch = types.SimpleNamespace(
        heartbeat_seconds=10.0, leave=lambda *words: done.append(("leaves", *words))
    )
    monkeypatch.setattr(hosts, "_watch", watch)
    monkeypatch.setattr(hosts.time, "sleep", lambda s: done.append(("waits", s)))
    monkeypatch.setattr(hosts.os, "_exit", lambda s: done.append(("exits", s)))
    try:
        raise error
    except type(error):
        hosts.leave(Status.FAILED, "it failed")
    assert done == [
        ("waits", patience),
        ("leaves", Status.FAILED, "it failed"),
        ("exits", Status.FAILED),
    ]


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
        pytest.param(["--parallel", "jit"], marks=pytest.mark.long),
        pytest.param(["--parallel", "fsdp"], marks=pytest.mark.long),
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
        records_without_times(undisturbed),
        records_without_times(tmp_path / "run"),
        strict=True,
    ):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(
            [v for v in a.values() if not isinstance(v, str)],
            [v for v in b.values() if not isinstance(v, str)],
            rtol=1e-5,
        )


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.long)])
def test_one_that_is_asked_to_end_stops_all_at_one_step(start, tmp_path, tally, times):
    random, steps = np.random.default_rng(times), 14 * times
    for time in range(times):
        pair = start(tmp_path / "run", steps, "--linger")
        take(pair, random.integers(1, 9))
        pair[time % 2].process.send_signal(signal.SIGTERM)
        for host in pair:
            host.go_on(steps)
        ends = [host.end() for host in pair]
        assert [status for status, _ in ends] == [Status.RESTART_ME] * 2, ends
        said = rf"stopped after step (\d+) of {steps}"
        (step,) = {int(re.search(said, of_one)[1]) for _, of_one in ends}
        assert step == newest(tmp_path / "run") < steps
    for folder in ("run", "whole"):
        ends = [host.end() for host in start(tmp_path / folder, steps)]
        assert [status for status, _ in ends] == [0, 0], ends
    assert_same_end(tmp_path / "run", tmp_path / "whole")
    tally(
        f"{times} x SIGTERM to one of two hosts: both saved the same step; the same "
        "bits at the end"
    )


@pytest.mark.parametrize(
    ("times", "hosts"),
    [
        (1, 2),
        pytest.param(4, 2, marks=pytest.mark.long),
        pytest.param(3, 4, marks=pytest.mark.long),
    ],
)
def test_a_host_that_is_killed_is_named_and_the_others_end(
    start, tmp_path, tally, times, hosts
):
    random, run, heartbeat = np.random.default_rng(times), tmp_path / "run", 20
    killed = random.permutation(np.arange(times) % hosts)
    for time, gone in enumerate(killed, 1):
        group = start(
            *(run, 4 * times + 1, "--linger"),
            hosts=hosts,
            devices=1,
            heartbeat=heartbeat,
        )
        # The batch that parameters are made from, and those of four steps. After
        # these all wait: gloo would make an end of its own of a collective under way.
        take(group, 5)
        group[0].until_there(run / "checkpoints" / str(4 * time) / "manifest.json")
        group[gone].process.kill()
        for host, other in enumerate(group):
            if host != gone:
                status, said = other.end(2 * heartbeat)
                assert status == Status.RESTART_ME, said
                assert f"training stopped: host {gone} (" in said
                assert "ended without a word" in said
        assert newest(run) == 4 * time
    tally(
        f"{times} x one of {hosts} hosts killed: the others ended within two "
        "heartbeats and named it"
    )


def test_a_host_that_hangs_is_named_and_the_other_ends(start, tmp_path):
    pair = start(tmp_path / "run", 12, "--linger", heartbeat=3)
    take(pair, 5)
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


@pytest.mark.parametrize(
    ("hosts", "come", "wait", "words"),
    [
        (2, [0], 1, "1 of 2 hosts came within 1 s; missing: 1"),
        (4, [0], 1, "1 of 4 hosts came within 1 s; missing: 1, 2, 3"),
        (2, [1], 1, "host 0 did not listen there within 1 s"),
        pytest.param(
            *(3, [1, 2], 1, "host 0 did not listen there within 1 s"),
            marks=pytest.mark.long,
        ),
        pytest.param(
            *(3, [0, 2], 15, "2 of 3 hosts came within 15 s; missing: 1"),
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_host_that_does_not_come_is_named(
    start, tmp_path, tally, hosts, come, wait, words
):
    for host in start(tmp_path / "run", 12, hosts=hosts, come=come, wait=wait):
        status, said = host.end()
        assert status == Status.RESTART_ME
        assert words in said
    assert not (tmp_path / "run").exists()
    tally(f"1 x {hosts - len(come)} of {hosts} hosts missing: the others said which")


def test_hosts_that_run_something_else_are_named_on_both(start, tmp_path):
    pair = start(tmp_path / "run", own={0: ["12"], 1: ["13"]})
    for host in pair:
        status, said = host.end()
        assert status == Status.GIVE_UP
        assert re.search(r"host 1 \(.*\) has command '.*13', and host 0", said), said
    assert not (tmp_path / "run").exists()

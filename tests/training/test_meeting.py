"""Roles in the environment, and messages between hosts."""

import contextlib
import socket
import threading

import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.training import meeting
from scmultimodal.training.connection import Connection
from scmultimodal.training.meeting import HostsConfig

ROLE = {
    "SCMULTIMODAL_COORDINATOR": "pod-0:8476",
    "SCMULTIMODAL_HOSTS": "4",
    "SCMULTIMODAL_HOST": "3",
}


def test_a_role_is_read_from_the_environment():
    assert meeting.from_environment({"PATH": "x"}) is None
    found = meeting.from_environment({**ROLE, "SCMULTIMODAL_HEARTBEAT_SECONDS": "2.5"})
    assert found == HostsConfig(
        coordinator="pod-0:8476", hosts=4, host=3, heartbeat_seconds=2.5
    )
    assert found.address == ("pod-0", 8476)
    assert meeting.from_environment(found.environment()) == found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"SCMULTIMODAL_HOST": ""}, "SCMULTIMODAL_HOST: is not set"),
        ({"SCMULTIMODAL_HOST": "4"}, "SCMULTIMODAL_HOST: is 4"),
        ({"SCMULTIMODAL_HOSTS": "four"}, "SCMULTIMODAL_HOSTS: is 'four'"),
        ({"SCMULTIMODAL_COORDINATOR": "pod-0"}, "Give name:port of host 0"),
        ({"SCMULTIMODAL_HEARTBEAT_SECONDS": "0"}, "heartbeat_seconds: is 0.0"),
    ],
)
def test_a_role_that_cannot_be_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        meeting.from_environment({**ROLE, **change})


@pytest.fixture
def pair():
    """Two ends of a connection."""
    ends = [Connection(end) for end in socket.socketpair()]
    yield ends
    for end in ends:
        end.close()


def test_messages_arrive_in_order_and_whole(pair):
    one, two = pair
    long = {"text": "ü" * 200_000}
    sender = threading.Thread(target=lambda: [one.send({"n": 1}), one.send(long)])
    sender.start()
    assert two.receive(10.0) == {"n": 1}
    assert two.receive(10.0) == long
    sender.join()
    assert two.available(0.0) == []


def test_messages_that_come_together_are_received_one_by_one(pair):
    one, two = pair
    one.sock.sendall(b'{"n": 1}\n{"n": 2}\n{"n"')
    assert two.receive(1.0) == {"n": 1}
    assert two.receive(1.0) == {"n": 2}
    with pytest.raises(TimeoutError):
        two.receive(0.01)
    one.sock.sendall(b": 3}\n")
    assert two.receive(1.0) == {"n": 3}


def test_what_is_no_message_and_a_side_that_is_gone(pair):
    one, two = pair
    one.sock.sendall(b"GET / HTTP/1.1\n")
    with pytest.raises(OSError, match="another language"):
        two.receive(1.0)
    one.close()
    with pytest.raises(ConnectionResetError):
        two.receive(1.0)
    two.send({"n": 1})  # Nobody hears it, and nothing is raised.


def meet_all(configs, problems=None):
    """What `meet` returns or raises at each host."""
    found = [None] * len(configs)

    def go(place, config):
        try:
            problem = (problems or {}).get(config.host)
            found[place] = meeting.meet(config, {"revision": "abc"}, problem)
        except InputError as error:
            found[place] = error

    threads = [threading.Thread(target=go, args=pair) for pair in enumerate(configs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found


def roles(*numbers, hosts=3, seconds=10.0):
    port = meeting.free_port()
    return [
        HostsConfig(
            coordinator=f"localhost:{port}",
            hosts=hosts,
            host=number,
            meeting_seconds=seconds,
        )
        for number in numbers
    ]


def test_all_meet_whatever_their_order():
    found = meet_all(roles(2, 0, 1))
    connections, service = found[1]
    assert sorted(connections) == [1, 2]
    assert {answer[1] for answer in found} == {service}
    for others, _ in found:
        for connection in others.values():
            connection.close()


@pytest.mark.parametrize("unfit", [0, 1])
def test_one_that_is_not_fit_is_told_to_all(unfit):
    found = meet_all(roles(0, 1, 2), {unfit: "out may not be written to."})
    for error in found:
        assert isinstance(error, InputError)
        assert f"host {unfit}" in str(error) or "ended before" in str(error)
    assert "out may not be written to" in str(found[unfit])


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\n", b'{"host": 1}\n', b"[]\n", b""])
def test_strangers_who_knock_do_not_disturb(said):
    pair = roles(0, 1, hosts=2)
    found = []
    host_0 = threading.Thread(
        target=lambda: found.append(meeting.meet(pair[0], {}, None))
    )
    host_0.start()
    stranger = None
    while stranger is None:
        with contextlib.suppress(ConnectionRefusedError):
            stranger = socket.create_connection(pair[0].address)
    stranger.sendall(said)
    if not said:
        stranger.close()  # It went away without a word.
    others, _ = meeting.meet(pair[1], {}, None)
    host_0.join(30)
    assert sorted(found[0][0]) == [1]
    for connection in (*found[0][0].values(), *others.values()):
        connection.close()
    stranger.close()


def test_one_that_comes_twice_is_told():
    found = meet_all(roles(0, 1, 1))
    assert any("host 1" in str(e) and "came twice" in str(e) for e in found)


@pytest.mark.parametrize("others_came", [False, True])
def test_one_that_ended_meanwhile_may_come_again(others_came):
    """Its machine was started again, before the others had come or after."""
    first, second, third = roles(0, 1, 2)
    found = []
    host_0 = threading.Thread(
        target=lambda: found.append(meeting.meet(first, {"revision": "abc"}, None))
    )
    host_0.start()

    def come(host):
        hello = {"host": host, "name": "x", "identity": {"revision": "abc"}}
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                connection = Connection(socket.create_connection(first.address))
                connection.send(hello | {"problem": None})
                return connection

    come(1).close()
    if others_came:
        waiting = come(2)
        others = meet_all([second])
        assert "service" in waiting.receive(10.0)
        waiting.close()
    else:
        others = meet_all([second, third])
    for connections, _ in others:
        connections[0].close()
    host_0.join(30)
    connections, _ = found[0]
    assert sorted(connections) == [1, 2]
    for connection in connections.values():
        connection.close()


def test_a_port_that_is_taken_is_told():
    (role,) = roles(0, hosts=2)
    with (
        socket.create_server(("", role.address[1])),
        pytest.raises(InputError, match="cannot be listened at"),
    ):
        meeting.meet(role, {}, None)

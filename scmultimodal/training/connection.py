"""Short messages between hosts, and a thread that notices when one is gone."""

import contextlib
import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Mapping

from scmultimodal.schemas.status import Status


class Connection:
    """Messages (JSON objects, one a line) over a socket."""

    def __init__(self, sock: socket.socket, name: str = "?"):
        """Takes over a connected socket; `name` is for people."""
        self.sock, self.name = sock, name
        self._begun, self._come = b"", list[dict]()
        self.heard = time.monotonic()

    def fileno(self) -> int:
        """For `select`."""
        return self.sock.fileno()

    def send(self, message: dict) -> None:
        """Sends a message; one to a host that is gone is lost."""
        with contextlib.suppress(OSError):
            self.sock.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, seconds: float) -> dict:
        """The next message.

        Raises:
            TimeoutError: none came within so many seconds.
            OSError: the other side is gone, or speaks another language.
        """
        deadline = time.monotonic() + seconds
        while not self._come:
            self._come = self.available(deadline - time.monotonic())
            if not self._come and time.monotonic() >= deadline:
                raise TimeoutError
        return self._come.pop(0)

    def available(self, seconds: float) -> list[dict]:
        """Messages that have come, after at most so many seconds of waiting.

        Raises:
            OSError: the other side is gone, or speaks another language.
        """
        come, self._come = self._come, []
        if come or not select.select([self.sock], [], [], max(seconds, 0))[0]:
            return come
        chunk = self.sock.recv(65_536)
        if not chunk:
            raise ConnectionResetError("the other side is gone")
        self.heard = time.monotonic()
        *lines, self._begun = (self._begun + chunk).split(b"\n")
        try:
            return [dict(json.loads(line)) for line in lines]
        except (ValueError, TypeError) as error:
            raise OSError("the other side speaks another language") from error

    def is_gone(self) -> bool:
        """Whether the other side has hung up; what it said before is kept."""
        try:
            self._come += self.available(0.0)
        except OSError:
            return True
        return False

    def close(self) -> None:
        """Hangs up."""
        self.sock.close()


class Watch:
    """Ends this process when another host is gone.

    Host 0, the leader, has a connection to every other host; the others to host 0.
    """

    def __init__(
        self,
        connections: Mapping[int, Connection],
        heartbeat_seconds: float,
        *,
        leader: bool,
    ):
        """Starts to watch and to be heard."""
        self.connections, self.leader = dict(connections), leader
        self.heartbeat_seconds = heartbeat_seconds
        for connection in self.connections.values():
            connection.heard = time.monotonic()
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def leave(self, status: int, reason: str | None) -> None:
        """Says goodbye and stops watching."""
        self._leaving.set()
        self._thread.join()
        for connection in self.connections.values():
            connection.send({"left": reason, "status": status})
            connection.close()

    def _run(self) -> None:
        turn = self.heartbeat_seconds / 5
        while not self._leaving.wait(0):
            for connection in self.connections.values():
                connection.send({})
            until = time.monotonic() + turn
            while (left := until - time.monotonic()) > 0 and not self._leaving.is_set():
                self._listen(min(left, 0.2))

    def _listen(self, seconds: float) -> None:
        ready = select.select(list(self.connections.values()), [], [], seconds)[0]
        for host, connection in list(self.connections.items()):
            who = f"host {host} ({connection.name})"
            try:
                messages = connection.available(0.0) if connection in ready else []
            except OSError:
                self._end(f"{who} ended without a word", Status.RESTART_ME)
                continue
            for message in messages:
                if "lost" in message:
                    self._end(message["lost"], message["status"])
                elif message.get("status"):
                    self._end(f"{who} gave up: {message['left']}", message["status"])
                elif "left" in message:
                    del self.connections[host]  # Done, as we are about to be.
            silence = time.monotonic() - connection.heard
            if host in self.connections and silence > self.heartbeat_seconds:
                self._end(
                    f"{who} has been silent for {silence:.0f} s", Status.RESTART_ME
                )

    def _end(self, what: str, status: int) -> None:
        """Tells the others and ends the process: its main thread waits in vain."""
        if self.leader:
            for connection in self.connections.values():
                connection.send({"lost": what, "status": status})
        if self._leaving.is_set():
            return
        print(f"training stopped: {what}", file=sys.stderr, flush=True)
        os._exit(status)

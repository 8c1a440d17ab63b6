"""A page of Chromium without a window, by its DevTools protocol."""

import base64
import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import websocket

SECONDS = 60
"""That Chromium has for one answer."""


class Page:
    """One page, what it asked the network for, and what it complained of.

    Attributes:
        requests: addresses, in order.
        complaints: errors of scripts, of the console and of the network.
    """

    def __init__(self, socket: websocket.WebSocket):
        self._socket, self._number = socket, itertools.count()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._do(f"{domain}.enable")

    def size(self, width: int, height: int) -> None:
        """Makes the window so large, in px."""
        self._do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def open(self, address: str) -> None:
        """Goes there, and waits until all of it is loaded."""
        self._do("Page.navigate", url=address)
        self._until(lambda event: event.get("method") == "Page.loadEventFired")

    def ask(self, script: str) -> Any:
        """What a line of JavaScript comes to; waits where it is a promise."""
        found = self._do(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, path: Path) -> None:
        """Writes what is seen as a PNG."""
        data = self._do("Page.captureScreenshot", format="png")["data"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(data))

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._number)
        message = {"id": number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        answer = self._until(lambda message: message.get("id") == number)
        assert "error" not in answer, answer
        return answer["result"]

    def _until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            message = json.loads(self._socket.recv())
            self._note(message)
            if wanted(message):
                return message

    def _note(self, message: dict[str, Any]) -> None:
        told = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            case "Network.loadingFailed" if not told.get("canceled"):
                self.complaints.append(told["errorText"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if told["type"] == "error":
                self.complaints.append(json.dumps(told["args"]))
            case "Log.entryAdded" if told["entry"]["level"] == "error":
                self.complaints.append(told["entry"]["text"])


def program() -> str | None:
    """Where Chromium is; None where there is none."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser")
    found = (shutil.which(name) for name in (*names, "google-chrome") if name)
    return next(filter(None, found), None)


@contextlib.contextmanager
def opened(profile: Path) -> Iterator[Page]:
    """A page of a Chromium of its own, which finds no host but this one."""
    found = program()
    assert found, "no Chromium: `make test-docs` installs it, or tells how"
    command = [
        *(found, "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio"),
        *("--no-first-run", "--disable-background-networking", "--disable-sync"),
        "--disable-component-update",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        f"--user-data-dir={profile}",
        "--remote-debugging-port=0",
        "--remote-allow-origins=*",
        "about:blank",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            address = _address(process)
            with contextlib.closing(
                websocket.create_connection(address, timeout=SECONDS)
            ) as socket:
                yield Page(socket)
        finally:
            process.terminate()


def _address(process: subprocess.Popen) -> str:
    """Of the first page, once Chromium has said where it listens."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"ws://127\.0\.0\.1:(\d+)/", line):
            break
    else:
        raise AssertionError("Chromium ended before it listened")
    with urlopen(f"http://127.0.0.1:{found[1]}/json/list", timeout=SECONDS) as answer:
        pages = json.load(answer)
    return next(one["webSocketDebuggerUrl"] for one in pages if one["type"] == "page")

"""A headless Chromium, spoken to by its DevTools protocol: no package is needed.

Messages go through two pipes, each ended by a zero byte.
"""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Page:
    """A page, and what it complained of.

    Attributes:
        complaints: errors of scripts, of the console and of the network.
        requests: addresses that were asked for.
    """

    def __init__(self, to_browser: Any, from_browser: Any):
        self._to, self._from = to_browser, from_browser
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._loaded = False
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        found = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command and returns its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while (answer := self._read()).get("id") != number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def open(self, page: Path | str, *, width: int = 1280, height: int = 800) -> None:
        """Loads a file, or an address, and waits until it is."""
        self.size(width, height)
        self._loaded = False
        url = page if isinstance(page, str) else page.resolve().as_uri()
        self.ask("Page.navigate", url=url)
        while not self._loaded:
            self._read()

    def size(self, width: int, height: int) -> None:
        """Sets the size of the window; a narrow one is that of a phone."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if width < 600 else 1,
            mobile=width < 600,
        )

    def dark(self, wanted: bool) -> None:
        """What the system prefers."""
        scheme = {
            "name": "prefers-color-scheme",
            "value": "dark" if wanted else "light",
        }
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def value(self, expression: str) -> Any:
        """Value of an expression of JavaScript; promises are waited for."""
        found = self.ask(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Waits for what is looked at again in every frame."""
        self.value(
            "new Promise((done) => { const look = () => "
            f"({condition}) ? done(true) : requestAnimationFrame(look); look(); }})"
        )

    def frame(self) -> None:
        """Waits until what was asked for has been drawn."""
        self.value(
            "new Promise((done) => requestAnimationFrame(() => "
            "requestAnimationFrame(() => done(true))))"
        )

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """An event of the mouse: "Moved", "Pressed", "Released", "Wheel"."""
        self.ask("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **more)

    def click(self, selector: str) -> None:
        """Clicks into the middle of what a selector finds first."""
        x, y = self.middle(selector)
        held = {"button": "left", "clickCount": 1}
        self.mouse("Moved", x, y)
        self.mouse("Pressed", x, y, **held)
        self.mouse("Released", x, y, **held)
        self.frame()

    def tap(self, x: float, y: float) -> None:
        """Touches a place with a finger for an instant."""
        self.ask(
            "Input.dispatchTouchEvent",
            type="touchStart",
            touchPoints=[{"x": x, "y": y}],
        )
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.frame()

    def middle(self, selector: str) -> tuple[float, float]:
        """Where the middle of an element is, once it has been scrolled to."""
        x, y = self.value(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            "found.scrollIntoView({block: 'nearest'});"
            "const box = found.getBoundingClientRect();"
            "return [box.left + box.width / 2, box.top + box.height / 2]; })()"
        )
        return x, y

    def keys(self, *names: str) -> None:
        """Presses keys, one after the other; a letter is typed."""
        for name in names:
            text = {"text": name} if len(name) == 1 else {}
            if name == "Enter":
                text = {"text": "\r"}
            self.ask("Input.dispatchKeyEvent", type="keyDown", key=name, **text)
            self.ask("Input.dispatchKeyEvent", type="keyUp", key=name)
        self.frame()

    def text(self, selector: str) -> str:
        """The text of an element."""
        return self.value(f"document.querySelector({json.dumps(selector)}).textContent")

    def shoot(self, path: Path) -> None:
        """Takes a picture of what is seen."""
        self.frame()
        path.parent.mkdir(parents=True, exist_ok=True)
        found = self.ask("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))

    def _read(self) -> dict[str, Any]:
        message = bytearray()
        while (letter := self._from.read(1)) != b"\0":
            if not letter:
                raise RuntimeError("the browser has ended")
            message += letter
        content = json.loads(message)
        self._note(content.get("method", ""), content.get("params", {}))
        return content

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            said = details.get("exception", {}).get("description", details["text"])
            self.complaints.append(said)
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.complaints.append(json.dumps(params["args"]))
        elif method == "Network.loadingFailed" and not params.get("canceled"):
            self.complaints.append(params["errorText"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])


def find() -> str | None:
    """The browser, where there is one: CHROMIUM, or under its usual names."""
    given = os.environ.get("CHROMIUM")
    names = [given] if given else ["chromium", "chromium-browser", "google-chrome"]
    return next(filter(None, map(shutil.which, names)), None)


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Page]:
    """Starts the browser with an empty profile in `folder`, and ends it.

    It finds no host but this one.
    """
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()

    def place_pipes() -> None:
        # The browser reads from 3 and writes to 4.
        source, sink = os.dup(commands_out), os.dup(answers_in)
        os.dup2(source, 3)
        os.dup2(sink, 4)

    process = subprocess.Popen(
        [
            *(str(find()), "--headless", "--remote-debugging-pipe", "--no-sandbox"),
            *("--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update"),
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            f"--user-data-dir={folder}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=place_pipes,
        close_fds=False,
    )
    os.close(commands_out)
    os.close(answers_in)
    try:
        with open(commands_in, "wb") as to, open(answers_out, "rb") as back:
            yield Page(to, back)
    finally:
        process.kill()
        process.wait()

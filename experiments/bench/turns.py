"""Contestants in processes of their own, of which one at a time works."""

import contextlib
import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tqdm

from experiments.bench import contestants

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    # Contestants share an accelerator: none may take all of its memory in advance.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    # The time that compiling takes is measured.
    "JAX_ENABLE_COMPILATION_CACHE": "false",
}


class Player:
    """The parent's side of a contestant's process.

    Attributes:
        name: what a table calls it.
        module: what it is built by.
        settings: what it is built with.
        facts: what it says of itself.
        absent: why it cannot play, or None.
        seconds: of each turn.
        losses: after each turn.
        peak_mb: its peak of memory so far, beyond what it had before the first step.
    """

    def __init__(self, name: str, module: str, **settings: Any):
        """Starts the process, and waits until the contestant is built.

        Args:
            name: what a table calls it.
            module: of `contestants`, or the full name of another that builds one.
            **settings: as JSON has them; and a `Shape`.
        """
        self.name, self.module, self.settings = name, module, settings
        self.facts: dict[str, Any] = {}
        self.absent: str | None = None
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self.peak_mb: float | None = None
        module = module if "." in module else f"{contestants.__name__}.{module}"
        described = json.dumps(settings, default=dataclasses.asdict)
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.bench.child", module, described],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ENVIRONMENT | {"PYTHONPATH": path},
        )
        self._hear()

    def warm_up(self) -> None:
        """Runs what is not timed."""
        self._ask("warm up")

    def play(self) -> None:
        """Takes one turn; nothing where it is absent."""
        if reply := self._ask("step"):
            self.seconds.append(reply["seconds"])
            self.losses.append(reply["loss"])
            self.peak_mb = reply["peak_mb"]

    @property
    def median(self) -> float | None:
        """Seconds of a step, or None where there are none."""
        if self.absent or not self.seconds:
            return None
        return statistics.median(self.seconds)

    @property
    def memory_mb(self) -> float | None:
        """What a step needs for a time: as XLA plans it, or as the process shows it."""
        return None if self.absent else self.facts.get("temporary_mb", self.peak_mb)

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, command: str) -> dict[str, Any]:
        if self.absent:
            return {}
        with contextlib.suppress(BrokenPipeError):
            print(command, file=self._process.stdin, flush=True)
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        """The reply; facts and absence are noted."""
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            killed = " (killed: out of memory?)" if status == -9 else ""
            line = json.dumps({"absent": f"failed with status {status}{killed}"})
        reply = json.loads(line)
        self.facts |= reply.get("facts", {})
        self.absent = reply.get("absent")
        return {} if self.absent else reply


@contextlib.contextmanager
def starting() -> Iterator[Callable[..., Player]]:
    """Yields `start(name, module, **settings)`: players that are closed at the end.

    A player is built and warmed up before the next one is.
    """
    with contextlib.ExitStack() as stack:

        def start(name: str, module: str, **settings: Any) -> Player:
            tqdm.tqdm.write(f"Building and warming up: {name}", file=sys.stderr)
            player = Player(name, module, **settings)
            stack.callback(player.close)
            player.warm_up()
            return player

        yield start


def facts(module: str, **settings: Any) -> dict[str, Any]:
    """What a contestant says of itself; it never runs."""
    player = Player(module, module, **settings)
    player.close()
    return player.facts


def take_turns(
    players: Sequence[Player], turns: int, *, minutes: float = math.inf
) -> int:
    """Lets players alternate, and shows how far they are.

    Args:
        players: in the order in which they play.
        turns: of each.
        minutes: after the first turn, none is begun that would end later.

    Returns:
        The turns that were taken.
    """
    begun = time.monotonic()
    with tqdm.tqdm(total=turns * len(players), desc="turns", unit="step") as bar:
        for turn in range(turns):
            spent = time.monotonic() - begun
            if turn and spent * (turn + 1) / turn > 60 * minutes:
                bar.write(f"{turn} of {turns} turns: the time is up", file=sys.stderr)
                return turn
            for player in players:
                bar.set_postfix_str(player.name)
                player.play()
                bar.update()
    return turns

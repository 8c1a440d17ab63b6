"""A contestant that writes down when it works, for `test_bench_turns`."""

import contextlib
import os
from pathlib import Path

from experiments.bench.contestants import Contestant


def build(
    *, sign: str, log: str, needs: str | None = None, dies_at: int | None = None
) -> Contestant:
    """Notes its turns in a file that all share.

    Args:
        sign: its name in the file.
        log: the file.
        needs: a package that is not installed.
        dies_at: the step in which its process ends.
    """
    if needs:
        raise ModuleNotFoundError(f"No module named {needs!r}", name=needs)
    steps = 0

    def step() -> float:
        nonlocal steps
        steps += 1
        with noted("step"):
            if steps == dies_at:
                os._exit(3)
            print("what libraries print is no reply")
        return steps / 2

    @contextlib.contextmanager
    def noted(what: str):
        note(f"{sign} begins {what}")
        yield
        note(f"{sign} ends {what}")

    def note(line: str) -> None:
        with Path(log).open("a") as stream:
            print(line, file=stream)

    note(f"{sign} is built")
    held = iter(range(1, 1_000))
    return Contestant(
        step=step, facts={"pid": os.getpid()}, peak_bytes=lambda: 5_000_000 * next(held)
    )

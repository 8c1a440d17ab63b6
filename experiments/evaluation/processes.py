"""Processes that do the same work beside this one, for machines with several cores."""

import contextlib
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from scmultimodal.schemas.errors import InputError


@contextlib.contextmanager
def beside(work: Callable[[], None], folder: Path, processes: int) -> Iterator[None]:
    """Within it, all but one of so many processes do `work`; they end with the body.

    What goes wrong there goes wrong here too, where it is told: they share the work.

    Args:
        work: a function that pickle knows.
        folder: `process-K.log` there has what process K says.
        processes: with this one.
    """
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_run, args=(work, folder / f"process-{k}.log"))
        for k in range(1, processes)
    ]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.terminate()
            other.join()


def _run(work: Callable[[], None], log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", buffering=1) as sys.stdout:
        sys.stderr = sys.stdout
        with contextlib.suppress(InputError):
            work()

"""Processes that do the same work beside this one, for machines with several cores."""

import contextlib
import multiprocessing
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from scmultimodal.workflows import process, worker_pool


@contextlib.contextmanager
def beside(work: Callable[[], None], folder: Path, processes: int) -> Iterator[None]:
    """Within it, all but one of so many processes do `work`; they end with the body.

    What one of them leaves undone, this one does, and says what goes wrong with it.

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
        for number, other in enumerate(others, 1):
            if other.exitcode:
                print(f"process {number} ended: see process-{number}.log in {folder}")
            other.terminate()
            other.join()


def _run(work: Callable[[], None], log: Path) -> None:
    worker_pool.begin()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", buffering=1) as sys.stdout:
        sys.stderr = sys.stdout
        try:
            process.prepare()
            work()
        except Exception:
            traceback.print_exc()
            raise SystemExit(1) from None

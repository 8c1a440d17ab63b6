"""The next batch is built while the device works on this one."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

Batch = TypeVar("Batch")


def prefetch(
    build: Callable[[int], Batch], start: int, stop: int, depth: int = 2
) -> Iterator[tuple[int, Batch]]:
    """Yields (step, build(step)) for start ≤ step < stop, built in a thread ahead.

    An error of `build` is raised here, at its own step. Closing the generator, or
    leaving the loop over it, stops the thread.

    Args:
        build: makes the batch of a step.
        start: first step.
        stop: one past the last step.
        depth: batches that wait at most; so many are in memory, and one in the making.
    """
    waiting: queue.Queue = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def produce():
        for step in range(start, stop):
            try:
                item = (step, build(step), None)
            except BaseException as error:
                item = (step, None, error)
            if not _put(waiting, item, stopped) or item[2] is not None:
                return

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        for _ in range(start, stop):
            step, batch, error = waiting.get()
            if error is not None:
                raise error
            yield step, batch
    finally:
        stopped.set()
        thread.join()


def _put(waiting: queue.Queue, item: object, stopped: threading.Event) -> bool:
    """Waits for room; False once nobody is listening any more."""
    while not stopped.is_set():
        try:
            waiting.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False

"""Processes that share out the work on a list, with results in its order."""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from scmultimodal.schemas.errors import InputError

Item, Result = TypeVar("Item"), TypeVar("Result")


class LostProcessError(BrokenProcessPool):
    """A process of a pool ended, and the others were ended with it.

    Attributes:
        items: what they worked on. Which of them it was is not known.
    """

    def __init__(self, items: list[Any]):
        """Takes at least one."""
        super().__init__(f"a process ended that worked on {items}")
        self.items = items


@contextlib.contextmanager
def open_pool(workers: int) -> Iterator[concurrent.futures.ProcessPoolExecutor | None]:
    """Processes that start afresh: a forked one would share open files. None for 1.

    Raises:
        InputError: there are none.
    """
    if workers < 1:
        raise InputError("workers", f"is {workers}", "Give 1 or more")
    if workers == 1:
        yield None
        return
    with open_processes(workers) as pool:
        yield pool


@contextlib.contextmanager
def open_processes(
    workers: int,
) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """As `open_pool`, but one process is a process too. Each computes in one thread."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=begin
    ) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def ordered(
    pool: concurrent.futures.ProcessPoolExecutor | None,
    function: Callable[[Item], Result],
    items: Iterable[Item],
) -> Iterator[Result]:
    """`map` that holds only a few results, however slowly they are taken.

    Raises:
        LostProcessError: a process ended.
    """
    if pool is None:
        yield from map(function, items)
        return
    waiting: collections.deque[tuple[Item, Future[Result]]] = collections.deque()

    def first() -> Result:
        result = waiting[0][1].result()
        waiting.popleft()
        return result

    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > 2 * pool._max_workers:
                yield first()
        while waiting:
            yield first()
    except BrokenProcessPool as error:
        lost = [i for i, f in waiting if isinstance(f.exception(), BrokenProcessPool)]
        raise LostProcessError(lost[: pool._max_workers] or [item]) from error


def begin() -> None:
    """Of a process: one thread, no Ctrl-C of its own, and an end when ours ends."""
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # One that is killed cannot tell: its processes would wait for work for ever.
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)

"""Processes that share out the work on a list, with results in its order."""

import collections
import concurrent.futures
import contextlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from scmultimodal.schemas.errors import InputError

Item, Result = TypeVar("Item"), TypeVar("Result")


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
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
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
    """`map` that holds only a few results, however slowly they are taken."""
    if pool is None:
        yield from map(function, items)
        return
    waiting: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > 2 * pool._max_workers:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()

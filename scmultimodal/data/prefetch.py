"""Builds the next batches in a thread while the device works on this one."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def prefetch(
    function: Callable[[int], Item],
    start_step: int,
    num_steps: int,
    *,
    depth: int = 2,
) -> Iterator[Item]:
    """Yields `function(step)` for consecutive steps, `depth` of them ahead.

    An error in the function is raised at the step it belongs to. The thread ends
    when the last step is taken and when the iterator is closed or dropped.

    Args:
        function: builds one item; called in order, in one thread.
        start_step: the first step.
        num_steps: number of steps.
        depth: items that are built before they are asked for; 0 builds none ahead.
    """
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")
    pending: deque[Future[Item]] = deque()
    try:
        for step in range(start_step, start_step + num_steps):
            pending.append(executor.submit(function, step))
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)

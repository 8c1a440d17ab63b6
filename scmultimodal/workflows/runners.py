"""Where the parts of a long job are done: here, in processes, or by dask."""

import asyncio
import collections
import concurrent.futures
import contextlib
import functools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar, runtime_checkable

import scmultimodal
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import cores
from scmultimodal.workflows import worker_pool

PATIENCE_S = 10.0
"""With a scheduler that does not answer."""
_SETTINGS = {"distributed.admin.large-graph-warning-threshold": "1 TB"}

Shared, Item, Result = TypeVar("Shared"), TypeVar("Item"), TypeVar("Result")


@runtime_checkable
class Runner(Protocol):
    """Does one thing to many items. Functions and arguments can be pickled."""

    def map(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
    ) -> Iterator[Result]:
        """Returns `function(shared, item)` of each item, in order."""
        ...


class Here:
    """In this process, one item after the other."""

    def map(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
    ) -> Iterator[Result]:
        """Returns the results, in order."""
        return map(functools.partial(function, shared), items)


class Processes:
    """In processes of this machine. One that ends takes none of ours with it."""

    def __init__(self, pool: concurrent.futures.ProcessPoolExecutor):
        """Takes a pool; see `processes`."""
        self._pool = pool

    def map(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
    ) -> Iterator[Result]:
        """Returns the results, in order.

        Raises:
            InputError: a process ended, as those do that read damaged files.
        """
        work = functools.partial(function, shared)
        try:
            yield from worker_pool.ordered(self._pool, work, items)
        except worker_pool.LostProcessError as error:
            raise _crash(*error.items) from error


class Dask:
    """By the workers of a dask cluster. All of them see the folders by one name."""

    def __init__(self, client: Any):
        """Takes a `distributed.Client`; see `dask`."""
        self._client = client

    def map(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
    ) -> Iterator[Result]:
        """Returns the results, in order; a part whose worker is lost is done again.

        Only a few wait to be done or taken, however many there are.

        Raises:
            InputError: all workers end that read an item, or the scheduler is lost.
        """
        # A task, for one that is lost is done again; what is scattered is not.
        everywhere = self._client.submit(_same, shared, pure=False)
        waiting: collections.deque[tuple[Item, Any]] = collections.deque()
        try:
            for item in items:
                future = self._client.submit(function, everywhere, item, pure=False)
                waiting.append((item, future))
                if len(waiting) > 2 * self._threads():
                    yield _result(*waiting.popleft())
            while waiting:
                yield _result(*waiting.popleft())
        finally:
            self._client.cancel([everywhere, *(future for _, future in waiting)])

    def _threads(self) -> int:
        """Of all workers that are there now."""
        try:
            return max(1, sum(self._client.nthreads().values()))
        except OSError as error:
            raise _lost() from error


def _same(shared: Shared) -> Shared:
    return shared


def _result(item: object, future: Any) -> Any:
    import distributed

    try:
        return future.result()
    except distributed.KilledWorker as error:
        raise _crash(item) from error
    except distributed.CancelledError as error:
        raise _lost() from error


def _lost() -> InputError:
    remedy = "Start it again, and this command"
    return InputError("--scheduler", "was lost, or ended", remedy)


def _crash(*items: object) -> InputError:
    return InputError(
        " or ".join(map(str, items)),
        "the process that read it was ended from outside, or crashed",
        "Copy the file again; give fewer --workers if memory ended",
    )


@contextlib.contextmanager
def processes(workers: int | None = None) -> Iterator[Processes]:
    """Processes of this machine, as many as there are cores if not said.

    Raises:
        InputError: there are none.
    """
    with worker_pool.open_processes(_count(workers)) as pool:
        yield Processes(pool)


@contextlib.contextmanager
def dask(address: str | None, workers: int | None = None) -> Iterator[Dask]:
    """A dask cluster: one that runs at an address, or one of this machine.

    Args:
        address: of the scheduler; None starts a cluster.
        workers: processes to start, one for each core if not said.

    Raises:
        InputError: dask is not installed, the scheduler does not answer or has no
            workers, or one of these has another version of this package.
    """
    try:
        import distributed
        from dask import config
    except ImportError as error:
        raise InputError(
            "--scheduler", "dask is not installed", "pip install 'scmultimodal[scale]'"
        ) from error
    with contextlib.ExitStack() as opened:
        if address is None:
            # Mapped files would count towards a limit of memory; ours is the part.
            cluster = distributed.LocalCluster(
                n_workers=_count(workers),
                threads_per_worker=1,
                memory_limit=None,
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                silence_logs=logging.CRITICAL,
            )
            opened.enter_context(cluster)
            address = cluster.scheduler_address
        try:
            _greet(address)
            client = distributed.Client(
                address, timeout=PATIENCE_S, set_as_default=False
            )
            opened.enter_context(client)
            client.wait_for_workers(1, timeout=PATIENCE_S)
        except (OSError, ValueError) as error:
            raise InputError(
                f"--scheduler {address}",
                f"does not answer, or has no workers ({error})",
                "Start `dask scheduler` and `dask worker`, and give its tcp:// address",
            ) from error
        _check_versions(client)
        # What all parts share is sent once, as a task: it may be large.
        opened.enter_context(config.set(_SETTINGS))
        yield Dask(client)


def _greet(address: str) -> None:
    """Raises OSError where no scheduler speaks: a client would wait for ever."""
    import distributed
    from distributed.comm import core

    async def greet() -> None:
        security = distributed.Security().get_connection_args("client")
        greeting = core.connect(address, PATIENCE_S, **security)
        (await asyncio.wait_for(greeting, PATIENCE_S)).abort()

    # In a thread of its own, for ours may have a loop, as in a notebook.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, greet()).result()


def _check_versions(client: Any) -> None:
    ours, name = scmultimodal.__version__, scmultimodal.__name__
    found = client.get_versions(packages=[name])["workers"]
    for worker, of_worker in found.items():
        if (theirs := of_worker["packages"][name]) != ours:
            raise InputError(
                f"worker {worker}",
                f"has version {theirs} of {name}, not {ours}",
                "Install the same version on all machines",
            )


def _count(workers: int | None) -> int:
    # Each has one thread: there is a process for each core.
    count = cores.num_cores() if workers is None else workers
    if count < 1:
        raise InputError("--workers", f"is {count}", "Give 1 or more")
    return count

"""The processes of one training, one a host: they agree, and notice a death.

Whoever starts the processes names their roles in the environment:

    SCMULTIMODAL_COORDINATOR=name:port  SCMULTIMODAL_HOSTS=2  SCMULTIMODAL_HOST=0

They meet (`training.meeting`), and stay connected: a host that dies hangs up, one that
hangs falls silent; host 0 tells the others, and all end at once, in words, with a
status that asks for a restart. A process without a role is alone, and every function
here does nothing.

On CPU the collectives are gloo's, which may abort the process before, at the broken
connection, without saying whose. Whoever starts the processes sees which was first.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import TypeVar

import jax

from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.status import Status
from scmultimodal.training import meeting
from scmultimodal.training.connection import Watch

Made = TypeVar("Made")

INITIALIZATION = 300
"""Seconds that jax has to connect hosts that have met."""
SETTLING = 2.0
"""Seconds that an error nobody expected waits for news of a lost host."""

_watch: Watch | None = None


def join(
    config: meeting.HostsConfig,
    identity: Mapping[str, str],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Meets the other hosts, then starts jax's collectives and the watch.

    Comes before anything asks jax for a device.

    Args:
        config: the role of this process.
        identity: what must be the same on all hosts: {"revision": …, "command": …}.
        check: raises InputError where this host is not fit to take part.

    Raises:
        InputError: on every host, with the same words: one came twice, runs something
            else, or is not fit.
        PassingError: one did not come.
    """
    global _watch
    try:
        check()
        problem = None
    except InputError as error:
        problem = str(error)
    connections, service = meeting.meet(config, identity, problem)
    jax.distributed.initialize(
        service,
        num_processes=config.hosts,
        process_id=config.host,
        # All are there: who is missing now has died since.
        initialization_timeout=INITIALIZATION,
        # Ours comes first: it says which host it is.
        heartbeat_timeout_seconds=int(4 * config.heartbeat_seconds) + 10,
    )
    _watch = Watch(connections, config.heartbeat_seconds, leader=config.host == 0)


def leave(status: int, reason: str | None = None) -> None:
    """Ends the part of this process; the others hear of it unless all is done.

    Before all is done it ends the process, and shows the traceback of an error that is
    being handled and that nobody expected: at exit, jax would wait for the others.

    Args:
        status: with which this process ends; 0 where its work is done.
        reason: why it ends before.
    """
    global _watch
    if _watch is None:
        return
    if not status:
        jax.distributed.shutdown()
    if status == Status.FAILED:
        # A collective that failed may be how a host's death is seen first: the watch
        # then ends this process as it should be, within this time.
        lost = isinstance(sys.exc_info()[1], jax.errors.JaxRuntimeError)
        time.sleep(SETTLING + lost * _watch.heartbeat_seconds)
    watch, _watch = _watch, None
    watch.leave(status, reason)
    if status:
        if status == Status.FAILED:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Returns once all hosts have come here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def made_by_main(make: Callable[[], Made], then: Callable[[], Made]) -> Made:
    """What the main host makes, on disk, and the others open when it is there."""
    made = make() if is_main() else None
    barrier("made by main")
    return then() if made is None else made


def of_main(number: int) -> int:
    """The number that the main host has, on every host."""
    if jax.process_count() == 1:
        return number
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(jax.numpy.int32(number)))

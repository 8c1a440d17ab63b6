"""Ctrl-C at a moment that suits: between two steps."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Within the context the first Ctrl-C only raises a flag; a second one interrupts.

    Yields a function that says whether the flag is up. An interrupt inside a step could
    leave a state that was half given away to the device.
    """
    raised = threading.Event()

    def handle(signum, frame):
        if raised.is_set():
            raise KeyboardInterrupt
        raised.set()

    # Only the main thread may set handlers; elsewhere Ctrl-C does not arrive anyway.
    if threading.current_thread() is not threading.main_thread():
        yield raised.is_set
        return
    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield raised.is_set
    finally:
        signal.signal(signal.SIGINT, previous)

"""Ctrl-C and SIGTERM at a moment that suits: between two steps."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

ASKING = (signal.SIGINT, signal.SIGTERM)
"""What a person and a scheduler (Slurm, Kubernetes, a spot machine) send."""


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], signal.Signals | None]]:
    """Within the context the first signal only raises a flag; a second one interrupts.

    Yields a function that returns the signal that came, or None. An interrupt inside a
    step could leave a state that was half given away to the device.
    """
    came: list[signal.Signals] = []

    def handle(signum, frame):
        if came:
            raise KeyboardInterrupt
        came.append(signal.Signals(signum))

    def first() -> signal.Signals | None:
        return came[0] if came else None

    # Only the main thread may set handlers; elsewhere no signal arrives anyway.
    if threading.current_thread() is not threading.main_thread():
        yield first
        return
    previous = {number: signal.signal(number, handle) for number in ASKING}
    try:
        yield first
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

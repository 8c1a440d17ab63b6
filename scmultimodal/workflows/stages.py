"""What a person sees while a workflow runs."""

import contextlib
import time
from collections.abc import Iterator


@contextlib.contextmanager
def stage(name: str) -> Iterator[list[str]]:
    """Prints what a stage found, and how long it took, once it is done."""
    start, found = time.monotonic(), []
    yield found
    seconds = f"{time.monotonic() - start:,.0f} s"
    print(f"{name:<25} {'; '.join([*found, seconds])}", flush=True)

"""Files that one process holds against others that share a folder."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def held(path: Path, *, wait: bool) -> Iterator[bool]:
    """Holds a file against other processes while it is open.

    The system lets go of it when the process ends, however it ends.

    Yields:
        Whether it is held: always after a wait, else unless another holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            mine = True
        except BlockingIOError:
            mine = False
        yield mine

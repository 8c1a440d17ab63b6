"""How much memory there is, was taken, and may be taken to open a stranger's file."""

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from scmultimodal.schemas.errors import InputError

ROOM = 2**30
PER_BYTE = 256
"""A name takes a few hundred bytes in Python, and a few when it is packed."""
_STATUS = Path("/proc/self/status")


@contextlib.contextmanager
def bounded(path: Path) -> Iterator[None]:
    """Lets a worker take no more than a sound file could need, on Linux.

    HDF5 believes what a damaged file says of the length of a text: one flipped bit of
    it takes gigabytes before the rest of the file is found not to fit.

    Args:
        path: the file, or a folder of files.

    Raises:
        InputError: more was wanted.
    """
    if sys.platform != "linux" or multiprocessing.parent_process() is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = _used() + ROOM + PER_BYTE * _size(path)
    limits = [n for n in (soft, hard) if n != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([most, *limits]), hard))
    try:
        yield
    except MemoryError as error:
        problem = f"takes more memory to open than {_size(path)} bytes should"
        raise InputError(path, problem, "Copy the file again") from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def total() -> int:
    """Bytes that this process may take: of its container, else of the machine.

    The same at every time, unlike what is free.
    """
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # No container, or without limit.
        return min(most, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return most


def peak() -> int:
    """The most bytes that this process has had in memory."""
    # Elsewhere than on Linux, and under kernels that only resemble it.
    with contextlib.suppress(OSError, IndexError):
        status = _STATUS.read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _used() -> int:
    """What the system counts towards the limit: data and stack."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[5])
    return pages * resource.getpagesize()


def _size(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())

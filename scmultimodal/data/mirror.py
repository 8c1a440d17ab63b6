"""A run folder that is kept in a bucket too: any other machine may go on from there.

Checkpoints are fetched and sent one by one, as they are used and made (`counterpart`).
All else is fetched when a run begins, and sent when it ends.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from scmultimodal.data import atomic, remote
from scmultimodal.schemas.errors import InputError

if TYPE_CHECKING:
    from etils import epath

LEFT = ("checkpoints", "best", "hosts", "pod")
"""Folders that are left alone: those of checkpoints, and what launchers (tpu/) keep."""

Stamps = dict[str, tuple[int, int]]
"""{relative path: (bytes, time of the last change)}."""

_kept: dict[Path, tuple["epath.Path", Stamps]] = {}
"""Run folders that are kept now: where, and which files are there as they are here."""


@contextlib.contextmanager
def kept(
    folder: Path, address: str | None, *, writes: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Within it a run folder is kept at an address too.

    What is there takes the place of what is here. Where the body raises, what there is
    by then is sent all the same, if it can be.

    Args:
        folder: of this machine.
        address: of a bucket; None keeps nothing.
        writes: whether this process is the one that writes there.

    Raises:
        InputError: the bucket cannot be read, or not be written.
    """
    if address is None:
        yield
        return
    folder, there = folder.absolute(), remote.at(address)
    with remote.access(there, "read"):
        names = remote.files(there, leave=LEFT)
        _copy(there, folder, names)
    sent = {name: stamp for name, stamp in _stamps(folder).items() if name in names}
    _kept[folder] = there, sent
    try:
        yield
    except BaseException:
        with contextlib.suppress(InputError):
            _send_changed(folder, there, sent, writes)
        raise
    else:
        _send_changed(folder, there, sent, writes)
    finally:
        del _kept[folder]


def counterpart(path: Path) -> "epath.Path | None":
    """Where a path of a run folder is kept too; None where it is not."""
    path = path.absolute()
    for folder, (there, _) in _kept.items():
        if path.is_relative_to(folder):
            return there / path.relative_to(folder).as_posix()
    return None


def send(path: Path) -> None:
    """Sends a file to its counterpart, where it has one.

    Raises:
        InputError: the bucket cannot be written.
    """
    if (there := counterpart(path)) is not None and path.exists():
        with remote.access(there, "written"):
            remote.copy(path, there)


def share(folder: Path, *, last: str) -> None:
    """Sends a folder of a run that other hosts will `take`; see `send_folder`.

    Not where the `last` file says that it is there, or where nothing is kept.

    Raises:
        InputError: the bucket cannot be read or written.
    """
    if (there := counterpart(folder)) is None:
        return
    with remote.access(there, "read"):
        same = (there / last).exists() and (
            (there / last).read_bytes() == (folder / last).read_bytes()
        )
    if not same:
        send_folder(folder, there, last=last)
    for whole, (_, sent) in _kept.items():
        if folder.absolute().is_relative_to(whole):
            inner = folder.absolute().relative_to(whole)
            sent |= {f"{inner}/{n}": stamp for n, stamp in _stamps(folder).items()}


def take(folder: Path, *, last: str) -> None:
    """Fetches what the main host has shared, where a run folder is kept.

    Not where the `last` file says that it is here.

    Raises:
        InputError: the bucket cannot be read.
    """
    if (there := counterpart(folder)) is None:
        return
    with remote.access(there, "read"):
        content = (there / last).read_bytes()
    if not (folder / last).exists() or (folder / last).read_bytes() != content:
        fetch_folder(there, folder)


def send_folder(folder: Path, there: "epath.Path", *, last: str) -> None:
    """Sends a folder of files; `last` is there once all others are.

    Raises:
        InputError: the bucket cannot be written.
    """
    names = [n for n in _stamps(folder) if n != last]
    with remote.access(there, "written"):
        _copy(folder, there, names)
        _copy(folder, there, [last])


def fetch_folder(there: "epath.Path", folder: Path) -> None:
    """Fetches a folder of files in place of what is here, whole or not at all.

    Raises:
        InputError: the bucket cannot be read.
    """
    with remote.access(there, "read"), atomic.folder(folder) as temporary:
        _copy(there, temporary, remote.files(there))


def _send_changed(
    folder: Path,
    there: "epath.Path",
    sent: Stamps,
    writes: Callable[[], bool],
) -> None:
    if writes():
        now = _stamps(folder)
        changed = [n for n in now if now[n] != sent.get(n) and not _is_left(n)]
        with remote.access(there, "written"):
            _copy(folder, there, changed)


def _stamps(folder: Path) -> Stamps:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_size,
            path.stat().st_mtime_ns,
        )
        for path in files
    }


def _is_left(name: str) -> bool:
    return any(part in LEFT for part in Path(name).parent.parts)


def _copy(source, target, names: Iterable[str]) -> None:
    with ThreadPoolExecutor(remote.FILES_AT_ONCE) as pool:
        list(pool.map(lambda name: remote.copy(source / name, target / name), names))

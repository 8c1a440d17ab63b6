"""Files and folders that appear whole or not at all."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from scmultimodal.schemas.errors import InputError


def write_bytes(path: Path, content: bytes) -> None:
    """Writes under a temporary name, syncs and renames; makes the folder."""
    with file(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def file(path: Path) -> Iterator[Path]:
    """Yields a temporary path, to be written to, that takes the place of `path`.

    If the body raises, `path` is as it was, and folders that were made for it are
    removed. A symbolic link stays one.
    """
    path = path.resolve()
    temporary = _sibling(path, "writing")
    with _above(path):
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _above(path: Path) -> Iterator[None]:
    """Makes the folders above a path; those that are empty at the end are removed."""
    missing = [above for above in path.parents if not above.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for above in missing:
            with contextlib.suppress(OSError):  # Not empty.
                above.rmdir()


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder that takes the place of `path` at the end.

    What stood at `path` is replaced; the caller decides whether it may be. If the
    body raises, the temporary folder is removed, with the folders above that were
    made for it, and `path` is as it was.
    """
    path = path.resolve()
    temporary = _sibling(path, "writing")
    with _above(path):
        try:
            temporary.mkdir()
            yield temporary
            for entry in (*temporary.rglob("*"), temporary):
                _sync(entry)
            _put_in_place(temporary, path)
            _sync(path.parent)
        finally:
            remove(temporary)


@contextlib.contextmanager
def files(target: Path, scratch: Path) -> Iterator[Path]:
    """Yields a temporary folder whose files move into `target` at the end.

    Each file is there whole, or not at all, even if several processes write the same
    one. If the body raises, none moves.

    Args:
        target: a folder; made if only its parent is there.
        scratch: a folder that is there, on the same file system. Once it is removed,
            nothing comes up in its place, however late a process writes.
    """
    temporary = scratch / f"{target.name}-{secrets.token_hex(4)}"
    temporary.mkdir()
    try:
        yield temporary
        target.mkdir(exist_ok=True)
        for file in sorted(temporary.iterdir()):
            file.replace(target / file.name)
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Removes a folder that others may still write into; they do not find it again."""
    removed = _sibling(path, "removed")
    with contextlib.suppress(OSError):
        path = path.rename(removed)
    shutil.rmtree(path, ignore_errors=True)


def check_writable(path: Path) -> None:
    """Raises where nothing could be written at `path`; creates nothing.

    Raises:
        InputError: a part of it is no folder, or may not be written to.
    """
    folder = path.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(path, f"{folder} is no folder", "choose another path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(path, f"{folder} may not be written to", "choose another path")


def check_apart(out: Path, read: Path) -> None:
    """Raises where what is written would take the place of what it is made from.

    Raises:
        InputError: both are one path, or what is read lies within `out`.
    """
    if read.resolve().is_relative_to(out.resolve()):
        problem = f"would take the place of {read}, which is read"
        raise InputError(out, problem, "Choose another --out")


def check_own(folder: Path, own: Collection[str]) -> None:
    """Raises where a folder that is to be replaced holds files of somebody's.

    Args:
        folder: what goes with all that is in it.
        own: its files that may go, by their path within it.

    Raises:
        InputError: names the first other one.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in own:
            problem = f"is no file that was written with {folder.name}, and would be lost"
            raise InputError(path, problem, "move it, or choose another folder")


def check_new_file(out: Path, *, like: str, overwrite: bool) -> None:
    """Raises where a file could not be written, before work is done for it.

    Args:
        out: the file.
        like: a name that would do, to tell people.
        overwrite: one may stand there.

    Raises:
        InputError: it is a folder, stands there already, or may not be written to.
    """
    check_writable(out.parent)
    if out.is_dir():
        raise InputError(out, "is a folder", f"Name a file, as {like}")
    if out.exists() and not overwrite:
        raise InputError(out, "exists", "Choose another file, or give --overwrite")


def _put_in_place(temporary: Path, path: Path) -> None:
    """Renames a folder; POSIX cannot rename it over a folder that holds files."""
    if not path.exists():
        temporary.rename(path)
        return
    replaced = _sibling(path, "replaced")
    path.rename(replaced)
    try:
        temporary.rename(path)
    except BaseException:
        replaced.rename(path)
        raise
    shutil.rmtree(replaced)


def _sibling(path: Path, purpose: str) -> Path:
    return path.with_name(f".{path.name}.{purpose}-{secrets.token_hex(4)}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

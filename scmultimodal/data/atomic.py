"""Files and folders that appear whole or not at all."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from scmultimodal.schemas.errors import InputError


def write_bytes(path: Path, content: bytes) -> None:
    """Writes under a temporary name, syncs and renames; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _sibling(path, "writing")
    try:
        temporary.write_bytes(content)
        _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder that takes the place of `path` at the end.

    What stood at `path` is replaced; the caller decides whether it may be. If the
    body raises, the temporary folder is removed and `path` is as it was.
    """
    path = path.resolve()
    temporary = _sibling(path, "writing")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for entry in (*temporary.rglob("*"), temporary):
            _sync(entry)
        _put_in_place(temporary, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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

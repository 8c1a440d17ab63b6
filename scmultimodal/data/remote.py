"""Files of a bucket; prepared datasets there are copied once to the disk of each host.

Cells are read at random from all shards, a thousand times over: from a disk.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tqdm

from scmultimodal.data import atomic, manifest
from scmultimodal.schemas.errors import InputError, PassingError

if TYPE_CHECKING:
    from etils import epath

CACHE = "SCMULTIMODAL_CACHE"
"""Environment variable that names the folder for copies."""

FILES_AT_ONCE = 8
_LASTING = (
    *(FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError),
    *(FileExistsError, ImportError, NotImplementedError),
    *(ValueError, TypeError, LookupError, AttributeError),
)
_REFUSED = re.compile(
    r"\b40[13]\b|Forbidden|Unauthorized|does not have .* access|credentials"
    r"|Reauthentication",
    re.IGNORECASE,
)
_PART = 2**23
"""Bytes that are in memory at a time."""


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is one of a bucket: `gs://…`, `s3://…`, `file://…`."""
    return "://" in os.fspath(path)


def at(address: str | os.PathLike) -> "epath.Path":
    """A path of a bucket; `file:///…` is a folder that stands for one."""
    from etils import epath
    from fsspec import config

    # What was listed once would hide what other machines write since (gcsfs).
    config.conf.setdefault("gcs", {})["use_listings_cache"] = False
    return epath.Path(os.fspath(address).removeprefix("file://"))


@contextlib.contextmanager
def access(address: "str | epath.Path", done: str) -> Iterator[None]:
    """Names the address where a bucket raises; each kind has errors of its own.

    Args:
        address: that is read or written.
        done: what cannot be done there: "read" or "written".

    Raises:
        InputError: anything was raised that lasts.
        PassingError: anything else: a connection was lost, say.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        lasts = isinstance(error, _LASTING) or _REFUSED.search(str(error))
        raise (InputError if lasts else PassingError)(
            os.fspath(address),
            f"cannot be {done} ({type(error).__name__}: {error})",
            "check address and credentials (gs:// takes the extra gcs)",
        ) from error


def files(folder: "epath.Path", *, leave: Collection[str] = ()) -> list[str]:
    """Relative paths of the files of a folder and of those below.

    Args:
        folder: of a bucket; none there is an empty one.
        leave: names of folders, wherever they are, that are not looked into.
    """
    if not folder.exists():
        return []
    names: list[str] = []
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            names.append(path.name)
        elif path.name not in leave:
            names += [f"{path.name}/{n}" for n in files(path, leave=leave)]
    return names


def write(path: "epath.Path | Path", content: bytes) -> None:
    """Writes a file so that it is there whole or not at all; makes its folder."""
    with _whole(path) as writer:
        writer.write(content)


def copy(source: "epath.Path | Path", path: "epath.Path | Path") -> str:
    """Copies a file as `write` does, a part at a time; returns the sha256 of it."""
    found = hashlib.sha256()
    with source.open("rb") as reader, _whole(path) as writer:
        while part := reader.read(_PART):
            found.update(part)
            writer.write(part)
    return found.hexdigest()


@contextlib.contextmanager
def _whole(path: "epath.Path | Path") -> Iterator[Any]:
    """Yields what to write to."""
    if is_remote(path):
        writer = path.open("wb")
        try:
            yield writer
        except BaseException:
            # Its own `with` would close it, which is what puts it there.
            with contextlib.suppress(Exception):
                writer.discard()
                writer.closed = True
            raise
        writer.close()
        return
    with atomic.file(Path(path)) as part, part.open("wb") as writer:
        yield writer


def local_copy(path: str | os.PathLike) -> Path:
    """The folder of this machine that holds a prepared dataset of a bucket.

    It is copied where this was not done before; what the manifest says of each file is
    checked on the way. The copy is named by the digest of the manifest, so that another
    dataset at the same address is another copy.

    Raises:
        InputError: there is no prepared dataset, a file of it is damaged, or the bucket
            cannot be reached.
    """
    source = at(path)
    with access(path, "read as a prepared dataset"):
        text = (source / manifest.FILE_NAME).read_text()
        content = json.loads(text)
        target = _cache() / content["digest"][:32]
        files = content["files"]
    if not target.is_dir():
        with access(path, "read"), atomic.folder(target) as folder:
            _copy_files(source, folder, files)
            (folder / manifest.FILE_NAME).write_text(text)
    return target


def _cache() -> Path:
    import pooch

    return Path(os.environ.get(CACHE) or pooch.os_cache("scmultimodal")) / "stores"


def _copy_files(
    source: "epath.Path", folder: Path, files: dict[str, dict[str, Any]]
) -> None:
    def checked(item: tuple[str, dict[str, Any]]) -> int:
        name, expected = item
        if copy(source / name, folder / name) != expected["sha256"]:
            problem = "does not match the sha256 in the manifest"
            raise InputError(source / name, problem, "Copy the dataset there again")
        return expected["bytes"]

    total = sum(expected["bytes"] for expected in files.values())
    bar = tqdm.tqdm(
        total=total, desc=f"copying {source.name}", unit="B", unit_scale=True,
        disable=None, delay=2,
    )  # fmt: skip
    with bar, ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        for size in pool.map(checked, files.items()):
            bar.update(size)

"""Prepared datasets in a bucket: copied once to the disk of each host.

Cells are read at random from all shards, a thousand times over: from a disk.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tqdm

from scmultimodal.data import atomic, manifest
from scmultimodal.schemas.errors import InputError

CACHE = "SCMULTIMODAL_CACHE"
"""Environment variable that names the folder for copies."""

_FILES_AT_ONCE = 8


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is one of a bucket: `gs://…`, `s3://…`."""
    return "://" in os.fspath(path)


def local_copy(path: str | os.PathLike) -> Path:
    """The folder of this machine that holds a prepared dataset of a bucket.

    It is copied where this was not done before; what the manifest says of each file is
    checked on the way. The copy is named by the digest of the manifest, so that another
    dataset at the same address is another copy.

    Raises:
        InputError: there is no prepared dataset, a file of it is damaged, or the bucket
            cannot be reached.
    """
    from etils import epath

    source = epath.Path(os.fspath(path))
    try:
        content = json.loads((source / manifest.FILE_NAME).read_text())
        digest, files = content["digest"], content["files"]
    except Exception as error:  # each back end raises its own
        raise InputError(
            path,
            f"cannot be read as a prepared dataset ({type(error).__name__}: {error})",
            "Check address and credentials; gs:// takes the extra gcs",
        ) from error
    target = _cache() / digest[:32]
    if not target.is_dir():
        with atomic.folder(target) as folder:
            _copy_files(source, folder, files)
            manifest_file = source / manifest.FILE_NAME
            (folder / manifest.FILE_NAME).write_bytes(manifest_file.read_bytes())
    return target


def _cache() -> Path:
    import pooch

    return Path(os.environ.get(CACHE) or pooch.os_cache("scmultimodal")) / "stores"


def _copy_files(source: Any, folder: Path, files: dict[str, dict[str, Any]]) -> None:
    def copy(item: tuple[str, dict[str, Any]]) -> int:
        name, expected = item
        content = (source / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != expected["sha256"]:
            problem = "does not match the sha256 in the manifest"
            raise InputError(source / name, problem, "Copy the dataset there again")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return len(content)

    total = sum(expected["bytes"] for expected in files.values())
    bar = tqdm.tqdm(
        total=total, desc=f"copying {source.name}", unit="B", unit_scale=True,
        disable=None, delay=2,
    )  # fmt: skip
    with bar, ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        for size in pool.map(copy, files.items()):
            bar.update(size)

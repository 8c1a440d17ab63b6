"""The manifest of a prepared dataset: what it holds, and the sha256 of every file."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scmultimodal.data.shards import REMEDY
from scmultimodal.schemas.errors import InputError

FILE_NAME = "manifest.json"
KIND = "scmultimodal.cells"
SCHEMA_VERSION = 1


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes the manifest of a folder whose other files are complete."""
    manifest = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        **content,
        "files": _fingerprints(folder),
    }
    manifest["digest"] = _digest(manifest)
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    (folder / FILE_NAME).write_text(text, encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """Reads and checks a manifest.

    Raises:
        InputError: there is none, it is damaged or from another version.
    """
    file = path / FILE_NAME
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        kind, version = manifest["kind"], manifest["schema_version"]
    except (FileNotFoundError, NotADirectoryError):
        problem = "is no prepared dataset: it has no manifest.json"
        raise InputError(path, problem, "Run `scmultimodal prepare` first") from None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(file, f"cannot be read ({error})", REMEDY) from None
    if (kind, version) != (KIND, SCHEMA_VERSION):
        problem = f"is {kind!r} version {version}, not {KIND!r} {SCHEMA_VERSION}"
        raise InputError(file, problem, "Prepare the data with this version")
    if manifest.get("digest") != _digest(manifest):
        raise InputError(file, "does not match its own sha256", REMEDY)
    return manifest


def check_files(path: Path, files: Mapping[str, Mapping], verify: bool) -> None:
    """Compares the files with the manifest.

    Args:
        path: the prepared dataset.
        files: the manifest's entry `files`.
        verify: compares the sha256 of the large arrays too, not their size alone.

    Raises:
        InputError: a file is missing or not what it was; names it.
    """
    for name, expected in files.items():
        file = path / name
        if not file.is_file():
            raise InputError(file, "is missing", REMEDY)
        size = file.stat().st_size
        if size != expected["bytes"]:
            problem = f"has {size} bytes instead of {expected['bytes']}"
            raise InputError(file, problem, REMEDY)
        large = name.startswith("shards/") and not name.endswith(".indptr.npy")
        if (verify or not large) and _sha256(file) != expected["sha256"]:
            raise InputError(file, "does not match the sha256 in the manifest", REMEDY)


def check_target(path: Path, overwrite: bool) -> None:
    """Raises InputError where a dataset may not be written."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    try:
        ours = json.loads((path / FILE_NAME).read_bytes())["kind"] == KIND
    except (KeyError, OSError, TypeError, ValueError):
        ours = False
    if not ours:
        problem = "exists and is not a prepared dataset"
        raise InputError(path, problem, "Choose another folder; nothing was written")
    if not overwrite:
        problem = "already holds a prepared dataset"
        raise InputError(path, problem, "Choose another folder, or ask to overwrite it")


def _fingerprints(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        file.relative_to(folder).as_posix(): {
            "bytes": file.stat().st_size,
            "sha256": _sha256(file),
        }
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(manifest: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()

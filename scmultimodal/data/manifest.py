"""The manifest of a prepared dataset: what it holds, and the sha256 of every file."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scmultimodal.data import atomic
from scmultimodal.data.shards import REMEDY
from scmultimodal.schemas.errors import InputError

FILE_NAME = "manifest.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """A kind of prepared dataset.

    Attributes:
        kind: its name.
        version: of its files.
        command: what prepares one.
        large: pattern of the files whose sha256 is compared on demand alone.
    """

    kind: str
    version: int
    command: str
    large: str


CELLS = Form(
    kind="scmultimodal.cells",
    version=1,
    command="prepare",
    large=r"shards/.*(?<!\.indptr)\.npy",
)
REGIONS = Form(
    kind="scmultimodal.regions",
    version=1,
    command="prepare-ranking",
    large=r"tokens\.npy",
)

ELEMENTS = Form(
    kind="scmultimodal.elements",
    version=1,
    command="prepare-segmentation",
    large=r"(letters|labels)\.npy",
)


def write(folder: Path, content: Mapping[str, Any], form: Form = CELLS) -> None:
    """Writes the manifest of a folder whose other files are complete."""
    manifest = {
        "kind": form.kind,
        "schema_version": form.version,
        **content,
        "files": _fingerprints(folder),
    }
    manifest["digest"] = _digest(manifest)
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    (folder / FILE_NAME).write_text(text, encoding="utf-8")


def read(path: Path, form: Form = CELLS) -> dict[str, Any]:
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
        remedy = f"Run `scmultimodal {form.command}` first"
        raise InputError(path, problem, remedy) from None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(file, f"cannot be read ({error})", REMEDY) from None
    if (kind, version) != (form.kind, form.version):
        problem = f"is {kind!r} version {version}, not {form.kind!r} {form.version}"
        raise InputError(file, problem, "Prepare the data with this version")
    if manifest.get("digest") != _digest(manifest):
        raise InputError(file, "does not match its own sha256", REMEDY)
    return manifest


def check_files(
    path: Path, files: Mapping[str, Mapping], verify: bool, form: Form = CELLS
) -> None:
    """Compares the files with the manifest.

    Args:
        path: the prepared dataset.
        files: the manifest's entry `files`.
        verify: compares the sha256 of the large arrays too, not their size alone.
        form: the kind of dataset.

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
        large = re.fullmatch(form.large, name)
        if (verify or not large) and _sha256(file) != expected["sha256"]:
            raise InputError(file, "does not match the sha256 in the manifest", REMEDY)


def check_target(path: Path, overwrite: bool, form: Form = CELLS) -> None:
    """Looks whether a dataset may be written.

    Raises:
        InputError: nothing may be written there; something else stands there, or
            files beside the dataset that would go with it.
    """
    atomic.check_writable(path.parent)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    try:
        manifest = json.loads((path / FILE_NAME).read_bytes())
        ours, own = manifest["kind"] == form.kind, {*manifest["files"], FILE_NAME}
    except (KeyError, OSError, TypeError, ValueError):
        ours, own = False, set()
    if not ours:
        problem = "exists and is not a prepared dataset"
        raise InputError(path, problem, "Choose another folder; nothing was written")
    if not overwrite:
        problem = "already holds a prepared dataset"
        raise InputError(path, problem, "Choose another folder, or ask to overwrite it")
    atomic.check_own(path, own)


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

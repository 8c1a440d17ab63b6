"""What every model folder has in common: tensors and JSON, whole and checked.

config.json holds the sha256 of the files beside it, and its own. No pickle, no Orbax.
An exported folder has companions too, which a model is read without: programs, a
loader, a card for people, who may change the card.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from scmultimodal.data import atomic
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import Array
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import hub

CONFIG, CARD = "config.json", "README.md"
TENSORS, REFERENCE = "model.safetensors", "reference.safetensors"
REMEDY = "copy the model folder again, or export it anew"

Tree = Mapping[str, Mapping[str, Array]]
"""{module: {name: array}}: parameters, or state."""


@contextlib.contextmanager
def writing(
    folder: Path,
    *,
    format: str,
    version: int,
    config: Any,
    companions: Mapping[str, bytes],
) -> Iterator[Path]:
    """Yields a folder to write a model's files into; adds config.json at the end.

    It takes the place of `folder`, whole or not at all; an older model there goes.

    Args:
        folder: where it shall stand.
        format: what the model is.
        version: of the format.
        config: a dataclass of what it is in particular.
        companions: further files by name.

    Raises:
        InputError: where `folder` holds something else than a model of this format, or
            a file that is none of the model's.
    """
    check_replaceable(folder, format)
    with atomic.folder(folder) as new:
        yield new
        content = {
            "format": format,
            "format_version": version,
            "model": configs.to_json(config),
            "sha256": {path.name: sha256(path) for path in sorted(new.iterdir())},
        }
        for name, text in companions.items():
            (new / name).write_bytes(text)
        if summed := sorted({*companions} - {CARD}):
            content["companions"] = {name: sha256(new / name) for name in summed}
        (new / CONFIG).write_text(_vouched(content))


def check_replaceable(folder: Path, format: str, *, overwrite: bool = True) -> None:
    """Looks whether a model may be written at `folder`.

    Args:
        folder: may be missing, or empty.
        format: what the model is.
        overwrite: whether an older model of that format may go.

    Raises:
        InputError: something stands there that is to stay.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise InputError(folder, "exists", "Choose another --out, or give --overwrite")
    try:
        config = read_json(folder / CONFIG)
    except InputError:
        config = {}
    if config.get("format") != format:
        problem = f"holds something else than a {format}"
        raise InputError(folder, problem, "choose another folder")
    for path in sorted(folder.iterdir()):
        if not _is_own(path, config):
            problem = f"is no file of the {format} in its folder, which would be lost"
            raise InputError(path, problem, "move it, or choose another folder")


def _is_own(path: Path, config: Mapping[str, Any]) -> bool:
    """Whether an entry of a model folder is one that its config lists."""
    if path.name == "__pycache__":  # Python makes it where evaluate.py is imported.
        return all(file.suffix == ".pyc" for file in path.rglob("*"))
    listed = {CONFIG, CARD, *config.get("sha256", ()), *config.get("companions", ())}
    return path.is_file() and path.name in listed


def open_checked(
    folder: Path, *, format: str, version: int, files: Collection[str]
) -> dict[str, Any]:
    """Checks a model folder's files against their sha256; returns its "model" entry.

    Raises:
        InputError: a file that is missing or damaged, or another format or version.
    """
    path = folder / CONFIG
    content = read_json(path)
    try:
        found, found_version = content["format"], content["format_version"]
        sums, model = content["sha256"], content["model"]
    except KeyError as error:
        raise InputError(path, f"has no entry {error}", REMEDY) from None
    if found != format:
        raise InputError(path, f"is a {found}, no {format}", "give another folder")
    if found_version != version:
        raise InputError(
            path,
            f"has format version {found_version}, this is {version}",
            "read it with the scmultimodal version that wrote it",
        )
    for name in files:
        _check_sum(folder / name, sums.get(name))
    # Folders of older revisions say nothing of config.json itself.
    changed = CONFIG in sums and path.read_text() != _vouched(content)
    if changed or not set(sums) <= {*files, CONFIG}:
        raise InputError(path, "was changed since it was written", REMEDY)
    return model


def check_companions(folder: Path) -> list[str]:
    """Checks the companions of a model folder; returns their names.

    Raises:
        InputError: one is missing, or differs from its sha256.
    """
    sums = read_json(folder / CONFIG).get("companions", {})
    for name, expected in sums.items():
        _check_sum(folder / name, expected)
    return list(sums)


def _vouched(content: Mapping[str, Any]) -> str:
    """The text of a config.json, with its own sha256 among the others."""
    sums = {name: of for name, of in content["sha256"].items() if name != CONFIG}
    whole = {**content, "sha256": sums}
    own = hashlib.sha256(json.dumps(whole).encode()).hexdigest()
    whole["sha256"] = {**sums, CONFIG: own}
    return json.dumps(whole, indent=1) + "\n"


def find(folder: str | os.PathLike) -> Path:
    """The model folder at, or directly inside, a folder, or an address of the hub.

    Raises:
        InputError: there is none, or it cannot be fetched.
    """
    folder = hub.download(folder) if hub.is_address(folder) else Path(folder)
    for candidate in (folder, folder / "model"):
        if (candidate / CONFIG).exists() and (candidate / TENSORS).exists():
            return candidate
    raise InputError(
        folder,
        "is no model: neither it nor its folder model/ has config.json and " + TENSORS,
        "give a run folder (such as runs/demo), an exported model, or hf://owner/name",
    )


def flatten(prefix: str, tree: Tree) -> dict[str, Array]:
    """{module: {name: array}} as {"prefix/module/name": array}."""
    return {
        f"{prefix}/{module}/{name}": leaf
        for module, leaves in tree.items()
        for name, leaf in leaves.items()
    }


def unflatten(prefix: str, tensors: Mapping[str, Array]) -> Tree:
    """The tree that `flatten` took apart; other prefixes are left out."""
    tree: dict[str, dict[str, Array]] = {}
    for key, leaf in tensors.items():
        kind, rest = key.split("/", 1)
        if kind == prefix:
            module, name = rest.rsplit("/", 1)
            tree.setdefault(module, {})[name] = leaf
    return tree


def write_tensors(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes arrays; scalars stay scalars."""
    # Not ascontiguousarray: it would make a vector of a scalar.
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    path.touch()
    mode = path.stat().st_mode
    safetensors_numpy.save_file(whole, path)
    path.chmod(mode)  # save_file leaves 0600, whatever the umask says.


def read_tensors(path: Path, remedy: str = REMEDY) -> dict[str, np.ndarray]:
    """Reads a safetensors file.

    Raises:
        InputError: it cannot be read, or holds numbers that numpy has no type for.
    """
    try:
        return safetensors_numpy.load_file(path)
    except (AttributeError, KeyError, TypeError) as error:  # BF16, F8 and their like
        problem = f"holds numbers of a type that numpy does not know ({error})"
        raise InputError(path, problem, "store its tensors as float32") from error
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})", remedy) from error


def read_json(path: Path, remedy: str = REMEDY) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        InputError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})", remedy) from error
    if not isinstance(content, dict):
        raise InputError(path, "holds no JSON object", remedy)
    return content


def _check_sum(path: Path, expected: str | None) -> None:
    if not path.exists():
        raise InputError(path, "is missing", REMEDY)
    if sha256(path) != expected:
        raise InputError(path, "differs from the sha256 in config.json", REMEDY)


def sha256(path: Path) -> str:
    """Of the bytes of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

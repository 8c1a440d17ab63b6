"""Which code and which data a result comes from, and what ran it where."""

import collections
import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

import scmultimodal
from scmultimodal.data import atomic
from scmultimodal.data.store import Store
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.training import hosts
from scmultimodal.weights.genome_model import StoredGenomeModel

PACKAGES = ("jax", "dm-haiku", "optax", "numpy", "scipy", "anndata")
RUN = ("command", "started", "environment")
"""What `of_run` tells: it may differ when a run goes on."""
ADDRESS = "address"
"""Where the data of a run were, as it was given: they may have been moved since."""
CONFIG = "config.json"
FITTED = "fitted"
"""What was changed of the settings to serve the cells: told by these alone."""
REVISION = "SCMULTIMODAL_REVISION"
"""Environment variable that tells the revision of code without its history."""


def of_code() -> dict[str, Any]:
    """Version, git revision and the packages that matter."""
    return {
        "scmultimodal": scmultimodal.__version__,
        "revision": git_revision(),
        "versions": {p: importlib.metadata.version(p) for p in PACKAGES},
    }


def of_run() -> dict[str, Any]:
    """Command line, when it began, and the machine: Python, system, devices."""
    program, *arguments = sys.orig_argv
    devices = collections.Counter(device.device_kind for device in jax.devices())
    return {
        "command": shlex.join([Path(program).name, *arguments]),
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "environment": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "devices": dict(devices),
        },
    }


def of_folder(out: Path) -> dict[str, Any]:
    """What `write_config` wrote of code and run, without the settings."""
    config = json.loads((out / CONFIG).read_text())
    return {name: config[name] for name in (*of_code(), *RUN)}


def of_model(store: Store, **fields: Any) -> dict[str, Any]:
    """Where a model comes from: data, all and training cells of them, code, and how."""
    return {
        "data": store.manifest["provenance"].get("name"),
        "cells": _of_names(store.obs.index),
        "training_cells": _of_names(store.obs.index[store.split("train")]),
        **of_code(),
        **fields,
    }


def check_split(store: Store, model: Mapping[str, Any], *, remedy: str) -> None:
    """Keeps cells that a model was trained on out of those that judge it.

    Cells decide, whatever the data are called. Of models that do not say which cells
    there were, the name of the data does.

    Args:
        store: data to train further on, and to judge by.
        model: what `of_model` said of the model that is started from.
        remedy: what to do.

    Raises:
        InputError: the model was trained on the same cells, split otherwise.
    """
    here = of_model(store)
    key = "cells" if "cells" in model else "data"
    trained = model.get("training_cells")
    if model.get(key) == here[key] and trained not in (None, here["training_cells"]):
        problem = f"splits {here['data']} in another way than the data of the model"
        raise InputError(store.path, f"{problem}: it may know test cells", remedy)


def of_start(start: StoredGenomeModel | None) -> dict[str, Any]:
    """The model that a run starts from, if any: a resume wants the same."""
    if start is None:
        return {}
    return {"start_sha256": digest(*jax.tree.leaves(start.params))}


def _of_names(cells: Iterable[object]) -> str:
    """The sha256 of names, in whichever order they stand."""
    return hashlib.sha256("\n".join(sorted(map(str, cells))).encode()).hexdigest()


def of_file(path: Path) -> dict[str, Any]:
    """Name, size and sha256 of a file, which is read as a stream."""
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": found}


def files_of(path: Path) -> list[Path]:
    """The path itself, or the files of a folder; none where nothing is there."""
    paths = sorted(path.iterdir()) if path.is_dir() else [path]
    return [one for one in paths if one.is_file()]


def check_config(out: Path, config: Mapping[str, Any], *, resume: bool) -> None:
    """Refuses a folder whose checkpoints this run may not go on from.

    Comes before anything is written. Code and command may differ from those of the
    run in the folder.

    Raises:
        InputError: nothing may be written there, no resuming is wanted, or the first
            setting that differs.
    """
    atomic.check_writable(out)
    path = out / CONFIG
    if not path.is_file() or not any(out.glob("**/checkpoints/*")):
        return
    if not resume:
        raise InputError(
            out, "has a checkpoint, and resume is 'never'", "choose another --out"
        )
    difference = configs.first_difference(
        json.loads(path.read_text()),
        _as_json({**of_code(), **config}),
        ignore={*of_code(), *RUN, ADDRESS, FITTED, "bucket", "resume", "running"},
    )
    if difference is not None:
        name, old, new = difference
        raise InputError(
            path,
            f"the run in this folder has {name} = {old!r}, not {new!r}",
            "resume with the settings of the run, or choose another --out",
        )


def write_config(out: Path, config: Mapping[str, Any]) -> None:
    """Writes `config.json`: all that a run depends on. One host of many does.

    What `config` says of the command takes the place of what `of_run` says.
    """
    if not hosts.is_main():
        return
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**of_code(), **of_run(), **_as_json(config)}, indent=1)
    atomic.write_text(out / CONFIG, text + "\n")


def fitted(asked: Any, taken: Any) -> dict[str, Any]:
    """By dotted name what a configuration has that was fitted to the cells."""
    old, new = (_as_json(configs.to_json(one)) for one in (asked, taken))
    return {name: value for name, _, value in configs.differences(old, new)}


def _as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: tuples are lists, paths are text."""
    return json.loads(json.dumps(config, default=str))


def digest(*arrays: np.ndarray) -> str:
    """sha256 of arrays: the same where types, shapes and numbers are."""
    found = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(array.data)
    return found.hexdigest()


@functools.cache
def git_revision() -> str | None:
    """Revision of the source tree that runs, with "+" where it was changed.

    Code that was unpacked has no history: what the environment names is taken.
    As it was when first asked: code that is loaded does not change with a commit.
    """
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return os.environ.get(REVISION)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        code = ("scmultimodal", "experiments")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", *code)
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None

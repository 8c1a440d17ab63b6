"""Which code and which data a result comes from."""

import importlib.metadata
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import scmultimodal
from scmultimodal.data import atomic
from scmultimodal.data.store import Store

PACKAGES = ("jax", "dm-haiku", "optax", "numpy", "scipy", "anndata")


def of_code() -> dict[str, Any]:
    """Version, git revision and the packages that matter."""
    return {
        "scmultimodal": scmultimodal.__version__,
        "revision": git_revision(),
        "versions": {p: importlib.metadata.version(p) for p in PACKAGES},
    }


def of_model(store: Store, **fields: Any) -> dict[str, Any]:
    """Where a model comes from: data, code, and how it was trained."""
    return {"data": store.manifest["provenance"].get("name"), **of_code(), **fields}


def write_config(out: Path, config: Mapping[str, Any]) -> None:
    """Writes `config.json`: all that a run depends on."""
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**of_code(), **config}, indent=1, default=str)
    atomic.write_text(out / "config.json", text + "\n")


def git_revision() -> str | None:
    """Revision of the source tree that runs, with "+" where it was changed."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", ".")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None

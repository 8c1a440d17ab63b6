"""Data of a study: pushed into the bucket once, fetched by each machine, checked.

Beside what was pushed, a file or a folder, lies its list, `NAME.list.json`: size and
sha256 of every file. What was broken off goes on: files that the bucket has as they are
here are not sent again, files that are there whole are not fetched again.
"""

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tqdm
from etils import epath

from scmultimodal.data import remote
from scmultimodal.schemas.errors import InputError

LIST, PART = ".list.json", ".list.part.json"
SAVE_EVERY = 10.0
"""Seconds after which what was sent so far is listed in the bucket."""

Files = dict[str, dict[str, Any]]
"""{relative path, "" of a file alone: {"bytes", "sha256"}}."""


def push(path: Path, address: str) -> Files:
    """Sends a file or a folder; returns what had to be sent.

    Args:
        path: of this machine.
        address: in a bucket, of the file or folder there.

    Raises:
        InputError: nothing is there, a file changes meanwhile, or the bucket cannot be
            written.
    """
    sources, target = _sources(path), remote.at(address)
    whole = _read(target, LIST)
    there = {**whole, **_read(target, PART)}
    listed: Files = {}
    sent: Files = {}
    saved = time.monotonic()
    with _bar("sending", sum(p.stat().st_size for p in sources.values())) as bar:
        for name, source in sources.items():
            listed[name] = _fact(source)
            if there.get(name) != listed[name]:
                _send(source, _inside(target, name), listed[name])
                sent[name] = listed[name]
            bar.update(listed[name]["bytes"])
            if time.monotonic() > saved + SAVE_EVERY:
                _write(target, PART, {**there, **listed})
                saved = time.monotonic()
    if whole != listed:
        _write(target, LIST, listed)
    _beside(target, PART).unlink(missing_ok=True)
    return sent


def fetch(address: str, folder: Path) -> Path:
    """Fetches what was pushed; returns its path, the same on all machines.

    Args:
        address: in a bucket.
        folder: of this machine, for all that is fetched.

    Raises:
        InputError: it was not pushed, or differs from its list.
    """
    source, listed = remote.at(address), find(address)
    digest = hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()
    target = folder / digest[:16] / source.name
    lacking = {n: f for n, f in listed.items() if not _inside(target, n).exists()}

    def get(item: tuple[str, dict[str, Any]]) -> int:
        name, fact = item
        _fetch(_inside(source, name), _inside(target, name), fact)
        return fact["bytes"]

    total = sum(fact["bytes"] for fact in lacking.values())
    with (
        _bar("fetching", total) as bar,
        ThreadPoolExecutor(remote.FILES_AT_ONCE) as pool,
    ):
        for size in pool.map(get, lacking.items()):
            bar.update(size)
    return target


def find(address: str) -> Files:
    """The list of what was pushed.

    Raises:
        InputError: there is none.
    """
    with remote.access(address, "read"):
        listed = _read(remote.at(address), LIST)
    if listed:
        return listed
    raise InputError(
        address,
        "was not pushed, or not to its end",
        "run `python -m tpu push PATH`, which says the address",
    )


def _sources(path: Path) -> dict[str, Path]:
    """By relative path; that of a file alone is empty."""
    if path.is_file():
        return {"": path}
    files = [p for p in sorted(path.rglob("*")) if p.is_file()]
    if not files:
        raise InputError(path, "is no file, nor a folder with files", "Name one")
    return {p.relative_to(path).as_posix(): p for p in files}


def _fact(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _send(source: Path, target: epath.Path, fact: dict[str, Any]) -> None:
    with remote.access(target, "written"):
        found = remote.copy(source, target)
    if found != fact["sha256"]:
        raise InputError(source, "changed while it was sent", "push it again")


def _fetch(source: epath.Path, target: Path, fact: dict[str, Any]) -> None:
    part = target.with_name(f".{target.name}.part")
    with remote.access(source, "read"):
        found = remote.copy(source, part)
    if found != fact["sha256"]:
        part.unlink()
        raise InputError(source, "is not what its list says (sha256)", "push it again")
    part.replace(target)


def _inside(whole: Any, name: str) -> Any:
    return whole / name if name else whole


def _beside(whole: epath.Path, end: str) -> epath.Path:
    return whole.parent / (whole.name + end)


def _read(whole: epath.Path, end: str) -> Files:
    path = _beside(whole, end)
    return json.loads(path.read_text()) if path.exists() else {}


def _write(whole: epath.Path, end: str, files: Files) -> None:
    content = json.dumps(files, indent=1) + "\n"
    remote.write(_beside(whole, end), content.encode())


def _bar(what: str, total: int) -> tqdm.tqdm:
    return tqdm.tqdm(
        total=total, desc=what, unit="B", unit_scale=True, disable=None, delay=2
    )

"""Work that is done once: each job's result is kept under the hash of what it is.

    FOLDER/SECTION/HASH/result.json    beside whatever files the job leaves
    FOLDER/SECTION/HASH.lock           held by the process that does it

Several processes may share a folder: each job is done by one of them.
A run that was ended goes on with the jobs that have no result. A job whose settings
change, or those of one that it needs, has another hash, and is done anew; one whose
code changes, or a default that it leans on, is not: raise `VERSION` with a change that
moves numbers.
"""

import dataclasses
import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tqdm

from scmultimodal.data import atomic, locks
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import provenance

FILE = "result.json"
VERSION = 1
"""Of code and defaults. Raised, it gives every job another name: all are done anew."""


class NothingToJudgeError(Exception):
    """Raised by what a job computes where its cells cannot be judged so.

    The message, which is kept, says why; the table leaves the rows out. A job that
    needs one that was left out is left out too.
    """


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One measurement.

    Attributes:
        section: the table it belongs to.
        settings: all that its result depends on; anything that JSON holds.
        compute: given the folder for its files and those of the jobs it needs, returns
            the result; anything that JSON holds. NaN, of what could not be judged, is
            kept as None.
        needs: jobs that are done before.
    """

    section: str
    settings: Mapping[str, Any]
    compute: Callable[[Path, Sequence[Path]], Mapping[str, Any]]
    needs: Sequence["Job"] = ()

    @property
    def key(self) -> str:
        """The hash of section, settings, and the keys of what it needs."""
        whole = [self.section, self.settings, [job.key for job in self.needs]]
        if VERSION > 1:  # The names of the first version are without it.
            whole.append(VERSION)
        text = json.dumps(whole, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def place(self, folder: Path) -> Path:
        """Where its result and its files are."""
        return folder / self.section / self.key


def numbers(config: Any) -> dict[str, Any]:
    """A configuration for a job's settings: what is not at its default.

    So an option that is added later, and off, leaves results where they are. A default
    that changes would go unnoticed: `tests/golden/job_defaults.json` holds them all.
    """
    found = {}
    for field in dataclasses.fields(config):
        value, default = getattr(config, field.name), field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if value != default:
            nested = dataclasses.is_dataclass(value)
            found[field.name] = numbers(value) if nested else value
    return found


def run(jobs: Sequence[Job], folder: Path) -> list[dict[str, Any]]:
    """Does what is not done yet, and returns all results in the order of the jobs.

    Args:
        jobs: no two with the same settings. What they need is done too, once.
        folder: where results are kept.

    Returns:
        For each job: section, settings, result, seconds, revision. Where its cells
        cannot be judged so, the result is None, and "why" says why.

    Raises:
        InputError: a kept result is damaged, or two jobs are the same.
    """
    provenance.git_revision()  # Of the code as it is loaded now.
    keys = [job.key for job in jobs]
    if twice := {key for key in keys if keys.count(key) > 1}:
        first = jobs[keys.index(min(twice))]
        raise InputError(
            first.section, f"{dict(first.settings)} is there twice", "Name each once"
        )
    waiting: dict[str, Job] = {}
    for job in jobs:
        _gather(job, folder, waiting)
    with tqdm.tqdm(total=len(waiting), desc="jobs", unit="job", disable=None) as bar:
        while waiting:
            ready = [
                job
                for job in waiting.values()
                if not any(needed.key in waiting for needed in job.needs)
            ]
            done = [job for job in ready if _take(job, folder, bar, wait=False)]
            if not done:  # Others do all that could be done.
                _take(ready[0], folder, bar, wait=True)
                done = ready[:1]
            for job in done:
                del waiting[job.key]
    return [_read(job.place(folder) / FILE) for job in jobs]


def _gather(job: Job, folder: Path, waiting: dict[str, Job]) -> None:
    """Adds what is to be done for a job, what it needs before itself."""
    if job.key in waiting or (job.place(folder) / FILE).is_file():
        return
    for needed in job.needs:
        _gather(needed, folder, waiting)
    waiting[job.key] = job


def _take(job: Job, folder: Path, bar: tqdm.tqdm, *, wait: bool) -> bool:
    """Does a job, unless another process does it; whether there is its result."""
    place = job.place(folder)
    with locks.held(place.with_suffix(".lock"), wait=wait) as mine:
        if mine and not (place / FILE).is_file():
            bar.set_postfix_str(_words(job))
            _compute(job, folder)
    bar.update(mine)
    return mine


def _compute(job: Job, folder: Path) -> None:
    start, place = time.perf_counter(), job.place(folder)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        for needed in job.needs:
            if (why := _read(needed.place(folder) / FILE).get("why")) is not None:
                raise NothingToJudgeError(why)
        result = job.compute(place, [needed.place(folder) for needed in job.needs])
        outcome = {"result": _known(dict(result))}
    except NothingToJudgeError as error:
        tqdm.tqdm.write(f"left out: {_words(job)}: {error}")
        outcome = {"result": None, "why": str(error)}
    record = {
        "section": job.section,
        "settings": dict(job.settings),
        **outcome,
        "seconds": round(time.perf_counter() - start, 1),
        "revision": provenance.git_revision(),
    }
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    atomic.write_text(place / FILE, text)


def _known(value: Any) -> Any:
    """The same, with None for NaN, which JSON has not."""
    if isinstance(value, dict):
        return {name: _known(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_known(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text("utf-8"))
        if {"section", "settings", "result"} <= set(record):
            return record
    except (OSError, ValueError, TypeError):
        pass
    raise InputError(path, "is no result of a job", "Remove it; it is made anew")


def _words(job: Job) -> str:
    """What is shown while it is done: the settings that are short."""
    values = (v for v in job.settings.values() if isinstance(v, str | int))
    return " ".join([job.section, *map(str, values)])

"""Work that is done once: each job's result is kept under the hash of what it is.

A run that was ended goes on with the jobs that have no result. A job whose settings
change has another hash, and is done anew; one whose code changes is not: remove the
folder after a change that moves numbers.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tqdm

from scmultimodal.data import atomic
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import provenance


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One measurement.

    Attributes:
        section: the table it belongs to.
        settings: all that its result depends on; anything that JSON holds.
        compute: returns the result; anything that JSON holds, without NaN.
    """

    section: str
    settings: Mapping[str, Any]
    compute: Callable[[], Mapping[str, Any]]

    @property
    def key(self) -> str:
        """The hash of section and settings."""
        text = json.dumps([self.section, self.settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def run(jobs: Sequence[Job], folder: Path) -> list[dict[str, Any]]:
    """Does what is not done yet, and returns all results in the order of the jobs.

    Args:
        jobs: no two with the same settings.
        folder: where results are kept.

    Returns:
        For each job: section, settings, result, seconds, revision.

    Raises:
        InputError: a kept result is damaged, or two jobs are the same.
    """
    keys = [job.key for job in jobs]
    if twice := {key for key in keys if keys.count(key) > 1}:
        first = jobs[keys.index(min(twice))]
        raise InputError(
            first.section, f"{dict(first.settings)} is there twice", "Name each once"
        )
    paths = [folder / job.section / f"{job.key}.json" for job in jobs]
    waiting = sum(not path.is_file() for path in paths)
    found = []
    with tqdm.tqdm(total=waiting, desc="jobs", unit="job", disable=None) as bar:
        for job, path in zip(jobs, paths, strict=True):
            if not path.is_file():
                bar.set_postfix_str(_words(job))
                _compute(job, path)
                bar.update()
            found.append(_read(path))
    return found


def _compute(job: Job, path: Path) -> None:
    start = time.perf_counter()
    result = job.compute()
    record = {
        "section": job.section,
        "settings": dict(job.settings),
        "result": dict(result),
        "seconds": round(time.perf_counter() - start, 1),
        "revision": provenance.git_revision(),
    }
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    atomic.write_text(path, text)


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text("utf-8"))
        if {"section", "settings", "result"} <= set(record):
            return record
    except (OSError, ValueError, TypeError):
        pass
    raise InputError(path, "is no result of a job", "Remove it; it is made anew")


def _words(job: Job) -> str:
    return " ".join([job.section, *(str(value) for value in job.settings.values())])

"""Commands of others that are stood in for, and pauses that take no time."""

import json
import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from tests import fake_bucket
from tests.tpu import fake_command


@pytest.fixture(autouse=True)
def bucket():
    """gs:// is a bucket in memory."""
    with fake_bucket.open_bucket() as bucket:
        yield bucket


class Fake:
    """A command that is stood in for, first on PATH."""

    def __init__(self, folder: Path, name: str):
        self.folder = folder
        (folder / "answers").mkdir(parents=True)
        program = folder / "bin" / name
        program.parent.mkdir()
        words = [sys.executable, "-S", fake_command.__file__, str(folder)]
        program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        program.chmod(0o755)

    def answer(self, call, *answers):
        """To a verb, or to a verb with the word after it."""
        (self.folder / "answers" / f"{call}.json").write_text(json.dumps(answers))

    @property
    def calls(self):
        """The words of each call; files without their folders."""
        path = self.folder / "calls"
        if not path.exists():
            return []
        calls = path.read_text().removesuffix("\n").split("\n")
        return [
            [_short(word) for word in call.removesuffix("\0").split("\0")]
            for call in calls
        ]


def _short(word):
    if word.startswith("startup-script="):
        pairs = (pair.split("=") for pair in word.split(","))
        return ",".join(f"{name}={os.path.basename(path)}" for name, path in pairs)
    return os.path.basename(word) if word.endswith(".yaml") else word


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Makes a command of a name that is first on PATH."""

    def stand_in(name):
        fake = Fake(tmp_path / name, name)
        path = f"{fake.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        monkeypatch.setenv("PATH", path)
        return fake

    return stand_in


@pytest.fixture
def gcloud(stand_in):
    return stand_in("gcloud")


@pytest.fixture
def slept(monkeypatch):
    """The pauses that were made, in no time; subprocess has short ones of its own."""
    pauses, sleep = [], time.sleep
    monkeypatch.setattr(
        "time.sleep", lambda s: pauses.append(s) if s > 0.5 else sleep(s)
    )
    return pauses

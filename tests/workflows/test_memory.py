"""What a damaged file may take of the machine, and what a process took."""

import resource
import sys
import types

import numpy as np
import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import memory, runners

MORE = memory.ROOM + 2**24


def swell(path, size):
    """Takes memory, and writes nothing to it."""
    if path is None:
        return np.empty(size, np.uint8).size
    with memory.bounded(path):
        return np.empty(size, np.uint8).size


def test_a_worker_opens_a_file_in_bounded_memory(tmp_path):
    (tmp_path / "small").write_bytes(bytes(1_000))
    (tmp_path / "large").write_bytes(bytes(MORE // memory.PER_BYTE))
    with runners.processes(1) as runner:
        for name in ("large", ""):
            assert list(runner.map(swell, tmp_path / name, [MORE])) == [MORE]
        with pytest.raises(InputError, match=r"small: takes more .* than 1000 bytes"):
            list(runner.map(swell, tmp_path / "small", [MORE]))
        assert list(runner.map(swell, None, [MORE])) == [MORE]


def test_this_process_is_its_owner_s(tmp_path):
    (tmp_path / "small").write_bytes(b"")
    assert swell(tmp_path / "small", MORE) == MORE


@pytest.mark.parametrize("status", ["Name:\tpython\nVmRSS:\t 9 kB\n", None])
@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_the_most_memory_is_told_where_proc_does_not_say_it(
    tmp_path, monkeypatch, status, platform, unit
):
    if status is not None:
        (tmp_path / "status").write_text(status)
    used = types.SimpleNamespace(ru_maxrss=5_000)
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    monkeypatch.setattr(resource, "getrusage", lambda who: used)
    monkeypatch.setattr(sys, "platform", platform)
    assert memory.peak() == 5_000 * unit


def test_the_most_memory_that_proc_says_is_in_kilobytes(tmp_path, monkeypatch):
    (tmp_path / "status").write_text("VmPeak:\t 9 kB\nVmHWM:\t    7 kB\n")
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    assert memory.peak() == 7 * 1024

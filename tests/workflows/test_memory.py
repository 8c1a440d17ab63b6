"""What a damaged file may take of the machine."""

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

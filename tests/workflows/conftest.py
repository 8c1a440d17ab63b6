"""What the tests of damaged and malformed files share."""

import pytest

from tests.workflows.malformed import Bench, Workers
from tests.workflows.small_files import SmallFiles


@pytest.fixture(scope="session")
def small(data_folder, tmp_path_factory):
    """Small files of real data."""
    return SmallFiles(data_folder, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def workers():
    """The process that reads."""
    workers = Workers()
    yield workers
    workers.close()


@pytest.fixture
def bench(tmp_path, workers, capsys, monkeypatch):
    """Runs `scmultimodal prepare`."""
    return Bench(tmp_path, workers, capsys, monkeypatch)

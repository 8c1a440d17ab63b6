"""Fixtures that every room shares."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data that SCMULTIMODAL_DATA names; skips where it is unset."""
    folder = os.environ.get("SCMULTIMODAL_DATA")
    if not folder:
        pytest.skip("needs real data: SCMULTIMODAL_DATA is not set")
    path = Path(folder)
    assert path.is_dir(), f"SCMULTIMODAL_DATA={folder} is not a folder"
    return path

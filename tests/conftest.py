"""Fixtures that every room shares."""

import os
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data that SCMULTIMODAL_DATA names; skips where it is unset."""
    folder = os.environ.get("SCMULTIMODAL_DATA")
    if not folder:
        pytest.skip("needs real data: SCMULTIMODAL_DATA is not set")
    path = Path(folder)
    assert path.is_dir(), f"SCMULTIMODAL_DATA={folder} is not a folder"
    return path


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory):
    """Each `fit` maps a new function: equal programs are compiled once all the same."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def lightly_compiled():
    """Programs that run for an instant are not worth optimising: half the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)

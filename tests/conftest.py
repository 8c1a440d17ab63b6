"""Fixtures that every room shares."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from scmultimodal.training import programs

# Its limit of 200 ms for an example would judge the machine.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


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
    """Each `fit` maps a new function: equal programs are compiled once all the same.

    Child processes share what is compiled.
    """
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            jax.config.update(name, value)
            patch.setenv(name.upper(), str(value))
        compilation_cache.reset_cache()
        yield


@pytest.fixture(scope="module", autouse=True)
def programs_let_go():
    """One process runs the programs of many modules: `training.programs`."""
    yield
    programs.let_go()


@pytest.fixture(scope="module")
def lightly_compiled():
    """Programs that run for an instant are not worth optimising: half the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def tally(record_property) -> Callable[[str], None]:
    """Notes a line of counts, which is shown when all tests are done."""
    return functools.partial(record_property, "tally")


def pytest_terminal_summary(terminalreporter):
    """Shows what the tests that passed have noted."""
    lines = [
        value
        for report in terminalreporter.getreports("passed")
        if report.when == "call"
        for name, value in report.user_properties
        if name == "tally"
    ]
    if lines:
        terminalreporter.section("counts")
        terminalreporter.write("\n".join(lines) + "\n")

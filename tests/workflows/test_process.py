"""What a command sets for its process, and how it ends."""

import os
import signal
import threading
import warnings

import jax
import numpy as np
import pooch
import pytest

from experiments import train
from scmultimodal.datasets import DataUnavailableError
from scmultimodal.schemas.errors import (
    InputError,
    PreemptedError,
    TrainingDivergedError,
)
from scmultimodal.workflows import process

CACHE = "jax_compilation_cache_dir"


@pytest.fixture
def cache():
    """The settings that a command changes, put back afterwards."""
    seconds = "jax_persistent_cache_min_compile_time_secs"
    before = {name: getattr(jax.config, name) for name in (CACHE, seconds)}
    with warnings.catch_warnings():
        yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_a_cache_that_the_user_named_is_kept(cache, tmp_path):
    jax.config.update(CACHE, str(tmp_path))
    process.prepare()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path)


def test_programs_are_kept_where_nothing_is_named(cache, tmp_path, monkeypatch):
    jax.config.update(CACHE, None)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    process.prepare()
    assert jax.config.jax_compilation_cache_dir == str(
        tmp_path / "scmultimodal" / "xla"
    )


def test_studies_keep_them_too(cache, tmp_path, monkeypatch):
    """A grid compiles the program of a head once, not once in each fold."""
    called = []
    monkeypatch.setattr(process, "prepare", lambda: called.append(True))
    missing = ["--fasta", str(tmp_path / "none.fa"), "--out", str(tmp_path / "run")]
    assert train.main(["genome_model.kmer_pretraining", *missing]) == 2
    assert called


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("x", "is 3", "Give 4"), 2, "x: is 3. Give 4."),
        (DataUnavailableError("x", "is 3", "Give 4"), 2, "x: is 3. Give 4."),
        (TrainingDivergedError(7, np.nan, 1.0, None), 3, "step 7: loss nan"),
        (PreemptedError("stopped after step 5"), 75, "stopped after step 5"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_an_expected_end_is_one_line_and_its_own_status(error, status, said, capsys):
    def work():
        raise error

    assert process.run(work, name="command", debug=False) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"command: {said}")
    with pytest.raises(type(error)):
        process.run(work, name="command", debug=True)


def test_work_that_is_done_and_an_error_that_nobody_expects(capsys):
    assert process.run(lambda: None, name="command", debug=False) == 0
    with pytest.raises(ZeroDivisionError):
        process.run(lambda: print(1 / 0), name="command", debug=False)


def test_a_warning_is_a_line_that_names_no_code(capsys):
    with warnings.catch_warnings():
        process.quiet()
        warnings.warn("x.h5ad: only 12 genes", stacklevel=1)
        warnings.warn("zarr v3 autosharding is new", stacklevel=1)
    assert capsys.readouterr().err == "scmultimodal: x.h5ad: only 12 genes\n"


def test_sigterm_unwinds_the_work():
    before = signal.getsignal(signal.SIGTERM)
    unwound = []

    def work():
        with process.terminable():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            finally:
                unwound.append(True)

    with pytest.raises(PreemptedError, match="asked to end"):
        work()
    assert unwound
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_thread_has_no_signals():
    def work():
        with process.terminable():
            done.append(True)

    done = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done

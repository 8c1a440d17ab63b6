"""What a command sets for its process."""

import warnings

import jax
import pooch
import pytest

from experiments import train
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

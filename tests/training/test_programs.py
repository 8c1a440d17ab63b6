"""Programs are given back before a process has too many."""

import jax
import pytest

from scmultimodal.training import loop, programs
from scmultimodal.training.config import LoopConfig
from tests.regression import RegressionTask, regression_batch


@pytest.mark.parametrize("many", [0, 10**9])
def test_programs_are_let_go_where_there_are_many(monkeypatch, many):
    monkeypatch.setattr(programs, "MANY", many)
    double = jax.jit(lambda x: 2 * x)
    assert double(1.5) == 3
    assert programs.let_go() == (many == 0)
    assert double._cache_size() == (0 if many == 0 else 1)
    assert double(1.5) == 3


def test_a_training_begins_with_few_programs(monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "MANY", 0)
    of_another = jax.jit(lambda x: 2 * x)
    assert of_another(1.5) == 3
    loop.fit(
        RegressionTask(),
        train_batches=lambda step, share: regression_batch(step),
        config=LoopConfig(num_steps=1),
        folder=tmp_path,
    )
    assert of_another._cache_size() == 0

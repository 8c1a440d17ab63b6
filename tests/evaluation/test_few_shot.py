"""Cells that keep their labels: as many of each type as asked for, and nested."""

import itertools

import numpy as np
import pytest

from scmultimodal.evaluation import few_shot
from scmultimodal.schemas.errors import InputError

LABELS = np.random.default_rng(0).choice(5, 400, p=[0.5, 0.3, 0.15, 0.04, 0.01])
CELLS = np.arange(0, 400, 2)


def test_each_type_has_as_many_as_asked_for_or_all():
    available = np.bincount(LABELS[CELLS], minlength=5)
    for per_type in few_shot.PER_TYPE:
        chosen = few_shot.choose(LABELS, CELLS, per_type, seed=1)
        assert set(chosen) <= set(CELLS)
        assert len(set(chosen)) == len(chosen)
        found = np.bincount(LABELS[chosen], minlength=5)
        assert (found == np.minimum(available, per_type)).all()
    assert (few_shot.choose(LABELS, CELLS, None, seed=1) == CELLS).all()


def test_fewer_are_among_more_and_seeds_differ():
    sets = [set(few_shot.choose(LABELS, CELLS, n, seed=1)) for n in few_shot.PER_TYPE]
    assert all(a < b for a, b in itertools.pairwise(sets))
    again = few_shot.choose(LABELS, CELLS[::-1], 5, seed=1)
    assert set(again) == sets[1]
    assert set(few_shot.choose(LABELS, CELLS, 5, seed=2)) != sets[1]


def test_unlabelled_cells_are_left_out_of_types():
    labels = LABELS.copy()
    labels[1::2] = -1
    chosen = few_shot.choose(labels, CELLS, 1, seed=0)
    assert set(labels[chosen]) == set(LABELS[CELLS])
    with pytest.raises(InputError, match="some have no label"):
        few_shot.choose(labels, np.arange(4), 1, seed=0)
    with pytest.raises(InputError, match="is 0"):
        few_shot.choose(LABELS, CELLS, 0, seed=0)

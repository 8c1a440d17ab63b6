"""The fingerprint of a batch: the same however it is split, another for other rows."""

import functools
import itertools
import operator

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.training import fingerprint
from tests.regression import regression_batch

of_rows, combine = jax.jit(fingerprint.of_rows), jax.jit(fingerprint.combine)


def of(*parts):
    """The fingerprint of a batch that comes in parts."""
    return int(combine(functools.reduce(operator.add, map(of_rows, parts))))


def by_hand(batch):
    """The same, in Python's whole numbers."""

    def mix(word):
        word = (word ^ word >> 16) * 0x85EBCA6B % 2**32
        word = (word ^ word >> 13) * 0xC2B2AE35 % 2**32
        return word ^ word >> 16

    rows = [0] * len(batch.row)
    for number, leaf in enumerate(jax.tree.leaves(batch)):
        words = leaf.view(np.uint32) if leaf.dtype == np.float32 else leaf
        for row, numbers in enumerate(words.reshape(len(leaf), -1).tolist()):
            for place, word in enumerate(numbers):
                factor = mix((place + number * 0x9E3779B9) % 2**32) | 1
                rows[row] = (rows[row] + word * factor) % 2**32
    return sum(map(mix, rows)) % 2**24


def rows_of(batch, rows):
    return jax.tree.map(lambda leaf: leaf[rows], batch)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_the_sum_of_the_hashes_of_rows(seed):
    batch = regression_batch(seed)
    assert of(batch) == by_hand(batch)


@given(st.integers(0, 3), st.sets(st.integers(1, 23), max_size=5))
def test_it_does_not_depend_on_the_split(seed, cuts):
    batch = regression_batch(seed, rows=24)
    ends = [0, *sorted(cuts), 24]
    parts = [rows_of(batch, slice(a, b)) for a, b in itertools.pairwise(ends)]
    assert of(*parts) == of(batch)


def test_parts_of_all_devices_of_the_largest_pod_add_up_exactly():
    most = np.full(fingerprint.PARTS, 2**fingerprint.BITS - 1, np.float32)
    devices = 2**16
    expected = (2**24 - 1) * devices % 2**24
    assert int(combine(np.full((devices, 3), most).sum(0, dtype=np.float32))) == (
        expected
    )


@pytest.mark.parametrize("name", ["x", "y", "weight", "row", "cell_index"])
def test_a_change_of_any_number_shows(name):
    batch = regression_batch(0)
    seen = {of(batch)}
    for place in np.ndindex(getattr(batch, name).shape):
        changed = getattr(batch, name).copy()
        changed[place] += 1
        seen.add(of(batch.replace(**{name: changed})))
    assert len(seen) == getattr(batch, name).size + 1


def test_an_exchange_of_rows_shows():
    batch = regression_batch(0)
    turned = rows_of(batch, np.arange(8)[::-1]).replace(row=batch.row)
    assert of(turned) != of(batch)

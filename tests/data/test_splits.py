import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scmultimodal.data import splits
from scmultimodal.schemas.errors import InputError

labels_lists = st.dictionaries(
    st.sampled_from("ABCDE"), st.integers(1, 60), min_size=1
).flatmap(
    lambda sizes: st.permutations([name for name, n in sizes.items() for _ in range(n)])
)


@given(labels_lists, st.integers(0, 2**32))
@settings(max_examples=60)
def test_every_class_is_split_as_exactly_as_rounding_allows(labels, seed):
    sizes = pd.Series(labels).value_counts()
    if sizes.max() < 10:
        with pytest.raises(InputError, match="no class has 10 cells"):
            splits.stratified_split(labels, seed=seed)
        return
    split, left_out = splits.stratified_split(labels, seed=seed)
    assert left_out == {name: n for name, n in sizes.items() if n < 10}
    for name, size in sizes.items():
        parts = split[np.array(labels) == name]
        if size < 10:
            assert set(parts) == {"left_out"}
            continue
        for part, share in zip(splits.SPLITS, (0.7, 0.1, 0.2), strict=False):
            assert (parts == part).sum() >= 1
            assert abs((parts == part).sum() - share * size) < 1
        assert "left_out" not in parts


def test_sizes_by_hand():
    assert splits.apportion(10, (0.7, 0.1, 0.2)).tolist() == [7, 1, 2]
    assert splits.apportion(14, (0.7, 0.1, 0.2)).tolist() == [10, 1, 3]
    assert splits.apportion(3, (0.8, 0.1, 0.1)).tolist() == [1, 1, 1]
    assert splits.apportion(5, (1.0, 0.0, 0.0)).tolist() == [5, 0, 0]


def test_the_seed_decides_and_nothing_else():
    labels = ["a", "b"] * 50
    np.random.default_rng(0)
    first, _ = splits.stratified_split(labels, seed=1)
    np.random.seed(3)
    again, _ = splits.stratified_split(labels, seed=1)
    other, _ = splits.stratified_split(labels, seed=2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_cells_without_a_label_are_left_out_and_counted():
    labels = pd.Categorical(["a"] * 20 + [None, ""] + ["b"] * 9)
    split, left_out = splits.stratified_split(labels, seed=0)
    assert left_out == {"b": 9, "unlabelled": 2}
    assert set(split[20:]) == {"left_out"}
    assert set(split[:20]) == {"train", "validation", "test"}


def test_numbers_are_classes_too():
    split, left_out = splits.stratified_split(np.repeat([3, 7], 10), seed=0)
    assert left_out == {}
    assert (split == "train").sum() == 14


def test_random_split():
    split = splits.random_split(1_000, seed=0, fractions=(0.8, 0.2, 0.0))
    assert {name: (split == name).sum() for name in splits.SPLITS} == {
        "train": 800,
        "validation": 200,
        "test": 0,
        "left_out": 0,
    }
    assert 120 < (split[:200] == "train").sum() < 200


@pytest.mark.parametrize(
    "fractions", [(0.5, 0.1, 0.1), (1.2, -0.2, 0.0), (0, 0.5, 0.5)]
)
def test_fractions_must_make_a_split(fractions):
    with pytest.raises(InputError, match="fractions are"):
        splits.random_split(100, seed=0, fractions=tuple(map(float, fractions)))


def test_a_class_needs_a_cell_for_each_part():
    with pytest.raises(InputError, match="min_cells is 2"):
        splits.stratified_split(["a"] * 9, seed=0, min_cells=2)


groups_of_cells = st.lists(st.integers(1, 40), min_size=3, max_size=30)
shares = st.sampled_from([(0.7, 0.1, 0.2), (0.8, 0.1, 0.1), (0.5, 0.25, 0.25)])


@given(groups_of_cells, shares, st.integers(0, 2**32))
@settings(max_examples=200)
def test_groups_are_split_as_wholes_and_about_as_asked(sizes, fractions, seed):
    """No part is larger than asked by a whole group, nor smaller by two."""
    names = np.repeat([f"donor{number}" for number in range(len(sizes))], sizes)
    names = np.random.default_rng(seed).permutation(names)
    split = splits.grouped_split(pd.Series(names), seed=seed, fractions=fractions)
    parts = pd.Series(split).groupby(names).nunique()
    assert (parts == 1).all()
    for part, share in zip(splits.SPLITS, fractions, strict=False):
        surplus = (split == part).sum() - share * len(names)
        assert -2 * max(sizes) < surplus < max(sizes)
        assert (split == part).any()


@given(groups_of_cells, st.integers(0, 2**32))
def test_the_order_of_cells_does_not_matter_to_groups(sizes, seed):
    names = pd.Series(np.repeat(np.arange(len(sizes)).astype(str), sizes))
    order = np.random.default_rng(seed).permutation(len(names))
    split = splits.grouped_split(names, seed=seed)
    again = splits.grouped_split(names[order].reset_index(drop=True), seed=seed)
    assert again.tolist() == split[order].tolist()


def test_groups_of_one_size_are_dealt_by_the_seed():
    names = pd.Series(np.repeat(list("abcdefghij"), 10))
    found = [splits.grouped_split(names, seed=seed) for seed in range(8)]
    assert len({tuple(split) for split in found}) > 1
    for split in found:
        sizes = [int((split == part).sum()) for part in splits.SPLITS]
        assert sizes == [70, 10, 20, 0]


def test_a_part_that_is_not_asked_for_stays_empty():
    names = pd.Series(np.repeat(list("abc"), 10), name="donor")
    split = splits.grouped_split(names, seed=0, fractions=(0.5, 0.0, 0.5))
    assert set(split) == {"train", "test"}
    with pytest.raises(InputError, match="'donor': has 2 groups for 3 parts"):
        splits.grouped_split(names[names < "c"], seed=0)


def test_splits_that_are_given_are_taken():
    given_split = ["train", "test", "left_out", "train"]
    split = splits.grouped_split(pd.Series(pd.Categorical(given_split)), seed=0)
    assert split.tolist() == given_split


def test_all_cells_are_in_a_group():
    names = pd.Series(["a", None, "b"], index=["x", "y", "z"], name="donor")
    with pytest.raises(InputError, match="column 'donor': cell y has no group"):
        splits.grouped_split(names, seed=0)

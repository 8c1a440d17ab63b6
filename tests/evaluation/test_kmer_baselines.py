"""Frequencies of k-mers: by hand, and what GC tells of them."""

import itertools

import numpy as np
import pytest

from scmultimodal.evaluation import kmer_baselines
from scmultimodal.schemas.errors import InputError

SPECIAL = ("<unk>", "<pad>", "<mask>", "<cls>")
PAIRS = tuple("".join(pair) for pair in itertools.product("ATCG", repeat=2))
VOCABULARY = (*SPECIAL, *PAIRS, "A", "T", "C", "G", "N")
PAD, CLS = 1, 3


def ids(text: str) -> list[int]:
    return [VOCABULARY.index(token) for token in text.split()]


def test_unigram_by_hand():
    training = np.array([ids("<cls> AT AT CG A N <pad>")])
    table = kmer_baselines.unigram(training, VOCABULARY)
    held_out = np.array([ids("<cls> AT GG N C <pad>")])
    found = table.cross_entropy(held_out)[0]
    # Three pairs seen, one more for each of the 16.
    np.testing.assert_allclose(found[1:3], -np.log([3 / 19, 1 / 19]))
    assert np.isnan(found[[0, 3, 4, 5]]).all()
    probabilities = np.exp(table.log_probabilities[0])
    np.testing.assert_allclose(np.nansum(probabilities), 1)


def test_gc_is_that_of_the_rest_of_the_window():
    window = np.array([ids("<cls> AT CG CC G N <pad>")])
    table = kmer_baselines.unigram_by_gc(window, VOCABULARY, num_bins=2, prior=16.0)
    share = kmer_baselines._gc_of_the_rest(window, table.gc_bases, table.bases)[0]
    # 7 bases, 5 of them G or C.
    expected = [5 / 7, 5 / 5, 3 / 5, 3 / 5, 4 / 6, 5 / 7, 5 / 7]
    np.testing.assert_allclose(share, expected)
    changed = window.copy()
    changed[0, 1] = ids("GG")[0]
    assert table.gc_bins(window)[0, 1] == table.gc_bins(changed)[0, 1]


def test_by_gc_by_hand():
    poor, rich = "<cls> AA AA AT", "<cls> CC CC CG"
    training = np.array([ids(poor), ids(rich)])
    table = kmer_baselines.unigram_by_gc(training, VOCABULARY, num_bins=2, prior=16.0)
    held_out = np.array([ids("<cls> AA TT TT")])
    plain = 3 / 22  # AA: 2 of 6, and one more for each of 16
    expected = (2 + 16 * plain) / (3 + 16)
    np.testing.assert_allclose(table.cross_entropy(held_out)[0, 1], -np.log(expected))
    for row in np.exp(table.log_probabilities):
        np.testing.assert_allclose(np.nansum(row), 1)


def test_where_gc_matters_the_table_by_gc_says_more():
    rng = np.random.default_rng(0)

    def windows(count):
        gc = rng.uniform(0.2, 0.8, (count, 1, 1))
        base = (rng.random((count, 60, 2)) < gc) * 2 + rng.integers(
            0, 2, (count, 60, 2)
        )
        return base @ [4, 1] + len(SPECIAL)

    training, held_out = windows(2_000), windows(300)
    plain, by_gc = (
        make(training, VOCABULARY).cross_entropy(held_out).mean()
        for make in (kmer_baselines.unigram, kmer_baselines.unigram_by_gc)
    )
    assert abs(plain - np.log(16)) < 0.01
    assert by_gc < plain - 0.1


def test_where_gc_is_all_the_same_it_adds_nothing_but_noise():
    rng = np.random.default_rng(0)
    training, held_out = (rng.integers(4, 20, (n, 60)) for n in (2_000, 300))
    for make in (kmer_baselines.unigram, kmer_baselines.unigram_by_gc):
        found = make(training, VOCABULARY).cross_entropy(held_out).mean()
        assert abs(found - np.log(16)) < 1e-3


def test_windows_without_a_kmer_are_refused():
    with pytest.raises(InputError, match="no k-mer"):
        kmer_baselines.unigram(np.array([ids("<cls> N A <pad>")]), VOCABULARY)
    with pytest.raises(InputError, match="no k-mer"):
        kmer_baselines.unigram_by_gc(np.array([ids("<cls> AT CG")]), VOCABULARY)

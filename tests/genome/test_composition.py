"""Composition against counting by hand."""

import collections
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.genome import composition

sequences = st.lists(st.text("ACGTacgtNnRy", max_size=40), max_size=4)


def test_the_features_by_hand():
    found = composition.features(["ACGCGNT", "cgcg", "NNNN", "", "RACG"])
    assert composition.FEATURES == ("length", "gc", "cpg", "n_share")
    expected = [
        [7, 4 / 6, 2, 1 / 7],
        [4, 1, 2, 0],
        [4, 0, 0, 1],
        [0, 0, 0, 0],
        [4, 2 / 3, 1, 1 / 4],
    ]
    np.testing.assert_allclose(found, np.float32(expected))
    assert composition.features([]).shape == (0, 4)


def test_the_kmers_by_hand():
    # AC CG Gn nA AC -> AC twice, CG once; the n belongs to none.
    (shares,) = composition.kmer_frequencies(["ACGnAC"], 2)
    assert {i: share for i, share in enumerate(shares) if share} == {
        1: np.float32(2 / 3),
        6: np.float32(1 / 3),
    }


@given(sequences, st.integers(1, 4))
def test_kmers_are_those_of_a_loop(texts, k):
    alphabet = list(map("".join, itertools.product("ACGT", repeat=k)))
    found = composition.kmer_frequencies(texts, k)
    assert found.shape == (len(texts), 4**k)
    for row, text in zip(found, texts, strict=True):
        windows = (text.upper()[i : i + k] for i in range(len(text) - k + 1))
        counts = collections.Counter(w for w in windows if not set(w) - set("ACGT"))
        total = max(counts.total(), 1)
        np.testing.assert_allclose(row, [counts[kmer] / total for kmer in alphabet])


@pytest.mark.parametrize("k", [0, 9])
def test_k_has_bounds(k):
    with pytest.raises(ValueError, match="from 1 to 8"):
        composition.kmer_frequencies(["ACGT"], k)


@pytest.mark.parametrize(
    ("strand", "other"),
    [
        ("AACGT", "ACGTT"),
        ("aaCg", "cGtt"),
        ("ACGTRYKMSWBDHVN", "NBDHVWSKMRYACGT"),
        ("AU", "AT"),
        ("", ""),
    ],
)
def test_reverse_complement(strand: str, other: str):
    assert composition.reverse_complement(strand) == other


@given(st.text("ACGTRYKMSWBDHVNacgtrykmswbdhvn"))
def test_the_other_strand_of_the_other_strand(sequence):
    assert (
        composition.reverse_complement(composition.reverse_complement(sequence))
        == sequence
    )


@given(st.text("ACGTN", max_size=50))
def test_both_strands_compose_alike(sequence):
    both = [sequence, composition.reverse_complement(sequence)]
    first, second = composition.features(both)
    np.testing.assert_array_equal(first, second)

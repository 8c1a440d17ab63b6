"""Ridge on k-mers: by hand, by its closed form, and blind to what it is judged by."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scmultimodal.evaluation import kmer_ranker, ranking
from scmultimodal.genome.composition import reverse_complement
from scmultimodal.schemas.errors import InputError
from tests import builders

# Frequencies.


def test_frequencies_by_hand():
    # AACG holds AA, AC, CG; its other strand CGTT holds CG, GT, TT.
    found = kmer_ranker.strandless_frequencies(["AACG", "CGTT", "A", "NNAN"], 2)
    kmers = ["AA", "AC", "AG", "AT", "CA", "CC", "CG", "GA", "GC", "TA"]
    expected = {"AA": 1 / 6, "AC": 1 / 6, "CG": 1 / 3}
    np.testing.assert_allclose(found[0], [expected.get(k, 0) for k in kmers])
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2:], 0)


@settings(max_examples=30)
@given(sequence=st.text("ACGTN", max_size=40), k=st.integers(1, 4))
def test_frequencies_by_brute_force(sequence, k):
    windows = [sequence[i : i + k] for i in range(len(sequence) - k + 1)]
    windows = [window for window in windows if "N" not in window]
    both = windows + [reverse_complement(window) for window in windows]
    kmers = map("".join, itertools.product("ACGT", repeat=k))
    kmers = [kmer for kmer in kmers if kmer <= reverse_complement(kmer)]
    expected = [both.count(kmer) / max(len(both), 1) for kmer in kmers]
    found = kmer_ranker.strandless_frequencies([sequence], k)
    np.testing.assert_allclose(found, [expected], atol=1e-7)


def test_there_are_512_strandless_5mers():
    assert kmer_ranker.strandless_frequencies(["ACGTTGCA"]).shape == (1, 512)


# Ridge.


def ridge_by_hand(frequencies, values, fit_on, penalty):
    """Scores of all regions by the closed form."""
    x = frequencies[fit_on].reshape(-1, frequencies.shape[-1]).astype(float)
    y = np.argsort(np.argsort(values[fit_on], 1), 1).ravel().astype(float)
    centred = x - x.mean(0)
    gram = centred.T @ centred
    gram += penalty * x.var(0).mean() * len(x) * np.eye(len(gram))
    weights = np.linalg.solve(gram, centred.T @ (y - y.mean()))
    return (frequencies - x.mean(0)) @ weights + y.mean()


def noisy(num_spans=60, features=25, seed=0):
    """Frequencies of which one matters a little, values, and groups of four spans."""
    rng = np.random.default_rng(seed)
    frequencies = rng.random((num_spans, 3, features)).astype(np.float32)
    values = frequencies[..., 0] + 0.3 * rng.random((num_spans, 3))
    return frequencies, values, np.arange(num_spans) // 4


def scores(frequencies, values, groups, fit_on=None, score_on=None, **options):
    fit_on = np.arange(40) if fit_on is None else fit_on
    score_on = np.arange(40, len(values)) if score_on is None else score_on
    model = kmer_ranker.fit_ridge(
        frequencies[fit_on], values[fit_on], groups[fit_on], **options
    )
    return kmer_ranker.ridge_scores(model, frequencies[score_on])


def test_a_planted_kmer_orders_the_regions():
    rng = np.random.default_rng(0)
    ranks = rng.permuted(np.tile(range(3), (90, 1)), axis=1)
    sequences = []
    for number, rank in enumerate(ranks.ravel()):
        motif = ("TGACT", "AGTCA")[number % 2]  # the same on the other strand
        sequence = builders.dna(200, seed=number)
        sequences.append(sequence + (motif + "A") * (2 * rank))
    frequencies = kmer_ranker.strandless_frequencies(sequences).reshape(90, 3, -1)
    values = ranks * rng.uniform(1, 5, (90, 1)) + 0.5
    fit_on, score_on = np.arange(60), np.arange(60, 90)
    groups = np.arange(90) // 6
    found = scores(frequencies, values, groups, fit_on, score_on)
    assert found.shape == (30, 3)
    assert ranking.full_order_accuracy(found, values[score_on]) > 0.9


@pytest.mark.parametrize("penalty", [0.1, 10.0])
def test_scores_are_those_of_the_closed_form(penalty):
    frequencies, values, groups = noisy()
    found = scores(frequencies, values, groups, penalties=[penalty])
    expected = ridge_by_hand(frequencies, values, np.arange(40), penalty)
    np.testing.assert_allclose(found, expected[40:], rtol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_the_penalty_is_the_best_on_a_third_of_the_groups_it_is_fitted_on(seed):
    frequencies, values, groups = noisy(seed=seed)
    fit_on = np.random.default_rng(seed).permutation(40)
    penalties = [0.001, 0.1, 1.0, 30.0]
    aside = np.isin(groups[fit_on], range(0, 10, 3))
    accuracies = []
    for penalty in penalties:
        found = ridge_by_hand(frequencies, values, fit_on[~aside], penalty)
        judged = fit_on[aside]
        accuracies.append(ranking.full_order_accuracy(found[judged], values[judged]))
    assert len(set(accuracies)) > 1
    best = penalties[int(np.argmax(accuracies))]
    found = scores(frequencies, values, groups, fit_on, penalties=penalties)
    expected = ridge_by_hand(frequencies, values, fit_on, best)
    np.testing.assert_allclose(found, expected[40:], rtol=1e-5)


def test_the_best_penalty_is_not_always_the_same():
    """Else the test above could not tell a choice from a habit."""
    chosen = set()
    for seed in range(6):
        frequencies, values, groups = noisy(seed=seed)
        penalties = [0.001, 0.1, 1.0, 30.0]
        found = scores(frequencies, values, groups, penalties=penalties)
        for penalty in penalties:
            one = scores(frequencies, values, groups, penalties=[penalty])
            if np.allclose(found, one):
                chosen.add(penalty)
    assert len(chosen) > 1


def test_spans_are_scored_alone_as_together():
    frequencies, values, groups = noisy(seed=2)
    found = scores(frequencies, values, groups)
    alone = scores(frequencies, values, groups, score_on=np.array([50]))
    np.testing.assert_allclose(alone, found[[10]], rtol=1e-12)


def test_spans_with_a_tie_are_not_fitted_on():
    frequencies, values, groups = noisy()
    found = scores(frequencies, values, groups, np.arange(30))
    values[30:40, 1] = values[30:40, 0]
    np.testing.assert_array_equal(scores(frequencies, values, groups), found)


def test_a_single_group_leaves_nothing_to_choose_by():
    frequencies, values, _ = noisy()
    one = np.zeros(60, int)
    found = scores(frequencies, values, one, penalties=[0.1, 1.0, 10.0])
    expected = scores(frequencies, values, one, penalties=[1.0])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rows", [np.arange(0), np.arange(4)])
def test_nothing_to_fit_on(rows):
    frequencies, values, groups = noisy()
    values[:4] = 1
    with pytest.raises(InputError, match="no span to fit on"):
        scores(frequencies, values, groups, rows)

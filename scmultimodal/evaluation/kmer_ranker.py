"""Ridge regression on k-mer frequencies: what ranks regions without a network."""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Integer
from sklearn.linear_model import Ridge

from scmultimodal.evaluation import ranking
from scmultimodal.genome.composition import kmer_frequencies, reverse_complement
from scmultimodal.schemas.errors import InputError

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Tried penalties, in units of the mean variance of a frequency, times regions."""


def strandless_frequencies(
    sequences: Sequence[str], k: int = 5
) -> Float32[np.ndarray, "sequences kmers"]:
    """Frequencies of k-mers, each averaged with that of its reverse complement."""
    kmers = ["".join(letters) for letters in itertools.product("ACGT", repeat=k)]
    place = {kmer: i for i, kmer in enumerate(kmers)}
    other = np.array([place[reverse_complement(kmer)] for kmer in kmers])
    found = kmer_frequencies(sequences, k)
    # Of two that are equal by now, one is enough.
    return ((found + found[:, other]) / 2)[:, other >= np.arange(len(kmers))]


def ridge_scores(
    frequencies: Float[np.ndarray, "spans regions kmers"],
    values: Float[np.ndarray, "spans regions"],
    groups: Integer[np.ndarray, " spans"],
    *,
    fit_on: Integer[np.ndarray, " rows"],
    score_on: Integer[np.ndarray, " scored"],
    penalties: Sequence[float] = PENALTIES,
) -> Float[np.ndarray, "scored regions"]:
    """Scores of a ridge regression of a region's rank in its span on its k-mers.

    The penalty is the one with the best full-order accuracy on a third of the groups
    that it is fitted on, which are set aside for that.

    Args:
        frequencies: of every region's sequence.
        values: what regions are ordered by; a span with a tie is not fitted on.
        groups: what must not be split between fitting and choosing.
        fit_on: rows of the spans to fit on.
        score_on: rows of the spans to score.
        penalties: to choose from.

    Raises:
        InputError: no span to fit on has three different values.
    """
    fit_on = fit_on[~ranking.ties(values[fit_on])]
    if not len(fit_on):
        raise InputError(
            "values",
            "no span to fit on has three different values",
            "Fit on at least one",
        )
    known = np.unique(groups[fit_on])
    aside = np.isin(groups[fit_on], known[::3])
    judge_by = fit_on[aside]
    accuracies = []
    for penalty in penalties if len(known) > 1 else ():
        model = _fit(frequencies, values, fit_on[~aside], penalty)
        accuracies.append(
            ranking.full_order_accuracy(
                _predict(model, frequencies[judge_by]), values[judge_by]
            )
        )
    best = int(np.argmax(accuracies)) if accuracies else len(penalties) // 2
    model = _fit(frequencies, values, fit_on, penalties[best])
    return _predict(model, frequencies[score_on])


def _fit(
    frequencies: np.ndarray, values: np.ndarray, rows: np.ndarray, penalty: float
) -> Ridge:
    lower = values[rows][:, None, :] < values[rows][:, :, None]
    x = frequencies[rows].reshape(-1, frequencies.shape[-1]).astype(np.float64)
    scale = x.var(axis=0).mean() * len(x)
    return Ridge(alpha=penalty * scale).fit(x, lower.sum(-1).ravel())


def _predict(model: Ridge, frequencies: np.ndarray) -> np.ndarray:
    flat = frequencies.reshape(-1, frequencies.shape[-1]).astype(np.float64)
    return model.predict(flat).reshape(frequencies.shape[:-1])

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


def fit_ridge(
    frequencies: Float[np.ndarray, "spans regions kmers"],
    values: Float[np.ndarray, "spans regions"],
    groups: Integer[np.ndarray, " spans"],
    *,
    penalties: Sequence[float] = PENALTIES,
) -> Ridge:
    """Ridge regression of a region's rank in its span on its k-mers.

    The penalty is the one with the best full-order accuracy on a third of the groups,
    which are set aside for that.

    Args:
        frequencies: of every region's sequence.
        values: what regions are ordered by; a span with a tie is not fitted on.
        groups: what must not be split between fitting and choosing.
        penalties: to choose from.

    Raises:
        InputError: no span has three different values.
    """
    rows = np.flatnonzero(~ranking.ties(values))
    if not len(rows):
        raise InputError(
            "values",
            "no span to fit on has three different values",
            "Fit on at least one",
        )
    known = np.unique(groups[rows])
    aside = np.isin(groups[rows], known[::3])
    judge_by = rows[aside]
    accuracies = []
    for penalty in penalties if len(known) > 1 else ():
        model = _fit(frequencies, values, rows[~aside], penalty)
        accuracies.append(
            ranking.full_order_accuracy(
                ridge_scores(model, frequencies[judge_by]), values[judge_by]
            )
        )
    best = int(np.argmax(accuracies)) if accuracies else len(penalties) // 2
    return _fit(frequencies, values, rows, penalties[best])


def ridge_scores(
    model: Ridge, frequencies: Float[np.ndarray, "spans regions kmers"]
) -> Float[np.ndarray, "spans regions"]:
    """Predicted ranks."""
    flat = frequencies.reshape(-1, frequencies.shape[-1]).astype(np.float64)
    return model.predict(flat).reshape(frequencies.shape[:-1])


def _fit(
    frequencies: np.ndarray, values: np.ndarray, rows: np.ndarray, penalty: float
) -> Ridge:
    lower = values[rows][:, None, :] < values[rows][:, :, None]
    x = frequencies[rows].reshape(-1, frequencies.shape[-1]).astype(np.float64)
    scale = x.var(axis=0).mean() * len(x)
    return Ridge(alpha=penalty * scale).fit(x, lower.sum(-1).ravel())

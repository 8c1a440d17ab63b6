"""What can be said of a k-mer without a network: how frequent it is.

A masked-k-mer model must beat these tables on held-out windows before it has learnt
more than composition.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from scmultimodal.schemas.errors import InputError

NUM_GC_BINS = 10
PRIORS = tuple(2.0**power for power in range(4, 24))
"""Weights tried for the plain frequencies, in counts; the last leaves nothing else."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class KmerTable:
    """Probability of each k-mer given the GC share of the rest of its window.

    Attributes:
        log_probabilities: in nats, one row per GC bin; NaN at tokens that are no k-mer.
        gc_edges: shares at which the bins meet; none for a single bin.
        gc_bases: G and C in each token of the vocabulary.
        bases: A, C, G and T in each token; 0 at special tokens and N.
    """

    log_probabilities: Float[np.ndarray, "bins vocabulary"]
    gc_edges: Float[np.ndarray, " edges"]
    gc_bases: Int[np.ndarray, " vocabulary"]
    bases: Int[np.ndarray, " vocabulary"]

    def cross_entropy(
        self, token_ids: Integer[np.ndarray, "sequences tokens"]
    ) -> Float[np.ndarray, "sequences tokens"]:
        """−log p of each k-mer in nats; NaN at other tokens.

        Its `np.nanmean` over held-out windows stands beside a model's loss. The token
        itself is not in the GC share that it is predicted from.
        """
        bins = self.gc_bins(token_ids)
        return -self.log_probabilities[bins, token_ids]

    def gc_bins(
        self, token_ids: Integer[np.ndarray, "sequences tokens"]
    ) -> Int[np.ndarray, "sequences tokens"]:
        """Bin of the GC share of the window without the token."""
        share = _gc_of_the_rest(token_ids, self.gc_bases, self.bases)
        return np.searchsorted(self.gc_edges, share, side="right")


def unigram(
    token_ids: Integer[np.ndarray, "sequences tokens"], vocabulary: Sequence[str]
) -> KmerTable:
    """Frequencies of the k-mers in training windows, each counted once more.

    Raises:
        InputError: the windows hold no k-mer.
    """
    return _fit(token_ids, vocabulary, np.zeros(0))


def unigram_by_gc(
    token_ids: Integer[np.ndarray, "sequences tokens"],
    vocabulary: Sequence[str],
    *,
    num_bins: int = NUM_GC_BINS,
    prior: float | None = None,
) -> KmerTable:
    """Frequencies of the k-mers by decile of the GC share of the rest of their window.

    Args:
        token_ids: training windows.
        vocabulary: the token of each id.
        num_bins: quantiles of the GC share.
        prior: counts that the plain frequencies weigh in each bin. None takes the best
            of `PRIORS`, fitted on the first half of the windows and judged by the
            second, so that rare k-mers make the table no weaker than it could be.

    Raises:
        InputError: the windows hold no k-mer.
    """
    edges = _gc_quantiles(token_ids, vocabulary, num_bins)
    if prior is None:
        prior = _best_prior(token_ids, vocabulary, edges)
    return _fit(token_ids, vocabulary, edges, prior)


def _best_prior(
    token_ids: Integer[np.ndarray, "sequences tokens"],
    vocabulary: Sequence[str],
    gc_edges: Float[np.ndarray, " edges"],
) -> float:
    fit_on, judge_by = np.array_split(token_ids, 2)
    losses = []
    for prior in PRIORS:
        table = _fit(fit_on, vocabulary, gc_edges, prior)
        loss = table.cross_entropy(judge_by)
        _require_kmers(~np.isnan(loss))
        losses.append(np.nanmean(loss))
    return PRIORS[int(np.argmin(losses))]


def _gc_quantiles(
    token_ids: Integer[np.ndarray, "sequences tokens"],
    vocabulary: Sequence[str],
    num_bins: int,
) -> Float[np.ndarray, " edges"]:
    gc_bases, bases = _count_bases(vocabulary)
    share = _gc_of_the_rest(token_ids, gc_bases, bases)
    at_kmer = (bases == bases.max())[token_ids]
    _require_kmers(at_kmer)
    return np.quantile(share[at_kmer], np.arange(1, num_bins) / num_bins)


def _fit(
    token_ids: Integer[np.ndarray, "sequences tokens"],
    vocabulary: Sequence[str],
    gc_edges: Float[np.ndarray, " edges"],
    prior: float = 0.0,
) -> KmerTable:
    gc_bases, bases = _count_bases(vocabulary)
    is_kmer, num_bins = bases == bases.max(), len(gc_edges) + 1
    at_kmer = is_kmer[token_ids]
    _require_kmers(at_kmer)
    share = _gc_of_the_rest(token_ids, gc_bases, bases)
    bins = np.searchsorted(gc_edges, share, side="right")
    cells = (bins * len(vocabulary) + token_ids)[at_kmer]
    counts = np.bincount(cells, minlength=num_bins * len(vocabulary))
    counts = counts.reshape(num_bins, -1)[:, is_kmer]
    plain = (counts.sum(0) + 1) / (counts.sum() + is_kmer.sum())
    table = plain[None]
    if num_bins > 1:
        table = (counts + prior * plain) / (counts.sum(1, keepdims=True) + prior)
    log_probabilities = np.full((num_bins, len(vocabulary)), np.nan)
    log_probabilities[:, is_kmer] = np.log(table)
    return KmerTable(
        log_probabilities=log_probabilities,
        gc_edges=gc_edges,
        gc_bases=gc_bases,
        bases=bases,
    )


def _require_kmers(at_kmer: Bool[np.ndarray, "sequences tokens"]) -> None:
    if not at_kmer.any():
        raise InputError(
            "token_ids", "no k-mer to count", "Give windows longer than a k-mer"
        )


def _count_bases(
    vocabulary: Sequence[str],
) -> tuple[Int[np.ndarray, " vocabulary"], Int[np.ndarray, " vocabulary"]]:
    """(G and C, all bases) of each token; zero where one is not made of bases alone."""
    of_bases = [token if set(token) <= set("ACGT") else "" for token in vocabulary]
    gc = [token.count("G") + token.count("C") for token in of_bases]
    return np.array(gc), np.array([len(token) for token in of_bases])


def _gc_of_the_rest(
    token_ids: Integer[np.ndarray, "sequences tokens"],
    gc_bases: Int[np.ndarray, " vocabulary"],
    bases: Int[np.ndarray, " vocabulary"],
) -> Float[np.ndarray, "sequences tokens"]:
    """GC share of each window without the token at hand; 0 where nothing is left."""
    gc, length = gc_bases[token_ids], bases[token_ids]
    rest = gc.sum(1, keepdims=True) - gc
    return rest / np.maximum(length.sum(1, keepdims=True) - length, 1)

"""Learning to rank: the one owner of Rax (SPEC 3.3).

Losses and metrics are per span, then summed over the spans in `where`, and returned as
(Σ, weight). A span in which two regions have equal values has no right order: `tied`
finds such spans, and the caller leaves them out.

Equal *scores* are never right: every region takes the worst rank of those it ties
with, so that the order in which regions are presented changes nothing.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import rax
from jaxtyping import Bool, Float, Int

from scmultimodal.schemas.batches import Array, WeightedSum

LossName = Literal[
    "softmax",
    "poly1_softmax",
    "unique_softmax",
    "listmle",
    "pairwise_hinge",
    "pairwise_logistic",
    "pairwise_mse",
    "pairwise_qr",
    "pairwise_soft_zero_one",
    "pointwise_mse",
    "pointwise_sigmoid",
]
LabelKind = Literal["ranks", "counts"]


def tied(values: Float[Array, "spans regions"]) -> Bool[Array, " spans"]:
    """Spans in which two regions have equal values."""
    ordered = jnp.sort(values)
    return (ordered[:, 1:] == ordered[:, :-1]).any(-1)


def relevance(
    values: Float[Array, "spans regions"], kind: LabelKind = "ranks"
) -> Float[Array, "spans regions"]:
    """What a loss takes as labels (SPEC 5).

    Args:
        values: accessibility of each region.
        kind: "ranks" counts the regions of the span with a smaller value (0, 1, 2),
            "counts" are the values as they are.
    """
    if kind == "counts":
        return values
    smaller = values[:, None, :] < values[:, :, None]
    return smaller.sum(-1).astype(jnp.float32)


def loss(
    *,
    name: LossName = "softmax",
    scores: Float[Array, "spans regions"],
    labels: Float[Array, "spans regions"],
    where: Bool[Array, " spans"],
) -> WeightedSum:
    """A Rax loss, summed over the terms of each span and over the spans in `where`.

    "pointwise_sigmoid" clips labels to 0…1: by ranks it tells zero from non-zero alone.
    """
    function = getattr(rax, f"{name}_loss")
    per_span = jax.vmap(lambda s, y: function(s, y, reduce_fn=jnp.sum))
    return _total(per_span(scores, labels), where)


def full_order(
    *,
    scores: Float[Array, "spans regions"],
    labels: Float[Array, "spans regions"],
    where: Bool[Array, " spans"],
) -> WeightedSum:
    """Spans whose regions are all in the right order (chance: 1/6 for three)."""
    return _total(_pairs_right(scores, labels) == 1, where)


def pairwise(
    *,
    scores: Float[Array, "spans regions"],
    labels: Float[Array, "spans regions"],
    where: Bool[Array, " spans"],
) -> WeightedSum:
    """Share of a span's pairs in the right order (chance: 1/2)."""
    return _total(_pairs_right(scores, labels), where)


def ndcg(
    *,
    scores: Float[Array, "spans regions"],
    labels: Float[Array, "spans regions"],
    where: Bool[Array, " spans"],
) -> WeightedSum:
    """Normalised discounted cumulative gain; the gain of label y is 2^y − 1."""
    values = rax.ndcg_metric(scores, labels, rank_fn=_worst_rank, reduce_fn=None)
    return _total(values, where)


def mrr(
    *,
    scores: Float[Array, "spans regions"],
    labels: Float[Array, "spans regions"],
    where: Bool[Array, " spans"],
) -> WeightedSum:
    """1 / rank of the most accessible region (chance: 11/18 for three)."""
    # Rax takes every label ≥ 1 as relevant, which would be two regions of three.
    best = (labels == labels.max(-1, keepdims=True)).astype(jnp.float32)
    values = rax.mrr_metric(scores, best, rank_fn=_worst_rank, reduce_fn=None)
    return _total(values, where)


def measure(
    *,
    scores: Float[Array, "spans regions"],
    labels: Float[Array, "spans regions"],
    where: Bool[Array, " spans"],
) -> dict[str, WeightedSum]:
    """All metrics by name."""
    return {
        metric.__name__: metric(scores=scores, labels=labels, where=where)
        for metric in (full_order, pairwise, ndcg, mrr)
    }


def _pairs_right(
    scores: Float[Array, "spans regions"], labels: Float[Array, "spans regions"]
) -> Float[Array, " spans"]:
    """Ordered-pair accuracy of each span; equal scores are wrong."""
    return rax.opa_metric(scores, labels, reduce_fn=None)


def _worst_rank(
    scores: Float[Array, "spans regions"], **_
) -> Int[Array, "spans regions"]:
    """Rank from 1, behind all of equal score; a NaN stands behind everything."""
    ahead = ~(scores[:, None, :] < scores[:, :, None])
    return ahead.sum(-1)


def _total(values: Array, where: Bool[Array, " spans"]) -> WeightedSum:
    weight = where.sum().astype(jnp.float32)
    return jnp.where(where, values, 0).sum().astype(jnp.float32), weight

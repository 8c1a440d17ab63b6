"""Fine-tuning by order: which of a span's regions is more accessible (SPEC 3.3)."""

import dataclasses
import typing

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Float

from scmultimodal.modules import nucleotide_transformer
from scmultimodal.modules.heads import accessibility
from scmultimodal.ops import metrics, ranking
from scmultimodal.schemas.batches import Array, RegionBatch
from scmultimodal.tasks import task


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegionRankingConfig:
    """The scorer and what it is trained by.

    Attributes:
        encoder: shape of the encoder of DNA.
        scorer: which head reads it, and its shape.
        loss: which of Rax's losses.
        labels: what a loss takes for a region's relevance: its rank within the span
            (0, 1, 2) or its value.
        l2: in training, this times Σ w², over all but biases and LayerNorms, is added
            to the mean loss. The default is the optimiser's decoupled weight decay.
    """

    encoder: nucleotide_transformer.NucleotideTransformerConfig
    scorer: accessibility.ScorerConfig = dataclasses.field(
        default_factory=accessibility.ScorerConfig
    )
    loss: ranking.LossName = "softmax"
    labels: ranking.LabelKind = "ranks"
    l2: float = 0.0

    def __post_init__(self):
        choices = {"loss": ranking.LossName, "labels": ranking.LabelKind}
        for field, known in choices.items():
            if (value := getattr(self, field)) not in typing.get_args(known):
                raise ValueError(
                    f"{field} must be one of {list(typing.get_args(known))}, "
                    f"got {value!r}"
                )
        if self.l2 < 0:
            raise ValueError(f"l2 must be at least 0, got {self.l2}")


class RegionRanking:
    """Listwise ranking of the regions of a span by accessibility.

    Regions are scored one by one: a score never depends on the others of its span. Of
    several outputs a span is ranked by that of its cell type, and moves no other. A
    span in which two regions have equal values has no right order: it weighs nothing
    and is counted as a tie.
    """

    def __init__(self, config: RegionRankingConfig):
        self.config = config
        self._forward = hk.transform_with_state(self._scores)

    def _scores(self, batch: RegionBatch) -> Float[Array, "spans regions outputs"]:
        spans, regions, num_tokens = batch.token_ids.shape
        token_ids = batch.token_ids.reshape(spans * regions, num_tokens)
        encoder = nucleotide_transformer.NucleotideTransformer(self.config.encoder)
        embeddings = encoder(token_ids.astype(jnp.int32)).embeddings
        scorer = accessibility.build_scorer(
            **vars(self.config.scorer), num_tokens=num_tokens, dim=embeddings.shape[-1]
        )
        scores = scorer(embeddings.astype(jnp.float32))
        return scores.reshape(spans, regions, -1)

    def init(
        self, rng: jax.Array, batch: RegionBatch
    ) -> tuple[task.Params, task.Params]:
        """Fresh parameters for regions of as many tokens as those of `batch`."""
        return self._forward.init(rng, batch)

    def predict(
        self, params: task.Params, network_state: task.Params, batch: RegionBatch
    ) -> Float[Array, "spans regions outputs"]:
        """Scores; only differences of one output mean something."""
        return self._forward.apply(params, network_state, None, batch)[0]

    def loss(
        self,
        params: task.Params,
        network_state: task.Params,
        rng: jax.Array,
        batch: RegionBatch,
        *,
        is_training: bool,
    ) -> task.LossOutput:
        """See `Task.loss`. Metrics: full_order, pairwise, ndcg, mrr, ties."""
        del rng  # Nothing is drawn.
        batch = jax.tree.map(jnp.asarray, batch)
        scores = self.predict(params, network_state, batch)
        scores = jnp.take_along_axis(scores, batch.output[:, None, None], 2)[..., 0]
        values, present = batch.values, batch.span_mask
        tied = ranking.tied(values)
        total, weight = ranking.loss(
            name=self.config.loss,
            scores=scores,
            labels=ranking.relevance(values, self.config.labels),
            where=present & ~tied,
        )
        if is_training and self.config.l2:
            total += weight * self.config.l2 * _squared_weights(params)
        measured = ranking.measure(
            scores=scores, labels=ranking.relevance(values), where=present & ~tied
        )
        ties = metrics.share_true(values=tied, where=present)
        return (total, weight), (network_state, {**measured, "ties": ties})


def _squared_weights(params: task.Params) -> Float[Array, ""]:
    """Σ w² over all but biases and LayerNorms."""
    return sum(
        jnp.sum(leaf**2)
        for module in params.values()
        for name, leaf in module.items()
        if name.rsplit("_")[-1] not in ("b", "bias", "offset", "scale")
    )

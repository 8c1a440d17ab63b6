"""Segmentation: which elements of a genome is each base of (SPEC 3.4)."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from scmultimodal.modules import nucleotide_transformer
from scmultimodal.modules.heads.segmentation import (
    SegmentationHead,
    SegmentationHeadConfig,
)
from scmultimodal.ops import segmentation
from scmultimodal.schemas.batches import UNJUDGED, Array, SegmentationBatch
from scmultimodal.tasks import task


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationConfig:
    """The network and what it is trained by.

    Attributes:
        encoder: shape of the encoder of DNA.
        head: shape of the head.
        k: letters of a token.
        gamma: of the focal loss; 0 is cross-entropy.
    """

    encoder: nucleotide_transformer.NucleotideTransformerConfig
    head: SegmentationHeadConfig = dataclasses.field(
        default_factory=SegmentationHeadConfig
    )
    k: int = 6
    gamma: float = 2.0

    def __post_init__(self):
        if self.gamma < 0:
            raise ValueError(f"gamma must be at least 0, got {self.gamma}")


class Segmentation:
    """Every base and element is a question of yes or no, and weighs the same.

    Nothing is learned or judged where the letter is N, or where a window's territory
    does not know an element.
    """

    def __init__(self, config: SegmentationConfig):
        self.config = config
        self._forward = hk.transform_with_state(self._margins)

    def _margins(
        self, batch: SegmentationBatch
    ) -> Float[Array, "windows bases elements"]:
        config = self.config
        encoder = nucleotide_transformer.NucleotideTransformer(config.encoder)
        embeddings = encoder(batch.token_ids.astype(jnp.int32)).embeddings
        network = SegmentationHead(config.head, config.k)
        return segmentation.margins(network(embeddings.astype(jnp.float32)))

    def init(
        self, rng: jax.Array, batch: SegmentationBatch
    ) -> tuple[task.Params, task.Params]:
        """Fresh parameters; they do for windows of any length."""
        return self._forward.init(rng, batch)

    def predict(
        self, params: task.Params, network_state: task.Params, batch: SegmentationBatch
    ) -> Float[Array, "windows bases elements"]:
        """Log-odds of each element at each base."""
        return self._forward.apply(params, network_state, None, batch)[0]

    def loss(
        self,
        params: task.Params,
        network_state: task.Params,
        rng: jax.Array,
        batch: SegmentationBatch,
        *,
        is_training: bool,
    ) -> task.LossOutput:
        """See `Task.loss`. Metrics, where it judges: confusion, score_counts.

        Both are counts of bases by element, per window.
        """
        del rng  # Nothing is drawn.
        batch = jax.tree.map(jnp.asarray, batch)
        margins = self.predict(params, network_state, batch)
        labels, where = self._unpack(batch)
        asked = {"margins": margins, "labels": labels, "where": where}
        loss = segmentation.focal_loss(**asked, gamma=self.config.gamma)
        if is_training:
            return loss, (network_state, {})
        weight = batch.sequence_mask.sum().astype(jnp.float32)
        counted = {
            "confusion": (segmentation.confusion(**asked), weight),
            "score_counts": (segmentation.score_counts(**asked), weight),
        }
        return loss, (network_state, counted)

    def _unpack(
        self, batch: SegmentationBatch
    ) -> tuple[
        Bool[Array, "windows bases elements"], Bool[Array, "windows bases elements"]
    ]:
        """Labels one by one, and which of them count."""
        place = jnp.arange(self.config.head.num_elements)
        packed = batch.labels.astype(jnp.int32)[..., None]
        known = (batch.known.astype(jnp.int32)[:, None] >> place) & 1
        where = (packed & UNJUDGED) == 0
        where &= ((known == 1) & batch.sequence_mask[:, None])[:, None]
        return (packed >> place) & 1 == 1, where

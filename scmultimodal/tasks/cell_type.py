"""Fine-tuning: tell a cell's type from the trunk's output (SPEC 2.5)."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Float

from scmultimodal.modules import cell_encoder
from scmultimodal.modules.heads import cell_type, cell_vector
from scmultimodal.ops import losses, masking, metrics
from scmultimodal.schemas.batches import Array, CellBatch
from scmultimodal.schemas.modality import MODALITIES
from scmultimodal.tasks import task


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellTypeConfig:
    """The classifier and how it is regularised.

    Attributes:
        encoder: shape of the cell encoder.
        head: shape of the cell-type head.
        token_dropout: in training, the share of the non-zero values set to zero, and of
            the open peaks hidden.
        thinning: in training, the share of single counts taken away; values are to be
            counts.
        cell_vector_weight: weight of a second cross-entropy, of a linear map of the
            cell's vector. The head reads tokens and leaves the vector as it is; with
            this, embeddings of the fine-tuned model tell the types apart too.
    """

    encoder: cell_encoder.CellEncoderConfig
    head: cell_type.CellTypeHeadConfig
    token_dropout: float = 0.0
    thinning: float = 0.0
    cell_vector_weight: float = 0.0

    def __post_init__(self):
        for name in ("token_dropout", "thinning"):
            if not 0 <= (share := getattr(self, name)) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {share}")
        if self.cell_vector_weight < 0:
            raise ValueError(
                f"cell_vector_weight must be at least 0, got {self.cell_vector_weight}"
            )


class CellTypeClassification:
    """Cross-entropy of the cell type, over the labelled cells of a batch."""

    def __init__(self, config: CellTypeConfig):
        self.config = config
        self._forward = hk.transform_with_state(self._logits)

    def _logits(
        self, batch: CellBatch, is_training: bool
    ) -> tuple[Float[Array, "cells classes"], Float[Array, "cells classes"] | None]:
        """Logits of the head, and of the cell's vector where it learns too."""
        config = self.config
        encoding = cell_encoder.CellEncoder(config.encoder)(batch)
        logits = cell_vector.logits_of(
            config.head, config.encoder, encoding, batch, is_training=is_training
        )
        if not config.cell_vector_weight:
            return logits, None
        linear = hk.Linear(config.head.num_classes, name="cell_vector_head")
        return logits, linear(encoding.cells)

    def init(self, rng: jax.Array, batch: CellBatch) -> tuple[task.Params, task.Params]:
        """Fresh parameters for the modalities of `batch`."""
        return self._forward.init(rng, batch, is_training=False)

    def predict(
        self, params: task.Params, network_state: task.Params, batch: CellBatch
    ) -> Float[Array, "cells classes"]:
        """Logits of the cell types."""
        (logits, _), _ = self._forward.apply(
            params, network_state, None, batch, is_training=False
        )
        return logits

    def loss(
        self,
        params: task.Params,
        network_state: task.Params,
        rng: jax.Array,
        batch: CellBatch,
        *,
        is_training: bool,
    ) -> task.LossOutput:
        """See `Task.loss`. Metrics: accuracy."""
        batch = jax.tree.map(jnp.asarray, batch)
        drop_key, head_key = jax.random.split(rng)
        if is_training and self.config.token_dropout:
            batch = self._drop_tokens(drop_key, batch)
        if is_training and self.config.thinning:
            batch = self._thin(jax.random.fold_in(drop_key, 1), batch)
        key = head_key if is_training else None
        (logits, vector_logits), state = self._forward.apply(
            params, network_state, key, batch, is_training=is_training
        )
        assert batch.label is not None, "a batch to learn from has labels"
        where = batch.cell_mask & (batch.label >= 0)
        loss = losses.masked_cross_entropy(
            logits=logits, labels=batch.label, where=where
        )
        if vector_logits is not None:
            extra, _ = losses.masked_cross_entropy(
                logits=vector_logits, labels=batch.label, where=where
            )
            loss = (loss[0] + self.config.cell_vector_weight * extra, loss[1])
        correct = logits.argmax(-1) == batch.label
        accuracy = metrics.share_true(values=correct, where=where)
        return loss, (state, {"accuracy": accuracy})

    def _drop_tokens(self, rng: jax.Array, batch: CellBatch) -> CellBatch:
        """Hides tokens from all paths; a hidden token is no key, value or feature."""
        kept_share = 1 - self.config.token_dropout
        if (peaks := batch.peaks) is not None:
            key = jax.random.fold_in(rng, 1)
            kept = masking.draw(key, batch.row, peaks.ids.shape[1], kept_share)
            batch = batch.replace(peaks=peaks.replace(mask=peaks.mask & kept))
        widths = [
            v.shape[1] for m in MODALITIES if (v := getattr(batch, m)) is not None
        ]
        if not widths:
            return batch
        kept = masking.draw(rng, batch.row, widths[0], kept_share)
        if batch.token_mask is not None:
            return batch.replace(token_mask=batch.token_mask & kept)
        values = {
            m: jnp.where(kept, v, 0)
            for m in MODALITIES
            if (v := getattr(batch, m)) is not None
        }
        return batch.replace(**values)

    def _thin(self, rng: jax.Array, batch: CellBatch) -> CellBatch:
        """Takes single counts away, as if the cell had been sequenced less deeply."""
        kept = {
            m: masking.thin(
                key,
                v,
                batch.row,
                kept_share=1 - self.config.thinning,
                most=self.config.encoder.num_bins,
            )
            for key, m in zip(jax.random.split(rng), MODALITIES, strict=True)
            if (v := getattr(batch, m)) is not None
        }
        if batch.token_mask is not None:
            shown = jnp.stack([v > 0 for v in kept.values()]).any(0)
            kept["token_mask"] = batch.token_mask & shown
        return batch.replace(**kept)

"""Fine-tuning: tell a cell's type from the trunk's output (SPEC 2.5)."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Float

from scmultimodal.modules import cell_encoder
from scmultimodal.modules.heads import cell_type
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
        token_dropout: in training, the share of the non-zero values set to zero.
    """

    encoder: cell_encoder.CellEncoderConfig
    head: cell_type.CellTypeHeadConfig
    token_dropout: float = 0.0

    def __post_init__(self):
        if not 0 <= self.token_dropout < 1:
            raise ValueError(
                f"token_dropout must be in [0, 1), got {self.token_dropout}"
            )


class CellTypeClassification:
    """Cross-entropy of the cell type, over the labelled cells of a batch."""

    def __init__(self, config: CellTypeConfig):
        self.config = config
        self._forward = hk.transform_with_state(self._logits)

    def _logits(
        self, batch: CellBatch, is_training: bool
    ) -> Float[Array, "cells classes"]:
        tokens = cell_encoder.CellEncoder(self.config.encoder)(batch).tokens
        head = cell_type.CellTypeHead(self.config.head, self.config.encoder.num_genes)
        return head(tokens, batch, is_training=is_training)

    def init(self, rng: jax.Array, batch: CellBatch) -> tuple[task.Params, task.Params]:
        """Fresh parameters for the modalities of `batch`."""
        return self._forward.init(rng, batch, is_training=False)

    def predict(
        self, params: task.Params, network_state: task.Params, batch: CellBatch
    ) -> Float[Array, "cells classes"]:
        """Logits of the cell types."""
        return self._forward.apply(
            params, network_state, None, batch, is_training=False
        )[0]

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
        logits, _ = self._forward.apply(
            params, network_state, head_key, batch, is_training=is_training
        )
        assert batch.label is not None, "a batch to learn from has labels"
        where = batch.cell_mask & (batch.label >= 0)
        loss = losses.masked_cross_entropy(
            logits=logits, labels=batch.label, where=where
        )
        correct = logits.argmax(-1) == batch.label
        accuracy = metrics.share_true(values=correct, where=where)
        return loss, (network_state, {"accuracy": accuracy})

    def _drop_tokens(self, rng: jax.Array, batch: CellBatch) -> CellBatch:
        """Hides tokens from both paths; a hidden token is no key, value or feature."""
        kept_share = 1 - self.config.token_dropout
        num_tokens = next(
            v.shape[1] for m in MODALITIES if (v := getattr(batch, m)) is not None
        )
        kept = masking.draw(rng, batch.row, num_tokens, kept_share)
        if batch.token_mask is not None:
            return batch.replace(token_mask=batch.token_mask & kept)
        values = {
            m: jnp.where(kept, v, 0)
            for m in MODALITIES
            if (v := getattr(batch, m)) is not None
        }
        return batch.replace(**values)

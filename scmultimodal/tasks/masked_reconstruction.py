"""Pre-training: predict the masked value bins of a cell (SPEC 2.4)."""

import dataclasses
from collections.abc import Mapping

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from scmultimodal.modules import cell_encoder
from scmultimodal.modules.heads import reconstruction
from scmultimodal.ops import losses, masking, metrics
from scmultimodal.schemas.batches import Array, CellBatch, WeightedSum
from scmultimodal.schemas.modality import MODALITIES, Modality
from scmultimodal.tasks import task

Positions = Mapping[str, Int[Array, "cells chosen"]]
"""Of each modality, the tokens whose logits are wanted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedReconstructionConfig:
    """What is hidden from the model.

    Attributes:
        encoder: shape of the cell encoder.
        mask_share: of the non-zero values, the share to predict.
        replaced_share: of those, the share that becomes the mask value; the others
            keep theirs (scBERT).
    """

    encoder: cell_encoder.CellEncoderConfig
    mask_share: float = 0.15
    replaced_share: float = 0.9

    def __post_init__(self):
        if not 0 < self.mask_share <= 1:
            raise ValueError(f"mask_share must be in (0, 1], got {self.mask_share}")
        if not 0 <= self.replaced_share <= 1:
            raise ValueError(
                f"replaced_share must be in [0, 1], got {self.replaced_share}"
            )


class MaskedReconstruction:
    """The pre-training task. Masks of the two modalities are drawn independently.

    A cell's loss is the mean over its masked positions of the cross-entropy of the
    true bin; of a cell with both modalities, the mean of its two losses. Both
    reconstruction heads read the same joint embedding, so that a visible ATAC value
    at a gene informs the masked RNA value there.
    """

    def __init__(self, config: MaskedReconstructionConfig):
        self.config = config
        self._forward = hk.transform_with_state(self._logits)

    def _logits(
        self, batch: CellBatch, at: Positions | None = None
    ) -> dict[str, Float[Array, "cells rows bins"]]:
        """Of each modality, at its own positions (None: at all tokens)."""
        modalities = [m for m in MODALITIES if getattr(batch, m) is not None]
        encoder = cell_encoder.CellEncoder(self.config.encoder)
        if at is None:
            tokens = dict.fromkeys(modalities, encoder(batch).tokens)
        else:
            together = jnp.concatenate([at[m] for m in modalities], 1)
            ends = np.cumsum([at[m].shape[1] for m in modalities])
            parts = jnp.split(encoder(batch, together).tokens, ends[:-1], 1)
            tokens = dict(zip(modalities, parts, strict=True))
        return {
            modality: reconstruction.ReconstructionHead(
                self.config.encoder.num_bins, name=f"{modality}_reconstruction_head"
            )(tokens[modality])
            for modality in modalities
        }

    def init(self, rng: jax.Array, batch: CellBatch) -> tuple[task.Params, task.Params]:
        """Fresh parameters for the modalities of `batch`."""
        return self._forward.init(rng, batch)

    def predict(
        self, params: task.Params, network_state: task.Params, batch: CellBatch
    ) -> dict[str, Float[Array, "cells tokens bins"]]:
        """Logits of bins 1…num_bins of each modality at each token."""
        return self._forward.apply(params, network_state, None, batch)[0]

    def mask(
        self, rng: jax.Array, batch: CellBatch
    ) -> tuple[CellBatch, dict[str, masking.MaskedValues]]:
        """Hides values of each modality; returns the batch the model may see."""
        batch = jax.tree.map(jnp.asarray, batch)
        masked = {}
        for key, modality in zip(jax.random.split(rng), MODALITIES, strict=True):
            if (values := getattr(batch, modality)) is not None:
                masked[modality] = masking.mask_values(
                    key,
                    values,
                    batch.row,
                    share=self.config.mask_share,
                    replaced_share=self.config.replaced_share,
                    mask_value=self.config.encoder.mask_value,
                )
        return batch.replace(**{m: v.values for m, v in masked.items()}), masked

    def loss(
        self,
        params: task.Params,
        network_state: task.Params,
        rng: jax.Array,
        batch: CellBatch,
        *,
        is_training: bool,
    ) -> task.LossOutput:
        """See `Task.loss`. Nothing is asked of a batch that shows peaks alone.

        Metrics: loss and accuracy of each modality.
        """
        if batch.rna is None and batch.atac is None:
            return task.nothing_asked(network_state)
        visible, masked = self.mask(rng, batch)
        at = {
            modality: masking.positions(
                hidden.where,
                masking.most_chosen(hidden.where.shape[1], self.config.mask_share),
            )
            for modality, hidden in masked.items()
        }
        key = jax.random.fold_in(rng, 1) if is_training else None
        logits, state = self._forward.apply(params, network_state, key, visible, at)
        cell_losses, cell_counts, measured = [], [], {}
        for modality, modality_logits in logits.items():
            true_bins, where = (
                jnp.take_along_axis(values, at[modality], 1)
                for values in (getattr(batch, modality), masked[modality].where)
            )
            where &= batch.cell_mask[:, None]
            values = losses.token_cross_entropy(
                logits=modality_logits, labels=true_bins.astype(jnp.int32) - 1
            )
            mean, has_any = losses.cell_mean(values=values, where=where)
            cell_losses.append(mean)
            cell_counts.append(has_any)
            measured |= _metrics(modality, modality_logits, true_bins, where, mean)
        total = _mean_of_modalities(jnp.stack(cell_losses), jnp.stack(cell_counts))
        return total, (state, measured)


def _mean_of_modalities(
    cell_losses: Float[Array, "modalities cells"], has_any: Array
) -> WeightedSum:
    weights = has_any / jnp.maximum(has_any.sum(0), 1)
    return (cell_losses * weights).sum(), has_any.any(0).sum().astype(jnp.float32)


def _metrics(
    modality: Modality, logits: Array, true_bins: Array, where: Array, mean: Array
) -> dict[str, WeightedSum]:
    correct = logits.argmax(-1) + 1 == true_bins
    return {
        f"{modality}_loss": (mean.sum(), where.any(-1).sum().astype(jnp.float32)),
        f"{modality}_accuracy": metrics.share_true(values=correct, where=where),
    }

"""Pre-training: predict one half of a cell's counts from its vector of the other half.

Masked bins teach tokens; this teaches the cell's vector, and across modalities: of a
cell with both, one may be hidden from the encoder whole and is then predicted whole.
"""

import dataclasses
from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Integer

from scmultimodal.modules import cell_encoder
from scmultimodal.modules.heads import counts
from scmultimodal.ops import masking
from scmultimodal.schemas.batches import Array, CellBatch
from scmultimodal.schemas.modality import MODALITIES
from scmultimodal.tasks import task

Held = dict[str, Integer[Array, "cells tokens"]]
"""By modality, the counts to predict."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CountSplittingConfig:
    """What the encoder sees.

    Attributes:
        encoder: shape of the cell encoder; its values are counts up to `num_bins`.
        decoder: shape of the decoder of the cell's vector.
        kept_share: probability that the encoder sees a count.
        modality_dropout: of a cell with both modalities, the probability that one of
            them, either as likely, is hidden from the encoder.
    """

    encoder: cell_encoder.CellEncoderConfig
    decoder: counts.CountDecoderConfig = dataclasses.field(
        default_factory=counts.CountDecoderConfig
    )
    kept_share: float = 0.5
    modality_dropout: float = 0.5

    def __post_init__(self):
        if not 0 < self.kept_share < 1:
            raise ValueError(f"kept_share must be in (0, 1), got {self.kept_share}")
        if not 0 <= self.modality_dropout <= 1:
            raise ValueError(
                f"modality_dropout must be in [0, 1], got {self.modality_dropout}"
            )


class CountSplitting:
    """Multinomial cross-entropy of the counts that the encoder did not see.

    A cell's loss is the mean over its unseen counts, in nats; of a cell with unseen
    counts in both modalities, the mean of its two losses.
    """

    def __init__(self, config: CountSplittingConfig):
        self.config = config
        self._forward = hk.transform_with_state(self._log_shares)

    def _log_shares(
        self, batch: CellBatch, modalities: Sequence[str] | None = None
    ) -> dict[str, Float[Array, "cells genes"]]:
        """Of the modalities that are asked for; None asks for those shown."""
        config = self.config
        encoding = cell_encoder.CellEncoder(config.encoder)(batch)
        decoder = counts.CountDecoder(config.decoder, config.encoder.num_genes)
        shown = [m for m in MODALITIES if getattr(batch, m) is not None]
        return decoder(encoding, batch, shown if modalities is None else modalities)

    def init(self, rng: jax.Array, batch: CellBatch) -> tuple[task.Params, task.Params]:
        """Fresh parameters for the modalities of `batch`."""
        return self._forward.init(rng, batch)

    def predict(
        self,
        params: task.Params,
        network_state: task.Params,
        batch: CellBatch,
        modalities: Sequence[str] | None = None,
    ) -> dict[str, Float[Array, "cells genes"]]:
        """Log of the share of a cell's counts that each gene has, by modality."""
        return self._forward.apply(params, network_state, None, batch, modalities)[0]

    def split(self, rng: jax.Array, batch: CellBatch) -> tuple[CellBatch, Held]:
        """What the encoder may see of a batch, and what it has to predict."""
        batch = jax.tree.map(jnp.asarray, batch)
        hidden = self._hidden(jax.random.fold_in(rng, 2), batch)
        fields, held = {}, {}
        for key, modality in zip(jax.random.split(rng), MODALITIES, strict=True):
            if (values := getattr(batch, modality)) is None:
                continue
            kept = masking.thin(
                key,
                values,
                batch.row,
                kept_share=self.config.kept_share,
                most=self.config.encoder.num_bins,
            )
            kept = jnp.where(hidden[modality][:, None], 0, kept)
            present = getattr(batch, f"{modality}_present")
            fields[modality] = kept
            fields[f"{modality}_present"] = present & ~hidden[modality]
            held[modality] = jnp.where(present[:, None], values - kept, 0)
        if self.config.encoder.tokens != "all":
            shown = [fields[m] for m in held]
            mask = jnp.stack([values > 0 for values in shown]).any(0)
            fields["token_mask"] = mask & batch.token_mask
        return batch.replace(**fields), held

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

        Metrics: nats for an unseen count of each modality.
        """
        if batch.rna is None and batch.atac is None:
            return task.nothing_asked(network_state)
        visible, held = self.split(rng, batch)
        key = jax.random.fold_in(rng, 1) if is_training else None
        log_shares, state = self._forward.apply(params, network_state, key, visible)
        losses, weights, measured = [], [], {}
        for modality, values in held.items():
            nats, number = _cross_entropy(log_shares[modality], values, batch)
            counted = batch.cell_mask & (number > 0)
            losses.append(jnp.where(counted, nats / jnp.maximum(number, 1), 0))
            weights.append(counted)
            measured[f"{modality}_nats_per_count"] = (
                jnp.where(counted, nats, 0).sum(),
                jnp.where(counted, number, 0).sum(),
            )
        total, some = jnp.stack(losses).sum(0), jnp.stack(weights)
        mean = total / jnp.maximum(some.sum(0), 1)
        return (mean.sum(), some.any(0).sum().astype(mean.dtype)), (state, measured)

    def _hidden(
        self, rng: jax.Array, batch: CellBatch
    ) -> dict[str, Bool[Array, " cells"]]:
        """Which cells hide which modality from the encoder."""
        present = {m: getattr(batch, f"{m}_present") for m in MODALITIES}
        if batch.rna is None or batch.atac is None:
            return {m: jnp.zeros_like(present[m]) for m in MODALITIES}
        which, one = jax.random.split(rng)
        drops = masking.draw(which, batch.row, 1, self.config.modality_dropout)[:, 0]
        drops &= present["rna"] & present["atac"]
        rna = masking.draw(one, batch.row, 1, 0.5)[:, 0]
        return {"rna": drops & rna, "atac": drops & ~rna}


def _cross_entropy(
    log_shares: Float[Array, "cells genes"],
    counted: Integer[Array, "cells tokens"],
    batch: CellBatch,
) -> tuple[Float[Array, " cells"], Float[Array, " cells"]]:
    """Nats of all counts of each cell, and how many they are."""
    values = counted.astype(log_shares.dtype)
    if batch.gene_ids is not None:
        log_shares = jnp.take_along_axis(log_shares, batch.gene_ids, 1)
    if batch.token_mask is not None:
        values = jnp.where(batch.token_mask, values, 0)
    return -(values * log_shares).sum(1), values.sum(1)

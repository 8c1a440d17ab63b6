"""Pre-training: of many cells, find the RNA that belongs to an ATAC profile, and back.

Brings the vectors of the two paths together, so that what is learned on one modality
holds for the other. Sources: CLIP (Radford et al. 2021, arXiv:2103.00020), scCLIP.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from scmultimodal.modules import cell_encoder
from scmultimodal.ops import masking
from scmultimodal.schemas.batches import Array, CellBatch
from scmultimodal.schemas.modality import MODALITIES, Modality
from scmultimodal.tasks import task

_NEVER = -1e9


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContrastiveConfig:
    """What is compared, and how sharply.

    Attributes:
        encoder: shape of the cell encoder.
        temperature: that cosines are divided by.
        kept_share: probability that the encoder sees a token: two views of a shallow
            cell are else told apart by a gene or two.
    """

    encoder: cell_encoder.CellEncoderConfig
    temperature: float = 0.1
    kept_share: float = 0.8

    def __post_init__(self):
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not 0 < self.kept_share <= 1:
            raise ValueError(f"kept_share must be in (0, 1], got {self.kept_share}")


class Contrastive:
    """Cross-entropy of a cell's other modality among those of the batch, both ways.

    The others are the cells on the same device that have both modalities; a batch of
    one modality, or a lone cell, has no loss.
    """

    def __init__(self, config: ContrastiveConfig):
        self.config = config
        self._encoder = cell_encoder.build_encoder(config.encoder)

    def init(self, rng: jax.Array, batch: CellBatch) -> tuple[task.Params, task.Params]:
        """Fresh parameters for the modalities of `batch`."""
        return self._encoder.init(rng, batch)

    def loss(
        self,
        params: task.Params,
        network_state: task.Params,
        rng: jax.Array,
        batch: CellBatch,
        *,
        is_training: bool,
    ) -> task.LossOutput:
        """See `Task.loss`. Metrics: share of cells whose other modality is nearest."""
        batch = jax.tree.map(jnp.asarray, batch)
        zero = jnp.zeros(())
        if batch.rna is None or batch.atac is None:
            return (zero, zero), (network_state, {"matched": (zero, zero)})
        both = batch.cell_mask & batch.rna_present & batch.atac_present
        found, state = {}, network_state
        for key, modality in zip(jax.random.split(rng), MODALITIES, strict=True):
            view = alone(batch, modality)
            if is_training and self.config.kept_share < 1:
                view = self._drop(key, view, modality)
            encoding, new = self._encoder.apply(params, state, key, view)
            state = {**state, **new}
            found[modality] = _unit(encoding.cells)
        cosines = found["rna"] @ found["atac"].T / self.config.temperature
        where = both & (both.sum() > 1)
        losses, hits = zip(
            *(_match(logits, where) for logits in (cosines, cosines.T)), strict=True
        )
        weight = where.sum().astype(cosines.dtype)
        total = sum(losses) / 2
        return (total, weight), (state, {"matched": (sum(hits) / 2, weight)})

    def _drop(self, rng: jax.Array, view: CellBatch, modality: str) -> CellBatch:
        values = getattr(view, modality)
        kept = masking.draw(rng, view.row, values.shape[1], self.config.kept_share)
        fields = {modality: jnp.where(kept, values, 0)}
        if view.token_mask is not None and self.config.encoder.tokens != "all":
            fields["token_mask"] = view.token_mask & kept
        return view.replace(**fields)


def alone(batch: CellBatch, modality: Modality | str) -> CellBatch:
    """What is left of a batch where one modality was measured."""
    other = next(m for m in MODALITIES if m != modality)
    fields = {other: None, f"{other}_present": jnp.zeros_like(batch.cell_mask)}
    if batch.token_mask is not None:
        fields["token_mask"] = batch.token_mask & (getattr(batch, modality) > 0)
    return batch.replace(**fields)


def _unit(vectors: Float[Array, "cells dim"]) -> Float[Array, "cells dim"]:
    squares = jnp.square(vectors).sum(-1, keepdims=True)
    return vectors * jax.lax.rsqrt(squares + 1e-6)


def _match(
    logits: Float[Array, "cells others"], where: Bool[Array, " cells"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Sums over the cells: of the cross-entropy, and of those whose match is first."""
    logits = jnp.where(where[None], logits, _NEVER)
    nats = -jnp.diagonal(jax.nn.log_softmax(logits))
    first = logits.argmax(1) == jnp.arange(len(logits))
    counted = where.astype(logits.dtype)
    return (jnp.where(where, nats, 0)).sum(), (first * counted).sum()

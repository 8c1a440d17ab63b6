"""Pre-training: a cell's vector should not tell which batch the cell is of.

A classifier learns to tell, and the encoder, whose gradient is reversed, not to let it.
Source: Ganin & Lempitsky 2015, arXiv:1409.7495.
"""

import dataclasses
import functools

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Float

from scmultimodal.modules import cell_encoder, peak_encoder
from scmultimodal.ops import losses, metrics
from scmultimodal.schemas.batches import Array, CellBatch
from scmultimodal.tasks import task
from scmultimodal.tasks.gene_from_peaks import peaks_alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchAdversaryConfig:
    """Who is to be misled, and how hard.

    Attributes:
        encoder: shape of the cell encoder.
        num_batches: batches of the dataset.
        strength: of the reversed gradient.
        hidden: width of the classifier's hidden layer.
        peaks_alone: the encoder sees open peaks and no gene, as in `gene_from_peaks`; a
            cell without one counts nothing.
    """

    encoder: cell_encoder.CellEncoderConfig
    num_batches: int
    strength: float = 1.0
    hidden: int = 64
    peaks_alone: bool = False

    def __post_init__(self):
        if self.num_batches < 2:
            raise ValueError(f"num_batches must be at least 2, got {self.num_batches}")
        if not self.strength > 0:
            raise ValueError(f"strength must be positive, got {self.strength}")


class BatchAdversary:
    """Cross-entropy of a cell's batch, which is the label of the cells it is given."""

    def __init__(self, config: BatchAdversaryConfig):
        self.config = config
        self._forward = hk.transform_with_state(self._logits)

    def _logits(self, batch: CellBatch) -> Float[Array, "cells batches"]:
        config = self.config
        cells = cell_encoder.CellEncoder(config.encoder)(batch).cells
        assert cells is not None, "the encoder was asked for all tokens"
        # A mean over many tokens varies little from cell to cell.
        cells = hk.LayerNorm(-1, True, True, name="adversary_norm")(
            reverse_gradient(cells, config.strength)
        )
        hidden = jax.nn.relu(hk.Linear(config.hidden, name="adversary_hidden")(cells))
        return hk.Linear(config.num_batches, name="adversary_logits")(hidden)

    def init(self, rng: jax.Array, batch: CellBatch) -> tuple[task.Params, task.Params]:
        """Fresh parameters for the modalities of `batch`."""
        return self._forward.init(rng, self._visible(batch))

    def _visible(self, batch: CellBatch) -> CellBatch:
        return peaks_alone(batch) if self.config.peaks_alone else batch

    def loss(
        self,
        params: task.Params,
        network_state: task.Params,
        rng: jax.Array,
        batch: CellBatch,
        *,
        is_training: bool,
    ) -> task.LossOutput:
        """See `Task.loss`. Metrics: share of cells whose batch the classifier tells."""
        batch = self._visible(jax.tree.map(jnp.asarray, batch))
        key = rng if is_training else None
        logits, state = self._forward.apply(params, network_state, key, batch)
        assert batch.label is not None, "cells come with their batch as label"
        where = batch.cell_mask & (batch.label >= 0)
        if self.config.peaks_alone:
            where &= peak_encoder.has_peaks(batch.peaks)
        loss = losses.masked_cross_entropy(
            logits=logits, labels=batch.label, where=where
        )
        told = metrics.share_true(values=logits.argmax(-1) == batch.label, where=where)
        return loss, (state, {"batch_accuracy": told})


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def reverse_gradient(values: Array, strength: float) -> Array:
    """The same values; what flows back through them is reversed."""
    return values


def _forward(values: Array, strength: float) -> tuple[Array, None]:
    return values, None


def _backward(strength: float, _: None, gradient: Array) -> tuple[Array]:
    return (-strength * gradient,)


reverse_gradient.defvjp(_forward, _backward)

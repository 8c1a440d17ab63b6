"""Reads the cell type off the tokens of a cell (SPEC 2.5)."""

import dataclasses
import functools

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from scmultimodal.modules import cell_encoder
from scmultimodal.ops import masking
from scmultimodal.schemas.batches import Array, CellBatch
from scmultimodal.schemas.modality import MODALITIES


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellTypeHeadConfig:
    """Shape of the cell-type head.

    Attributes:
        num_classes: cell types.
        hidden: widths of the hidden layers of the MLP.
        dropout: rate after each hidden layer, in training only.
        silent_genes: whether it reads the tokens of genes that no modality of the cell
            shows; they are context for the others all the same.
    """

    num_classes: int
    hidden: tuple[int, ...] = (512, 100)
    dropout: float = 0.0
    silent_genes: bool = True

    def __post_init__(self):
        if self.num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {self.num_classes}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


class CellTypeHead(hk.Module):
    """Convolution of width 1 to one channel, then an MLP over the genes.

    It sees the trunk's output only. Where a cell's tokens are its non-zero genes, the
    channel is scattered back to all genes with zeros between. Its bias belongs to the
    token and starts at one: that a gene is there says most about a type, and a
    pre-trained trunk, whose tokens differ, would hide it (on mouse cortex ATAC lost
    six points to training from scratch). The channel has no nonlinearity: with
    scBERT's ReLU all genes share one unit, which can die and take the head with it
    (seen there too). Where silent genes are tokens and are read, what genes have in
    common in all cells outweighs what tells cells apart, and a fresh head learns slowly
    (at `small` not at all); `silent_genes` leaves them out.
    """

    def __init__(
        self, config: CellTypeHeadConfig, num_genes: int, name: str = "cell_type_head"
    ):
        super().__init__(name=name)
        self.config, self.num_genes = config, num_genes

    def __call__(
        self,
        tokens: Float[Array, "cells tokens dim"],
        batch: CellBatch,
        *,
        is_training: bool,
    ) -> Float[Array, "cells classes"]:
        """Returns the logits of the cell types."""
        dim = tokens.shape[-1]
        init = hk.initializers.TruncatedNormal(dim**-0.5)
        kernel = hk.get_parameter("convolution", (dim,), init=init)
        bias = hk.get_parameter("convolution_bias", (), init=jnp.ones)
        hidden = tokens @ kernel + bias
        if not self.config.silent_genes:
            hidden = jnp.where(_shown(batch), hidden, 0)
        if batch.token_mask is not None:
            hidden = cell_encoder.scatter_to_genes(
                hidden, batch.gene_ids, batch.token_mask, self.num_genes
            )
        for i, width in enumerate(self.config.hidden):
            hidden = jax.nn.relu(hk.Linear(width, name=f"hidden_{i}")(hidden))
            if is_training and self.config.dropout:
                keep = 1 - self.config.dropout
                kept = masking.draw(hk.next_rng_key(), batch.row, width, keep)
                hidden = jnp.where(kept, hidden / keep, 0)
        return hk.Linear(self.config.num_classes, name="logits")(hidden)


def _shown(batch: CellBatch) -> Bool[Array, "cells tokens"]:
    """Tokens whose value is not zero in every modality."""
    values = [v for m in MODALITIES if (v := getattr(batch, m)) is not None]
    return functools.reduce(jnp.logical_or, [v > 0 for v in values])

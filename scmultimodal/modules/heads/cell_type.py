"""Reads the cell type off the tokens of a cell (SPEC 2.5)."""

import dataclasses
import functools
from typing import Literal

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Real

from scmultimodal.modules import token_arrays, token_dials
from scmultimodal.modules.token_dials import Dials
from scmultimodal.ops import masking
from scmultimodal.schemas.batches import Array, CellBatch


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellTypeHeadConfig:
    """Shape of the cell-type head.

    Attributes:
        num_classes: cell types.
        hidden: widths of the hidden layers of the MLP.
        dropout: rate after each hidden layer, in training only.
        silent_genes: whether it reads the tokens of genes that no modality of the cell
            shows; they are context for the others all the same.
        by_value: multiplies what a token says by its value bin, the larger one where
            both modalities show the gene, so that the MLP sees counts and not presence
            alone.
        skip: adds a linear map of the value bins to the logits, past the trunk; of what
            peaks are open, where they are shown. Not the study's: there the head sees
            the trunk's output alone.
        root_skip: adds another, of the open peaks over the root of their number.
        reads: the "tokens" of genes, or the cell's "vector", which is all there is of
            peaks (`heads.cell_vector`).
    """

    num_classes: int
    hidden: tuple[int, ...] = (512, 100)
    dropout: float = 0.0
    silent_genes: bool = True
    by_value: bool = False
    skip: bool = False
    root_skip: bool = False
    reads: Literal["tokens", "vector"] = "tokens"

    def __post_init__(self):
        if self.num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {self.num_classes}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.reads == "vector" and self.by_value:
            raise ValueError("by_value must be false where the vector is read")
        if self.reads == "tokens" and self.root_skip:
            raise ValueError("root_skip must be false where tokens are read")


class CellTypeHead(hk.Module):
    """Convolution of width 1 to one channel, then an MLP over the genes.

    It sees the trunk's output only, unless `skip`. Where a cell's tokens are its
    non-zero genes, the channel is scattered back to all genes with zeros between. Its
    bias belongs to the token and starts at one: that a gene is there says most about a
    type, and a pre-trained trunk, whose tokens differ, would hide it (on mouse cortex
    ATAC lost six points to training from scratch). The channel has no nonlinearity:
    with scBERT's ReLU all genes share one unit, which can die and take the head with
    it (seen there too). Where silent genes are tokens and are read, what genes have in
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
        dials: Dials | None = None,
    ) -> Float[Array, "cells classes"]:
        """Returns the logits of the cell types."""
        dim = tokens.shape[-1]
        init = hk.initializers.TruncatedNormal(dim**-0.5)
        kernel = hk.get_parameter("convolution", (dim,), init=init)
        bias = hk.get_parameter("convolution_bias", (), init=jnp.ones)
        hidden = tokens @ kernel + bias
        if not self.config.silent_genes:
            hidden = jnp.where(_shown(batch), hidden, 0)
        if self.config.by_value:
            hidden *= _largest(batch, dials).astype(hidden.dtype)
        elif dials is not None and (dials.tokens_fade or not self.config.silent_genes):
            hidden *= token_dials.there(token_dials.values_of(batch), dials)
        if batch.token_mask is not None:
            hidden = token_arrays.scatter_to_genes(
                hidden, batch.gene_ids, batch.token_mask, self.num_genes
            )
        hidden = hidden_layers(self.config, hidden, batch, is_training=is_training)
        logits = hk.Linear(self.config.num_classes, name="logits")(hidden)
        if not self.config.skip:
            return logits
        added = skipped(self.config.num_classes, self.num_genes, batch, dials)
        return logits if added is None else logits + added


def hidden_layers(
    config: CellTypeHeadConfig,
    hidden: Float[Array, "cells features"],
    batch: CellBatch,
    *,
    is_training: bool,
) -> Float[Array, "cells width"]:
    """The hidden layers of the MLP; to be called by the head that owns them."""
    for i, width in enumerate(config.hidden):
        hidden = jax.nn.relu(hk.Linear(width, name=f"hidden_{i}")(hidden))
        if is_training and config.dropout:
            keep = 1 - config.dropout
            kept = masking.draw(hk.next_rng_key(), batch.row, width, keep)
            hidden = jnp.where(kept, hidden / keep, 0)
    return hidden


def skipped(
    num_classes: int, num_genes: int, batch: CellBatch, dials: Dials | None
) -> Float[Array, "cells classes"] | None:
    """A linear map of the bins of each modality, with a weight for each gene.

    None of a batch that shows no gene. To be called by the head, whose parameters the
    weights are.
    """
    shape, logits = (num_genes, num_classes), []
    for modality, values in token_dials.values_of(batch).items():
        values = token_dials.dialled(values.astype(jnp.float32), modality, dials)
        if batch.gene_ids is not None:
            values = token_arrays.scatter_to_genes(
                values, batch.gene_ids, batch.token_mask, num_genes
            )
        elif batch.token_mask is not None:
            values = jnp.where(batch.token_mask, values, 0)
        weights = hk.get_parameter(f"{modality}_skip", shape, init=jnp.zeros)
        logits.append(values @ weights)
    return functools.reduce(jnp.add, logits) if logits else None


def _shown(batch: CellBatch) -> Bool[Array, "cells tokens"]:
    """Tokens whose value is not zero in every modality."""
    return _largest(batch) > 0


def _largest(
    batch: CellBatch, dials: Dials | None = None
) -> Real[Array, "cells tokens"]:
    """The value of each token in the modality that has more of it."""
    values = [
        token_dials.dialled(v, m, dials)
        for m, v in token_dials.values_of(batch).items()
    ]
    return functools.reduce(jnp.maximum, values)

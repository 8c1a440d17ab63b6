"""Predicts the profile of a cell's counts from its vector."""

import dataclasses
from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Float

from scmultimodal.modules import token_arrays
from scmultimodal.modules.cell_encoder import CellEncoding
from scmultimodal.schemas.batches import Array, CellBatch


@dataclasses.dataclass(frozen=True, kw_only=True)
class CountDecoderConfig:
    """Shape of the decoder.

    Attributes:
        hidden: width of its hidden layer; 0 maps the cell's vector directly.
        by_token: adds what the tokens say of their own genes, so that the cell's vector
            need not carry what one gene alone shows, such as how open it is.
    """

    hidden: int = 256
    by_token: bool = False

    def __post_init__(self):
        if self.hidden < 0:
            raise ValueError(f"hidden must be at least 0, got {self.hidden}")


class CountDecoder(hk.Module):
    """The share of a cell's counts that each gene has, in every modality."""

    def __init__(
        self, config: CountDecoderConfig, num_genes: int, name: str = "count_decoder"
    ):
        super().__init__(name=name)
        self.config, self.num_genes = config, num_genes

    def __call__(
        self,
        encoding: CellEncoding,
        batch: CellBatch,
        modalities: Sequence[str],
    ) -> dict[str, Float[Array, "cells genes"]]:
        """Log shares by modality; those of a cell sum to one.

        Args:
            encoding: what the encoder says of the batch.
            batch: the cells, for the genes that their tokens are.
            modalities: what is asked for, shown in the batch or not.
        """
        cells = encoding.cells
        assert cells is not None, "the encoder was asked for all tokens"
        # A mean over many tokens varies little from cell to cell.
        cells = hk.LayerNorm(-1, True, True, name="norm")(cells)
        if self.config.hidden:
            cells = jax.nn.relu(hk.Linear(self.config.hidden, name="hidden")(cells))
        found = {}
        for modality in modalities:
            logits = hk.Linear(self.num_genes, name=f"{modality}_genes")(cells)
            if self.config.by_token:
                logits += self._of_tokens(encoding.tokens, batch, modality)
            found[modality] = jax.nn.log_softmax(logits)
        return found

    @hk.transparent
    def _of_tokens(
        self, tokens: Float[Array, "cells tokens dim"], batch: CellBatch, modality: str
    ) -> Float[Array, "cells genes"]:
        """A number for each token, at its gene; 0 where a gene is none."""
        own = hk.Linear(1, w_init=jnp.zeros, name=f"{modality}_tokens")(tokens)[..., 0]
        if batch.gene_ids is None:
            return own if batch.token_mask is None else own * batch.token_mask
        return token_arrays.scatter_to_genes(
            own, batch.gene_ids, batch.token_mask, self.num_genes
        )

"""Tells how much of a gene a cell has, from the cell's vector and the gene's query."""

import haiku as hk
import jax.numpy as jnp
from jaxtyping import Float, Int

from scmultimodal.modules.heads.gene_query import GeneQueryConfig, GeneQueryHead
from scmultimodal.schemas.batches import Array

NAME = "gene_value_head"


class GeneValueHead(hk.Module):
    """A value for some genes of each cell.

    An offset of the gene, a line in the log of the cell's open peaks, which a vector
    need not know and a value of few counts depends on; and, beginning at 0, what the
    vector adds to all genes and to each.
    """

    def __init__(self, config: GeneQueryConfig, num_genes: int, name: str = NAME):
        super().__init__(name=name)
        self.config, self.num_genes = config, num_genes

    def __call__(
        self,
        cells: Float[Array, "cells dim"],
        num_peaks: Int[Array, " cells"],
        genes: Int[Array, "cells queries"] | None,
        batch_code: Int[Array, " cells"] | None = None,
    ) -> Float[Array, "cells queries"]:
        """Answers the queries.

        Args:
            cells: vectors.
            num_peaks: that are open, and shown, of each cell.
            genes: that are asked about; None asks about all, in their order.
            batch_code: of each cell, −1 where unknown; None knows none.
        """
        offset = hk.get_parameter("offset", (self.num_genes,), init=jnp.zeros)
        scale = hk.get_parameter("depth_scale", (), init=jnp.zeros)
        own = GeneQueryHead(self.config, self.num_genes)(cells, genes, batch_code)
        normed = hk.LayerNorm(-1, True, True, name="norm")(cells)
        alike = hk.Linear(1, w_init=jnp.zeros, name="all_genes")(normed)
        of_genes = offset if genes is None else jnp.take(offset, genes)
        depth = jnp.log1p(num_peaks.astype(normed.dtype))[:, None]
        return own[..., 0] + of_genes + alike + scale * depth


def build_gene_value_head(config: GeneQueryConfig, num_genes: int) -> hk.Transformed:
    """`apply(params, None, cells, num_peaks, genes, batch_code)`, as it is called."""
    return hk.transform(
        lambda cells, num_peaks, genes, batch_code=None: GeneValueHead(
            config, num_genes
        )(cells, num_peaks, genes, batch_code)
    )

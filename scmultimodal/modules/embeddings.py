"""From tokens and values to vectors."""

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Integer

from scmultimodal.schemas.batches import Array


class GeneValueEmbedding(hk.Module):
    """Sum of what a token is (gene or peak sum) and how much of it there is."""

    def __init__(self, num_genes: int, num_values: int, dim: int, name=None):
        super().__init__(name=name)
        self.num_genes, self.num_values, self.dim = num_genes, num_values, dim

    def __call__(
        self,
        values: Integer[Array, "cells tokens"],
        gene_ids: Int[Array, "cells tokens"] | None,
    ) -> Float[Array, "cells tokens dim"]:
        """Embeds value bins at their genes (None: all genes in vocabulary order)."""
        init = hk.initializers.TruncatedNormal(self.dim**-0.5)
        gene = hk.Embed(self.num_genes, self.dim, w_init=init, name="gene").embeddings
        value = hk.Embed(self.num_values, self.dim, w_init=init, name="value")
        # A matrix product over few values: its gradient is no scatter.
        one_hot = jax.nn.one_hot(values, self.num_values, dtype=gene.dtype)
        gene_vectors = gene[None] if gene_ids is None else jnp.take(gene, gene_ids, 0)
        return one_hot @ value.embeddings + gene_vectors

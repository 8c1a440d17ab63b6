"""Asks the vector of a cell about genes: in which bin of expression is each."""

import dataclasses
import typing
from collections.abc import Callable
from typing import Literal

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from scmultimodal.schemas.batches import Array

QueryStyle = Literal["concatenated", "inner_product", "summed"]
STYLES = typing.get_args(QueryStyle)
_GENES_AT_ONCE = 512
"""Of a batch: what a head keeps does not grow with the vocabulary."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneQueryConfig:
    """Shape of the head.

    Attributes:
        style: how a query meets the cell: "concatenated" to it, before two linear
            layers (EpiFoundation's); as an "inner_product" with a map of the cell for
            each bin; or "summed" with a map of the cell, before two linear layers.
        query_dim: width of a query, the projection of a gene's embedding.
        gene_dim: width of that embedding.
        hidden: width of the layer between, in the styles that have one.
        num_bins: 2 tells silent from expressed. More also tell how much: a value of
            num_bins − 1 and above is the last. 1 tells a value itself, and begins
            at 0 (`heads.gene_value`).
        num_batches: batches of the data, an embedding of which the cell is told with;
            None tells it without.
    """

    style: QueryStyle = "concatenated"
    query_dim: int = 128
    gene_dim: int = 128
    hidden: int = 128
    num_bins: int = 2
    num_batches: int | None = None

    def __post_init__(self):
        if self.style not in STYLES:
            raise ValueError(
                f"style must be one of {', '.join(STYLES)}, got {self.style!r}"
            )
        for field in ("query_dim", "gene_dim", "hidden", "num_batches"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ValueError(f"{field} must be positive, got {value}")
        if self.num_bins < 1:
            raise ValueError(f"num_bins must be positive, got {self.num_bins}")


class GeneQueryHead(hk.Module):
    """Logits of the bins of expression, for some genes of each cell."""

    def __init__(
        self, config: GeneQueryConfig, num_genes: int, name: str = "gene_query_head"
    ):
        super().__init__(name=name)
        self.config, self.num_genes = config, num_genes

    def __call__(
        self,
        cells: Float[Array, "cells dim"],
        genes: Int[Array, "cells queries"] | None,
        batch_code: Int[Array, " cells"] | None = None,
    ) -> Float[Array, "cells queries bins"]:
        """Answers the queries.

        Args:
            cells: vectors.
            genes: that are asked about; None asks about all, in their order, which
                takes no memory for queries of each cell.
            batch_code: of each cell, −1 where unknown; None knows none.
        """
        config = self.config
        # A mean over many tokens varies little from cell to cell.
        cells = hk.LayerNorm(-1, True, True, name="norm")(cells)
        if config.num_batches is not None:
            cells += self._batch(cells, batch_code)
        # Projected as a table: fewer rows than there are queries.
        queries = self._queries()
        init = jnp.zeros if config.num_bins == 1 else None
        if config.style == "inner_product":
            shape = (config.num_bins, config.query_dim)
            told = hk.Linear(shape[0] * shape[1], w_init=init, name="cell")(cells)
            told = told.reshape(-1, *shape) * config.query_dim**-0.5
            own = hk.Linear(config.num_bins, w_init=init, name="gene_logits")(queries)
            if genes is None:
                return jnp.einsum("cbd,qd->cqb", told, queries) + own
            found = jnp.einsum("cbd,cqd->cqb", told, jnp.take(queries, genes, 0))
            return found + jnp.take(own, genes, 0)
        hidden = self._meet(cells, queries, genes)
        last = hk.Linear(config.num_bins, w_init=init, name="logits")
        return last(jax.nn.relu(hidden))

    @hk.transparent
    def _queries(self) -> Float[Array, "genes query_dim"]:
        config = self.config
        init = hk.initializers.TruncatedNormal(1.0)
        embed = hk.Embed(self.num_genes, config.gene_dim, w_init=init, name="gene")
        return hk.Linear(config.query_dim, name="query")(embed.embeddings)

    @hk.transparent
    def _batch(
        self, cells: Float[Array, "cells dim"], batch_code: Int[Array, " cells"] | None
    ) -> Float[Array, "cells dim"]:
        """What is added for a cell's batch; nothing where it is unknown."""
        number = self.config.num_batches
        assert number is not None, "asked where there are batches"
        embed = hk.Embed(number, cells.shape[-1], w_init=jnp.zeros, name="batch")
        if batch_code is None:
            return jnp.zeros_like(cells)
        return jax.nn.one_hot(batch_code, number) @ embed.embeddings

    @hk.transparent
    def _meet(
        self,
        cells: Float[Array, "cells dim"],
        queries: Float[Array, "genes query_dim"],
        genes: Int[Array, "cells queries"] | None,
    ) -> Float[Array, "cells queries hidden"]:
        """The layer that sees both."""
        config = self.config
        if config.style == "summed":
            told = hk.Linear(config.query_dim, name="cell")(cells)
            both = told[:, None] + _of(queries, genes)
            return hk.Linear(config.hidden, name="hidden")(both)
        # A linear layer of two vectors side by side is the sum of one of each.
        of_cell = hk.Linear(config.hidden, name="hidden_cell")(cells)
        of_query = hk.Linear(config.hidden, with_bias=False, name="hidden_query")
        return of_cell[:, None] + _of(of_query(queries), genes)


def _of(
    table: Float[Array, "genes width"], genes: Int[Array, "cells queries"] | None
) -> Float[Array, "cells queries width"]:
    """Rows of those that are asked about; of all, for one cell that stands for all."""
    return table[None] if genes is None else jnp.take(table, genes, 0)


def build_gene_query_head(config: GeneQueryConfig, num_genes: int) -> hk.Transformed:
    """The head alone: `apply(params, None, cells, genes, batch_code)`, as it is called.

    The parameters of a task that contains it serve as they are.
    """
    return hk.transform(
        lambda cells, genes, batch_code=None: GeneQueryHead(config, num_genes)(
            cells, genes, batch_code
        )
    )


def of_all_genes(
    ask: Callable[[Int[Array, " asked"]], Float[Array, "cells asked"]], num_genes: int
) -> Float[Array, "cells genes"]:
    """Asks a batch of cells about all genes, some at a time.

    Args:
        ask: genes -> answers of all cells.
        num_genes: that there are.
    """
    blocks = jnp.arange(-(-num_genes // _GENES_AT_ONCE) * _GENES_AT_ONCE)
    # What fills up the last block is asked and left out.
    blocks = jnp.minimum(blocks, num_genes - 1).reshape(-1, _GENES_AT_ONCE)
    found = jnp.moveaxis(jax.lax.map(ask, blocks), 0, 1)
    return found.reshape(found.shape[0], -1)[:, :num_genes]

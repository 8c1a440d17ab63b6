"""A FAVOR+ layer over non-zero genes that still knows which genes are silent.

What silent genes are as keys is taken from the *empty cell*, in which all genes are
silent: it runs through the same layers, once for a batch. The keys of a cell are

    those of the empty cell − those of the empty cell at the cell's tokens + its tokens,

and only tokens are queries. So the cost is that of the non-zero genes, and a half of it
again for the keys. In the first layer this is what all genes as tokens give; after it
a silent gene has the vector of the empty cell, where all genes as tokens would give it
one of the cell's own: another model. No result of a cell depends on its neighbours in
the batch.

The stabiliser is the largest of all keys that were ever in the sums, those taken out
too: ε, which is added relative to it, then outweighs the rounding that taking out
leaves.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from scmultimodal.ops import favor
from scmultimodal.ops.precision import Precision
from scmultimodal.schemas.batches import Array


class Background(NamedTuple):
    """What silent genes are, for a batch of cells."""

    empty: Float[Array, "gene_chunks 1 gene_chunk dim"]
    """Residual stream of the empty cell."""
    genes: Bool[Array, "gene_chunks 1 gene_chunk"]
    """True but where the last chunk is filled up."""
    gene_ids: Int[Array, "chunks cells chunk"]
    """The gene of each token; no gene twice in a cell."""


def begin(
    empty: Float[Array, "1 genes dim"],
    gene_ids: Int[Array, "cells tokens"],
    *,
    chunk: int,
) -> Background:
    """The background before the first layer, in chunks of at most so many tokens."""
    genes = jnp.ones(empty.shape[:2], bool)
    of_empty, of_cells = (min(chunk, x.shape[1]) for x in (empty, gene_ids))
    return Background(
        empty=favor.split(empty, of_empty),
        genes=favor.split(genes, of_empty),
        gene_ids=favor.split(gene_ids, of_cells),
    )


def chunked_layer(
    parameters: favor.LayerParameters,
    projection: Float[Array, "features key_size"],
    x: Float[Array, "chunks cells chunk dim"],
    token_mask: Bool[Array, "chunks cells chunk"],
    background: Background,
    *,
    rows: Float[Array, "row_chunks cells row_chunk dim"] | None = None,
    approximate_gelu: bool = True,
    precision: Precision = "float32",
) -> tuple[Float[Array, "_row_chunks cells _row_chunk dim"], Background]:
    """Applies one layer to cells and to the empty cell; see `favor.chunked_layer`.

    A gene whose token is masked is silent.
    """
    empty, genes, gene_ids = background
    how = {"approximate_gelu": approximate_gelu, "precision": precision}
    of_empty = favor.summarise_keys(
        parameters, projection, empty, genes, precision=precision
    )
    silent = favor.summarise_keys(
        parameters,
        projection,
        favor.merge(empty, empty.shape[0] * empty.shape[2])[0][gene_ids],
        token_mask,
        onto=jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (x.shape[1], *leaf.shape[1:])), of_empty
        ),
        sign=-1,
        precision=precision,
    )
    y = favor.chunked_layer(
        parameters, projection, x, token_mask, rows=rows, onto=silent, **how
    )
    empty = favor.attend(parameters, projection, of_empty, empty, **how)
    return y, background._replace(empty=empty)

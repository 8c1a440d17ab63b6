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

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from scmultimodal.ops import favor
from scmultimodal.ops.precision import Precision
from scmultimodal.schemas.batches import Array


def layer(
    parameters: favor.LayerParameters,
    projection: Float[Array, "features key_size"],
    x: Float[Array, "cells tokens dim"],
    empty: Float[Array, "1 genes dim"],
    gene_ids: Int[Array, "cells tokens"],
    token_mask: Bool[Array, "cells tokens"] | None = None,
    *,
    at: Int[Array, "cells chosen"] | None = None,
    chunk: int = 128,
    approximate_gelu: bool = True,
    precision: Precision = "float32",
) -> tuple[Float[Array, "cells rows dim"], Float[Array, "1 genes dim"]]:
    """Applies one layer to cells and to the empty cell.

    Args:
        parameters: of this layer.
        projection: of this layer.
        x: residual stream of the cells' tokens.
        empty: that of the empty cell.
        gene_ids: the gene of each token; no gene twice in a cell.
        token_mask: True at real tokens; a gene whose token is masked is silent.
        at: see `favor.layer`, for this and what follows.
        chunk: tokens worked on at a time.
        approximate_gelu: tanh approximation of GELU instead of erf.
        precision: what products are computed in.

    Returns:
        The new residual streams, that of the cells at the tokens that are wanted.
    """
    keys = {"chunk": chunk, "precision": precision}
    rows = keys | {"approximate_gelu": approximate_gelu}
    of_empty = favor.summarise_keys(parameters, projection, empty, **keys)
    silent = favor.summarise_keys(
        parameters,
        projection,
        empty[0][gene_ids],
        token_mask,
        onto=jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (len(x), *leaf.shape[1:])), of_empty
        ),
        sign=-1,
        **keys,
    )
    return (
        favor.layer(parameters, projection, x, token_mask, at=at, onto=silent, **rows),
        favor.attend(parameters, projection, of_empty, empty, **rows),
    )

"""Dials on the values of tokens, for gradients with regard to what is no number.

A bin is an index, which has no gradient. With a dial a, the embedding of a token's
value is that of bin 0 plus a times what the bin adds; at a = 1 nothing is changed, and
the gradient with regard to a is gradient × input, with bin 0 for what the input is
measured from. What heads of cell types read of values past the trunk is dialled alike,
and how much a token counts in the cell's vector.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import haiku as hk
import jax.numpy as jnp
from jaxtyping import Float, Int, Integer

from scmultimodal.modules.cell_encoder import CellEncoder
from scmultimodal.modules.embeddings import GeneValueEmbedding
from scmultimodal.modules.heads.cell_type import CellTypeHead
from scmultimodal.modules.heads.cell_vector import CellVectorHead
from scmultimodal.modules.token_dials import Dials
from scmultimodal.schemas.batches import Array


@contextlib.contextmanager
def dialled(
    dials: Mapping[str, Float[Array, "cells tokens"]], *, tokens_fade: bool
) -> Iterator[None]:
    """Within it, networks are applied with a dial on each token of each modality.

    Args:
        dials: by modality; a modality that is not there is left as it is.
        tokens_fade: a token whose values are all dialled to zero is none, as where the
            tokens of a cell are its non-zero genes: the head does not read it.
    """
    those = Dials(values=dict(dials), tokens_fade=tokens_fade)

    def intercept(
        call: Callable[..., Any],
        args: tuple,
        kwargs: dict[str, Any],
        context: hk.MethodContext,
    ) -> Any:
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        if isinstance(context.module, CellEncoder | CellTypeHead | CellVectorHead):
            return call(*args, **kwargs, dials=those)
        if isinstance(context.module, GeneValueEmbedding):
            dial = dials.get(context.module.name.removesuffix("_embedding"))
            # Static zeros embed all genes once for all cells: no tokens, no dials.
            if dial is not None and args[0].shape == dial.shape:
                return _between(call, *args, dial)
        return call(*args, **kwargs)

    with hk.intercept_methods(intercept):
        yield


def _between(
    call: Callable[..., Float[Array, "rows tokens dim"]],
    values: Integer[Array, "cells tokens"],
    gene_ids: Int[Array, "cells tokens"] | None,
    dial: Float[Array, "cells tokens"],
) -> Float[Array, "cells tokens dim"]:
    """Embeddings between those of bin 0 and those of the values."""
    # One call: a second one would name its parameters anew.
    both = jnp.concatenate([jnp.zeros_like(values), values])
    twice = None if gene_ids is None else jnp.concatenate([gene_ids, gene_ids])
    silent, full = jnp.split(call(both, twice), 2)
    return silent + dial[..., None] * (full - silent)

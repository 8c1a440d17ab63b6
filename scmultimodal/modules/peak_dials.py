"""Dials on open peaks, for gradients with regard to a peak's being there.

A peak is open or closed, which has no gradient. With a dial a, its token counts a times
in the attention of all tokens, in the mean where that is the cell's vector, and in what
the head of cell types reads past the trunk. At 1 nothing is changed, at 0 the peak is
closed. The gradient at 1, where the input is 1, is gradient × input.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import haiku as hk
from jaxtyping import Float

from scmultimodal.modules.cell_encoder import CellEncoder
from scmultimodal.modules.heads.cell_vector import CellVectorHead
from scmultimodal.schemas.batches import Array


@contextlib.contextmanager
def dialled(dials: Float[Array, "cells peaks"]) -> Iterator[None]:
    """Within it, what reads peaks is applied with a dial on each token."""

    def intercept(
        call: Callable[..., Any],
        args: tuple,
        kwargs: dict[str, Any],
        context: hk.MethodContext,
    ) -> Any:
        reads = isinstance(context.module, CellEncoder | CellVectorHead)
        if context.method_name == "__call__" and reads:
            return call(*args, **kwargs, shares=dials)
        return call(*args, **kwargs)

    with hk.intercept_methods(intercept):
        yield

"""Asks the vector of a cell about peaks: is each open."""

import haiku as hk
import jax.numpy as jnp
from jaxtyping import Float, Int

from scmultimodal.schemas.batches import Array


class PeakQueryHead(hk.Module):
    """Log-odds of being open: a map of the cell by a peak's vector, and a bias."""

    def __init__(self, num_peaks: int, dim: int = 64, name: str = "peak_query_head"):
        super().__init__(name=name)
        self.num_peaks, self.dim = num_peaks, dim

    def __call__(
        self, cells: Float[Array, "cells dim"], peaks: Int[Array, "cells queries"]
    ) -> Float[Array, "cells queries"]:
        """Answers the queries.

        Args:
            cells: vectors.
            peaks: that are asked about.
        """
        cells = hk.LayerNorm(-1, True, True, name="norm")(cells)
        told = hk.Linear(self.dim, name="cell")(cells)
        init = hk.initializers.TruncatedNormal(self.dim**-0.5)
        table = hk.Embed(self.num_peaks, self.dim, w_init=init, name="peak").embeddings
        bias = hk.get_parameter("bias", (self.num_peaks,), init=jnp.zeros)
        found = jnp.einsum("cd,cqd->cq", told, jnp.take(table, peaks, 0))
        return found + jnp.take(bias, peaks, 0)

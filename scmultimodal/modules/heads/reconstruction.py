"""Predicts a token's value bin from its embedding."""

import haiku as hk
from jaxtyping import Float

from scmultimodal.schemas.batches import Array


class ReconstructionHead(hk.Module):
    """Linear map of each token to the logits of bins 1…num_bins."""

    def __init__(self, num_bins: int, name: str):
        super().__init__(name=name)
        self.num_bins = num_bins

    def __call__(
        self, tokens: Float[Array, "cells tokens dim"]
    ) -> Float[Array, "cells tokens bins"]:
        """Logit k stands for bin k + 1: a masked value is never zero."""
        return hk.Linear(self.num_bins, name="linear")(tokens)

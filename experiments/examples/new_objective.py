"""A new objective: whatever has `init` and `loss` trains (`scmultimodal.tasks.task`).

    python -m experiments.examples.new_objective

On as many devices as there are: a loss is a sum and its weight, and the step divides
by the weight of all devices.
"""

import haiku as hk
import jax.numpy as jnp

from experiments.examples import training
from scmultimodal.modules.cell_encoder import CellEncoder, CellEncoderConfig


class ShareOfGenes:
    """Tells from the vector of a cell which share of its genes is not zero."""

    def __init__(self, encoder: CellEncoderConfig):
        self._forward = hk.transform_with_state(
            lambda batch: hk.Linear(1)(CellEncoder(encoder)(batch).cells)[:, 0]
        )
        self.init = self._forward.init

    def loss(self, params, network_state, rng, batch, *, is_training):
        told, state = self._forward.apply(params, network_state, None, batch)
        error = jnp.square(told - (batch.rna > 0).mean(1)) * batch.cell_mask
        return (error.sum(), batch.cell_mask.sum(dtype=error.dtype)), (state, {})


if __name__ == "__main__":
    training.show(ShareOfGenes)

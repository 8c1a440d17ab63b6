"""A new head: a few lines of Haiku on the tokens of the encoder.

    python -m experiments.examples.new_head

Parameters of the encoder have the names that a pre-training gives them, so that
`workflows.trained.take_trunk` puts a trained encoder below the new head.
"""

import haiku as hk
import jax

from experiments.examples import training
from scmultimodal.modules.cell_encoder import CellEncoder, CellEncoderConfig
from scmultimodal.ops import losses


class AttendedTypes:
    """Cell types by a mean over the genes that the head itself weighs."""

    def __init__(self, encoder: CellEncoderConfig, num_types: int = 3):
        def logits(batch):
            tokens = CellEncoder(encoder)(batch).tokens
            shares = jax.nn.softmax(hk.Linear(1, name="weigh")(tokens), axis=1)
            return hk.Linear(num_types, name="types")((shares * tokens).sum(1))

        self._forward = hk.transform_with_state(logits)
        self.init = self._forward.init

    def loss(self, params, network_state, rng, batch, *, is_training):
        logits, state = self._forward.apply(params, network_state, None, batch)
        where = batch.cell_mask & (batch.label >= 0)
        loss = losses.masked_cross_entropy(
            logits=logits, labels=batch.label, where=where
        )
        return loss, (state, {})


if __name__ == "__main__":
    training.show(AttendedTypes)

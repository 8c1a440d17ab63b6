"""A model as a Haiku function, for whoever has an own loop: none of our training."""

import haiku as hk

from scmultimodal.modules.forward import build_cell_forward, build_genome_forward
from scmultimodal.weights.export import ModelConfig
from scmultimodal.weights.genome_model import GenomeModelConfig


def build_forward(
    config: ModelConfig | GenomeModelConfig,
) -> hk.TransformedWithState | hk.Transformed:
    """The network that a model's configuration describes: encoder and heads.

        stored = weights.export.load("runs/demo")
        forward = build_forward(stored.config)
        outputs, _ = forward.apply(stored.params, stored.network_state, None, batch)

    `forward.init(rng, batch)` draws fresh parameters of the same names. A head that is
    not wanted is left out by `dataclasses.replace(config, head=None, classes=())`.

    Args:
        config: of a stored model, or one's own: `ModelConfig(encoder=…)`.

    Returns:
        Of a cell model a function of a `CellBatch`, with state (the random features of
        attention): see `modules.forward.CellOutputs`. Of a genome model one of token
        ids [sequences, tokens]: see `modules.forward.GenomeOutputs`.
    """
    if isinstance(config, ModelConfig):
        return build_cell_forward(
            config.encoder, head=config.head, decoder=config.decoder
        )
    return build_genome_forward(
        config.encoder,
        scorer=config.scorer,
        segmenter=None if config.segmenter is None else config.segmenter.head,
        k=config.k,
    )

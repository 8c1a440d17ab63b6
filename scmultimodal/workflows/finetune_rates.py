"""How fast each part of a classifier learns."""

import dataclasses
from collections.abc import Collection

from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.training.optimizers import OptimizerConfig, shorten_warmup
from scmultimodal.workflows.finetune_config import FinetuneConfig


def optimizer(
    config: FinetuneConfig,
    steps: int,
    encoder: CellEncoderConfig,
    modalities: Collection[str],
) -> OptimizerConfig:
    """AdamW, with its own rate for each part that learns less fast than the others.

    Args:
        config: the numbers.
        steps: updates in all.
        encoder: shape of the trunk.
        modalities: that the classifier sees.
    """
    whole = shorten_warmup(config.optimizer, steps)
    rates: list[tuple[str, float]] = []
    if config.frozen:
        rates = [(r"cell_encoder/.*", 0.0)]
    elif config.layer_decay != 1:
        rates = _decayed(config.layer_decay, encoder, modalities)
    if config.head_rate != 1:
        rates += [(r"cell_type_head/.*", config.head_rate)]
    if not rates:
        return whole
    return dataclasses.replace(whole, rates=(*rates, (r".*", 1.0)))


def _decayed(
    decay: float, encoder: CellEncoderConfig, modalities: Collection[str]
) -> list[tuple[str, float]]:
    """Rates of the layers of each path, the top one's whole, and of what is below.

    A regex that decides nothing is refused: those of paths that are not there are not.
    """
    paths = [("cell_encoder/", r"cell_encoder/.*_(embedding|depth).*", encoder.path)]
    if encoder.peaks is not None:
        if encoder.atac_path == "peak" and "rna" not in modalities:
            paths = []
        own = "cell_encoder/peak_encoder/"
        paths.insert(0, (own, rf"{own}(peak|chrom|dna).*", encoder.peaks.path))
    rates: list[tuple[str, float]] = []
    for within, embeddings, path in paths:
        top = path.num_layers - 1
        rates += [
            (rf"{within}.*layer_{layer}/.*", decay ** (top - layer))
            for layer in range(path.num_layers)
        ]
        rates += [(embeddings, decay**path.num_layers)] if path.num_layers else []
    return rates

"""What the ranking studies share."""

import dataclasses
from collections.abc import Sequence

from scmultimodal.modules.heads.accessibility import ScorerName
from scmultimodal.workflows.ranking_config import EncoderTraining, RankingConfig


def with_head(
    config: RankingConfig,
    head: ScorerName,
    encoder: EncoderTraining | None = None,
    seed: int | None = None,
) -> RankingConfig:
    """The same with another head, treatment of the encoder, or seed."""
    return dataclasses.replace(
        config,
        scorer=dataclasses.replace(config.scorer, name=head),
        encoder=encoder or config.encoder,
        seed=config.seed if seed is None else seed,
    )


def name_of(head: str, encoder: str, seed: int, seeds: Sequence[int]) -> str:
    """What a trained head is called; the seed is said where there are several."""
    return f"{head}, {encoder}" + (f", seed {seed}" if len(seeds) > 1 else "")

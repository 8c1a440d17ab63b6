"""What the ranking studies share."""

import dataclasses
import operator
from collections.abc import Mapping, Sequence
from typing import Annotated, Self

import tyro

from experiments.genome_model.data import DataConfig
from experiments.study import GenomeStudyConfig
from scmultimodal.modules.heads.accessibility import ScorerName
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import genome_presets
from scmultimodal.workflows.genome_presets import GenomePresetName
from scmultimodal.workflows.ranking_config import (
    EncoderTraining,
    RankingConfig,
    SignalConfig,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankingStudyConfig(GenomeStudyConfig):
    """What the command line of both asks."""

    data: DataConfig
    """Which spans."""
    signal: SignalConfig
    """Training on windows at random places, before."""
    ranking: Annotated[RankingConfig, tyro.conf.arg(name="")]
    """Training by ranking."""

    @classmethod
    def of_preset(cls, preset: GenomePresetName) -> Self:
        """The numbers of a preset; `out` is left to the command line."""
        numbers = genome_presets.GENOME_PRESETS[preset]
        return cls(
            out=tyro.MISSING,
            preset=preset,
            data=DataConfig(),
            signal=numbers.signal,
            ranking=numbers.ranking,
        )


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


def refuse_unread(
    given: RankingConfig,
    plain: RankingConfig,
    fields: Mapping[str, str],
    *,
    start: bool,
) -> None:
    """Refuses flags that a study would pass over in silence.

    Args:
        given: the numbers of a run.
        plain: those of its preset.
        fields: {field that the study does not read: flag to use instead}.
        start: an encoder is given, whose shape is its own.

    Raises:
        InputError: one of them was changed.
    """
    for field, instead in fields.items():
        value = operator.attrgetter(field)
        if value(given) != value(plain):
            raise InputError(
                f"--{field}", "is not read by this study", f"use {instead}"
            )
    for field in dataclasses.fields(given.shape) if start else ():
        name = field.name
        changed = getattr(given.shape, name) != getattr(plain.shape, name)
        if changed and name not in ("dtype", "remat"):
            raise InputError(
                f"--shape.{name.replace('_', '-')}",
                "is not read with --start, whose encoder has its shape",
                "leave one of them out",
            )

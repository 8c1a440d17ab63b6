"""Genes as they are drawn: the transcripts of each as one."""

import dataclasses

import pandas as pd

from scmultimodal.genome import elements, intervals

FEATURES = ("exon", "CDS")
"""Those that are drawn as boxes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneModel:
    """A gene.

    Attributes:
        symbol: its name.
        strand: + or -.
        start: first bp of what is known of it here.
        end: bp behind the last.
        boxes: disjoint places of its exons and of its coding sequence.
    """

    symbol: str
    strand: str
    start: int
    end: int
    boxes: dict[str, list[tuple[int, int]]]

    @property
    def label(self) -> str:
        """Name, and the direction of the strand."""
        return f"{self.symbol} {'→' if self.strand == '+' else '←'}"


def build(features: pd.DataFrame) -> list[GeneModel]:
    """Genes by their start.

    Args:
        features: of transcripts, as `read_transcripts` returns them.
    """
    models = [_model(parts) for _, parts in features.groupby("gene")]
    return sorted(models, key=lambda model: model.start)


def within(features: pd.DataFrame, place: tuple[str, int, int]) -> pd.DataFrame:
    """The features that touch a place, however either names its chromosome."""
    chrom, low, high = place
    renamed = intervals.rename_chromosomes(features["chrom"], "chr")
    (ours,) = intervals.rename_chromosomes(pd.Series([chrom]), "chr")
    inside = (renamed == ours) & (features["start"] < high) & (features["end"] > low)
    return features[inside]


def _model(parts: pd.DataFrame) -> GeneModel:
    return GeneModel(
        symbol=str(parts["symbol"].iloc[0]),
        strand=str(parts["strand"].iloc[0]),
        start=int(parts["start"].min()),
        end=int(parts["end"].max()),
        boxes={f: _disjoint(parts[parts["feature"] == f]) for f in FEATURES},
    )


def _disjoint(boxes: pd.DataFrame) -> list[tuple[int, int]]:
    if boxes.empty:
        return []
    merged = elements.merge(boxes["start"].to_numpy(), boxes["end"].to_numpy())
    return [(int(low), int(high)) for low, high in merged]

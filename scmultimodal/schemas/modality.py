"""What was measured in a cell."""

import enum


class Modality(enum.StrEnum):
    """A measured modality; the value is its key in a MuData."""

    RNA = "rna"
    ATAC = "atac"


MODALITIES = (Modality.RNA, Modality.ATAC)


class Regime(enum.StrEnum):
    """Which modalities a batch shows the model."""

    RNA = "rna"
    ATAC = "atac"
    MULTIOME = "multiome"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities of this regime, in the order of `MODALITIES`."""
        return MODALITIES if self is Regime.MULTIOME else (Modality(self.value),)

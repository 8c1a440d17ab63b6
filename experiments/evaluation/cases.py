"""Which cells are judged: a labelled set, what is shown of it, and a split."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from experiments.evaluation import sets
from experiments.evaluation.sets import SetName
from scmultimodal.schemas.modality import Regime


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """Which cells are judged.

    Attributes:
        name: the labelled set.
        regime: the modalities shown.
        seed: of the split, and of all that is trained on it.
    """

    name: SetName
    regime: Regime
    seed: int

    def of(self, regime: Regime) -> "Case":
        """The same cells, shown otherwise."""
        return dataclasses.replace(self, regime=regime)

    def settings(self) -> dict[str, Any]:
        """What a result depends on."""
        return {"set": self.name, "regime": str(self.regime), "seed": self.seed}


def every(
    names: Sequence[SetName], regimes: Sequence[Regime], seeds: Sequence[int]
) -> list[Case]:
    """All cases that the sets can serve."""
    return [
        Case(name=name, regime=regime, seed=seed)
        for name in names
        for regime in regimes
        if regime in sets.regimes(name)
        for seed in seeds
    ]

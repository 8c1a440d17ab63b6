"""Which cells are judged: a labelled set, what is shown of it, and a split."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.evaluation import sets
from experiments.evaluation.sets import SetName
from scmultimodal.data.store import Store
from scmultimodal.schemas.modality import Regime
from scmultimodal.singlecell.recipe import RecipeConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """Which cells are judged.

    Attributes:
        name: the labelled set.
        regime: the modalities shown.
        seed: of the split, and of all that is trained on it.
        across_batches: whole batches are held out.
        cells: so many of the set's cells, drawn by the seed; None takes all.
    """

    name: SetName
    regime: Regime
    seed: int
    across_batches: bool = False
    cells: int | None = None

    def of(self, regime: Regime) -> "Case":
        """The same cells, shown otherwise."""
        return dataclasses.replace(self, regime=regime)

    def settings(self) -> dict[str, Any]:
        """What a result depends on."""
        return {**self.store_settings(), "regime": str(self.regime)}

    def store_settings(self) -> dict[str, Any]:
        """What the prepared cells depend on, beside the recipe."""
        further = {"across_batches": self.across_batches, "cells": self.cells}
        return {"set": self.name, "seed": self.seed} | {
            name: value for name, value in further.items() if value
        }

    def store(
        self, recipe: RecipeConfig, folder: Path, *, peaks: bool = False
    ) -> Store:
        """The prepared cells, under the folder of results; with `peaks` their own."""
        return sets.prepared(
            self.name,
            recipe,
            self.seed,
            folder,
            across_batches=self.across_batches,
            cells=self.cells,
            peaks=peaks,
        )


def every(
    names: Sequence[SetName],
    regimes: Sequence[Regime],
    seeds: Sequence[int],
    *,
    cells: int | None = None,
) -> list[Case]:
    """All cases that the sets can serve; `cells` of those that can be drawn from."""
    return [
        Case(
            name=name,
            regime=regime,
            seed=seed,
            cells=cells if sets.can_draw(name) else None,
        )
        for name in names
        for regime in regimes
        if regime in sets.regimes(name)
        for seed in seeds
    ]

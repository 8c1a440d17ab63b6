"""The numbers of preparing cells."""

import dataclasses
from typing import Literal

from scmultimodal.data import splits
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.gene_sets import Shared
from scmultimodal.singlecell.recipe import RecipeConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """How raw counts become a prepared dataset.

    Attributes:
        recipe: the numbers of the preprocessing.
        genes: those of several datasets that the vocabulary has.
        min_resolved: least share of a dataset's genes that the annotation must know.
        label: column of obs with the cell types; None where there is none.
        batch: column of obs with the batches; None where there is none.
        split_by: column of obs that says which split a cell is in, or whose groups
            (donors, say) are split as wholes; None splits cells.
        fractions: shares of training, validation and test cells.
        min_cells_per_class: smaller classes are left out, and so are unlabelled cells.
        medians: exact, or within 0.4 % by a histogram, in half as many passes.
        peak_tokens: the peaks are kept too, as they are, as one set for all datasets:
            the "consensus", in which those that overlap are one, or "tiles" of the
            genome that hold one; None keeps none, unless a set is given.
        peak_tile_bp: length of such a tile.
        cells_per_shard: cells that are read for one shard.
        seed: of the split.
    """

    recipe: RecipeConfig = dataclasses.field(default_factory=RecipeConfig)
    genes: Shared = "intersection"
    min_resolved: float = 0.5
    label: str | None = None
    batch: str | None = None
    split_by: str | None = None
    fractions: tuple[float, float, float] = splits.FRACTIONS
    min_cells_per_class: int = 10
    medians: Literal["exact", "histogram"] = "exact"
    peak_tokens: Literal["consensus", "tiles"] | None = None
    peak_tile_bp: int = 5_000
    cells_per_shard: int = 32_768
    seed: int = 0

    def __post_init__(self):
        """Raises InputError for values out of range."""
        if self.peak_tile_bp < 1:
            raise InputError(
                "peak_tile_bp", f"is {self.peak_tile_bp}", "Give 1 or more"
            )
        if self.cells_per_shard < 1 or not 0 <= self.min_resolved <= 1:
            raise InputError(
                "prepare",
                f"cells_per_shard {self.cells_per_shard}, min_resolved "
                f"{self.min_resolved}",
                "Give 1 cell or more, and a share from 0 to 1",
            )

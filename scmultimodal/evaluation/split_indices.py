"""Which cells train, tune and test."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from scmultimodal.schemas.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitIndices:
    """Row numbers of the cells of each split.

    Raises:
        InputError: a split is empty, or a cell is in two.
    """

    train: Int[np.ndarray, " train"]
    validation: Int[np.ndarray, " validation"]
    test: Int[np.ndarray, " test"]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not getattr(self, field.name).size:
                raise InputError(
                    f"split {field.name!r}", "no cell", "Put cells in every split"
                )
        rows = np.concatenate([self.train, self.validation, self.test])
        if np.unique(rows).size != rows.size:
            raise InputError("split", "a cell is listed twice", "Make splits disjoint")

    @classmethod
    def from_names(cls, names: Sequence[str] | np.ndarray) -> "SplitIndices":
        """Reads one word per cell: train, validation or test; others are left out."""
        words = np.asarray(names)
        fields = (field.name for field in dataclasses.fields(cls))
        return cls(**{name: np.flatnonzero(words == name) for name in fields})

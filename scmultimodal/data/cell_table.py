"""Counted cells in memory, checked, ready to be stored."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool

from scmultimodal.data.shards import Csr
from scmultimodal.data.splits import SPLITS
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CellTable:
    """Cells in memory, ready to be stored.

    Attributes:
        rna: RNA counts [cells, genes], or None.
        atac: gene-level ATAC in units of the vocabulary's `atac_unit`, or None.
        present: which cells have a modality. A cell without it has an empty row.
        obs: one row per cell, indexed by unique cell ID. The columns `label`, `batch`
            and `split` (see `splits.SPLITS`) have a meaning; the others are kept.
    """

    rna: Csr | None
    atac: Csr | None
    present: Mapping[str, Bool[np.ndarray, " cells"]]
    obs: pd.DataFrame

    def __post_init__(self):
        obs = self.obs
        if not len(obs) or not self.matrices:
            raise InputError(
                "cells", "hold no cell or no modality", "Give at least one"
            )
        if not obs.index.is_unique:
            twice = obs.index[obs.index.duplicated()][0]
            raise InputError(
                "cells", f"cell ID {twice} stands twice", "Make IDs unique"
            )
        if "split" in obs and not set(obs["split"]) <= set(SPLITS):
            raise InputError(
                "obs['split']", "has other values", f"Use {', '.join(SPLITS)}"
            )
        for modality, matrix in self.matrices.items():
            _check_counts(modality, matrix, self.present.get(modality), len(obs))

    @property
    def matrices(self) -> dict[Modality, Csr]:
        """The count matrices that there are."""
        both = {Modality.RNA: self.rna, Modality.ATAC: self.atac}
        return {name: matrix for name, matrix in both.items() if matrix is not None}


def _check_counts(
    name: str, matrix: Csr, present: np.ndarray | None, num_cells: int
) -> None:
    """Raises InputError unless a matrix holds canonical counts of these cells."""
    data = matrix.data
    if matrix.format != "csr" or not matrix.has_canonical_format:
        raise InputError(
            name, "is not CSR with sorted, unique columns", "Sort the indices"
        )
    if matrix.shape[0] != num_cells:
        raise InputError(
            name, f"{matrix.shape[0]} rows, {num_cells} cells", "Align them"
        )
    if (
        not np.isfinite(data).all()
        or (data != np.floor(data)).any()
        or (data < 0).any()
    ):
        raise InputError(name, "negative, broken or missing counts", "Give raw counts")
    if (data == 0).any():
        raise InputError(name, "stores zeros explicitly", "Call eliminate_zeros()")
    if present is None or present.shape != (num_cells,):
        raise InputError(
            name, "nothing says which cells have it", "Give `present` per cell"
        )
    if np.diff(matrix.indptr)[~present].any():
        raise InputError(name, "a cell marked absent has counts", "Correct `present`")


def typed(obs: pd.DataFrame) -> pd.DataFrame:
    """Makes categories of the columns that have a meaning."""
    typed = obs.copy()
    for name in {"label", "batch", "split"} & set(obs):
        if not isinstance(obs[name].dtype, pd.CategoricalDtype):
            typed[name] = obs[name].map(str, na_action="ignore").astype("category")
    return typed

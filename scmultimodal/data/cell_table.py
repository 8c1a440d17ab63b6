"""Counted cells in memory, checked, ready to be stored."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool

from scmultimodal.data.splits import SPLITS
from scmultimodal.ops.csr import Csr, canonical
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
        _check_obs(self.obs)
        if not self.matrices:
            raise InputError("cells", "hold neither RNA nor ATAC", "Give at least one")
        for modality, matrix in self.matrices.items():
            _check_counts(modality, matrix, self.obs)
            matrix = canonical(matrix)
            _check_present(modality, matrix, self.present.get(modality))
            object.__setattr__(self, modality, matrix)

    @property
    def matrices(self) -> dict[Modality, Csr]:
        """The count matrices that there are."""
        both = {Modality.RNA: self.rna, Modality.ATAC: self.atac}
        return {name: matrix for name, matrix in both.items() if matrix is not None}


def typed(obs: pd.DataFrame) -> pd.DataFrame:
    """Returns cells whose label, batch and split are categories."""
    typed = obs.copy()
    for name in {"label", "batch", "split"} & set(obs):
        if not isinstance(obs[name].dtype, pd.CategoricalDtype):
            typed[name] = obs[name].map(str, na_action="ignore").astype("category")
    return typed


def _check_obs(obs: pd.DataFrame) -> None:
    if not len(obs):
        raise InputError("cells", "there is none", "Give at least one")
    for what, names in (("cell ID", obs.index.map(str)), ("column", obs.columns)):
        if not names.is_unique:
            problem = f"{what} {names[names.duplicated()][0]} stands twice"
            raise InputError("obs", problem, "Make it unique")
    splits = set(obs["split"].map(str)) if "split" in obs else set()
    if other := sorted(splits - set(SPLITS)):
        problem = f"has the value {other[0]}"
        raise InputError("obs['split']", problem, f"Use {', '.join(SPLITS)}")


def _check_counts(name: str, matrix: Csr, obs: pd.DataFrame) -> None:
    """Raises InputError unless a matrix holds whole, non-negative counts of cells."""
    if matrix.shape[0] != len(obs):
        problem = f"has {matrix.shape[0]} rows for {len(obs)} cells"
        raise InputError(name, problem, "Give one row per cell")
    data = matrix.data
    bad = np.flatnonzero(~((data >= 0) & (data == np.floor(data)) & np.isfinite(data)))
    if len(bad):
        cell = np.searchsorted(matrix.indptr, bad[0], side="right") - 1
        problem = f"has the count {data[bad[0]]} in cell {obs.index[cell]}"
        raise InputError(name, problem, "Give raw counts: whole numbers from 0")


def _check_present(name: str, matrix: Csr, present: np.ndarray | None) -> None:
    if present is None or np.shape(present) != (matrix.shape[0],):
        problem = "`present` does not say which cells have it"
        raise InputError(name, problem, "Give one boolean per cell")
    if np.diff(matrix.indptr)[~present].any():
        raise InputError(name, "a cell marked absent has counts", "Correct `present`")

"""Where batches get their cells: a prepared dataset, or matrices in memory."""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int, Int64, Integer

from scmultimodal.data.shards import Csr, canonical
from scmultimodal.data.store import Store
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import MODALITIES, Modality, Regime

_BLOCK = 8_192
"""Cells whose union of genes is counted at once."""


@runtime_checkable
class CellSource(Protocol):
    """Cells by number. A cell without a modality has an empty row there."""

    @property
    def num_cells(self) -> int:
        """Number of cells."""
        ...

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that at least one cell may have."""
        ...

    @property
    def labels(self) -> Int[np.ndarray, " cells"] | None:
        """Class of each cell, −1 where unknown; None where there are no labels."""
        ...

    def present(self, modality: str) -> Bool[np.ndarray, " cells"]:
        """Returns which cells have a modality."""
        ...

    def rows(self, modality: str, cells: Integer[np.ndarray, " rows"]) -> Csr:
        """Returns uint8 bins [rows, genes] in canonical form, without stored zeros."""
        ...

    def nonzeros_per_cell(self, modality: str) -> Int64[np.ndarray, " cells"]:
        """Returns how many genes of a modality are non-zero in each cell."""
        ...


@dataclasses.dataclass(frozen=True)
class StoreSource:
    """The bins of a prepared dataset."""

    store: Store

    @property
    def num_cells(self) -> int:
        """Number of cells."""
        return self.store.num_cells

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities of the store."""
        return self.store.modalities

    @property
    def labels(self) -> Int[np.ndarray, " cells"] | None:
        """Class of each cell as in `Store.labels`."""
        return self.store.labels if self.store.label_names else None

    def present(self, modality: str) -> Bool[np.ndarray, " cells"]:
        """Returns which cells have a modality."""
        return self.store.present(modality)

    def rows(self, modality: str, cells: Integer[np.ndarray, " rows"]) -> Csr:
        """Returns bins [rows, genes]."""
        return self.store.rows(modality, cells, "bins")

    def nonzeros_per_cell(self, modality: str) -> Int64[np.ndarray, " cells"]:
        """Returns how many genes of a modality are non-zero in each cell."""
        return self.store.nonzeros_per_cell(modality)


class ArraySource:
    """Bins in memory, for inference."""

    labels: Int[np.ndarray, " cells"] | None

    def __init__(
        self,
        rna: Csr | None,
        atac: Csr | None,
        *,
        rna_present: Bool[np.ndarray, " cells"] | None = None,
        atac_present: Bool[np.ndarray, " cells"] | None = None,
        labels: Int[np.ndarray, " cells"] | None = None,
    ):
        """Takes bins as they are; the matrices are not changed.

        Args:
            rna: RNA bins [cells, genes], or None.
            atac: gene-level ATAC bins [cells, genes], or None.
            rna_present: which cells have RNA; all where it is None and `rna` is not.
            atac_present: which cells have ATAC.
            labels: class of each cell, −1 where unknown.

        Raises:
            InputError: no matrix, shapes that differ, or bins of an absent cell.
        """
        given = {Modality.RNA: rna, Modality.ATAC: atac}
        self._bins = {
            m: canonical(bins.astype(np.uint8, copy=False))
            for m, bins in given.items()
            if bins is not None
        }
        shapes = {bins.shape for bins in self._bins.values()}
        if len(shapes) != 1:
            problem = f"have shapes {sorted(shapes)}"
            raise InputError("bins", problem, "Give one shape [cells, genes]")
        self.num_cells, self.labels = shapes.pop()[0], labels
        self._present = {}
        for modality, present in zip(
            MODALITIES, (rna_present, atac_present), strict=True
        ):
            has = modality in self._bins
            self._present[modality] = (
                np.full(self.num_cells, has) if present is None else present & has
            )
            if has and self.nonzeros_per_cell(modality)[~self._present[modality]].any():
                problem = "a cell marked absent has bins"
                raise InputError(modality, problem, f"Correct {modality}_present")

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that were given."""
        return tuple(self._bins)

    def present(self, modality: str) -> Bool[np.ndarray, " cells"]:
        """Returns which cells have a modality."""
        return self._present[Modality(modality)]

    def rows(self, modality: str, cells: Integer[np.ndarray, " rows"]) -> Csr:
        """Returns bins [rows, genes]."""
        return self._bins[Modality(modality)][cells]

    def nonzeros_per_cell(self, modality: str) -> Int64[np.ndarray, " cells"]:
        """Returns how many genes of a modality are non-zero in each cell."""
        return np.diff(self._bins[Modality(modality)].indptr).astype(np.int64)


def token_lengths(source: CellSource, regime: Regime) -> Int64[np.ndarray, " cells"]:
    """Returns how many genes of each cell are non-zero in what a regime shows."""
    shown = [
        modality for modality in regime.modalities if modality in source.modalities
    ]
    if not shown:
        return np.zeros(source.num_cells, np.int64)
    if len(shown) == 1:
        return source.nonzeros_per_cell(shown[0])
    blocks = [
        np.diff(union(*(source.rows(m, cells) for m in shown)).indptr)
        for start in range(0, source.num_cells, _BLOCK)
        for cells in [np.arange(start, min(start + _BLOCK, source.num_cells))]
    ]
    return np.concatenate(blocks).astype(np.int64)


def union(rna: Csr, atac: Csr) -> Csr:
    """Returns the genes that are non-zero in either, as `rna + 256 · atac` (uint16).

    scipy merges two sorted rows in compiled code; this packs both bins through it.
    """
    wide = atac.astype(np.uint16)
    wide.data <<= 8
    return rna.astype(np.uint16) + wide

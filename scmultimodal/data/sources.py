"""Where batches get their cells: a prepared dataset, or matrices in memory.

Cells are given by number, −1 (`sampling.FILLER`) at rows that no cell fills.
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int, Int64, Integer, UInt8

from scmultimodal.data import gather
from scmultimodal.data.gather import Entries
from scmultimodal.data.peak_tokens import PeakRows
from scmultimodal.data.shards import ShardedMatrix
from scmultimodal.data.store import Store
from scmultimodal.ops.csr import Csr, canonical
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import MODALITIES, Modality

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

    @property
    def peaks(self) -> PeakRows | None:
        """The peaks of all cells; None where they are not kept."""
        ...

    def present(self, modality: str) -> Bool[np.ndarray, " cells"]:
        """Returns which cells have a modality."""
        ...

    @property
    def num_genes(self) -> int:
        """Number of features of each modality."""
        ...

    def dense(
        self, modality: str, cells: Integer[np.ndarray, " rows"]
    ) -> UInt8[np.ndarray, "rows genes"]:
        """Returns the bins of all genes; zeros at −1."""
        ...

    def entries(self, modality: str, cells: Integer[np.ndarray, " rows"]) -> Entries:
        """Returns the bins of the non-zero genes; none at −1."""
        ...

    def measured(
        self, modality: str, cells: Integer[np.ndarray, " rows"]
    ) -> Bool[np.ndarray, "rows genes"] | None:
        """Returns which genes were measured in cells that have the modality.

        None where that is all genes in all cells of the source. What it is at −1, and
        in cells without the modality, has no meaning.
        """
        ...

    def nonzeros_per_cell(self, modality: str) -> Int64[np.ndarray, " cells"]:
        """Returns how many genes of a modality are non-zero in each cell."""
        ...


@dataclasses.dataclass(frozen=True)
class StoreSource:
    """The bins of a prepared dataset.

    Attributes:
        store: the dataset.
        taught: class of each cell where it is not to be that of the store.
    """

    store: Store
    taught: Int[np.ndarray, " cells"] | None = None

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
        """Class of each cell: as in `Store.labels`, unless others are taught."""
        if self.taught is not None:
            return self.taught
        return self.store.labels if self.store.label_names else None

    @property
    def peaks(self) -> PeakRows | None:
        """The peaks of the store."""
        vocabulary = self.store.peaks
        if vocabulary is None:
            return None
        return PeakRows(matrix=self.store.peak_matrix(), vocabulary=vocabulary)

    def present(self, modality: str) -> Bool[np.ndarray, " cells"]:
        """Returns which cells have a modality."""
        return self.store.present(modality)

    @property
    def num_genes(self) -> int:
        """Number of features of each modality."""
        return self.store.num_genes

    def dense(
        self, modality: str, cells: Integer[np.ndarray, " rows"]
    ) -> UInt8[np.ndarray, "rows genes"]:
        """Returns the bins of all genes; zeros at −1."""
        return self.store.matrix(modality).dense(cells)

    def entries(self, modality: str, cells: Integer[np.ndarray, " rows"]) -> Entries:
        """Returns the bins of the non-zero genes; none at −1."""
        return self.store.matrix(modality).entries(cells)

    def measured(
        self, modality: str, cells: Integer[np.ndarray, " rows"]
    ) -> Bool[np.ndarray, "rows genes"] | None:
        """Returns which genes the dataset of each cell measured; None where all."""
        known = self.store.measured(modality)
        return None if known is None else known[self.store.dataset_codes[cells]]

    def nonzeros_per_cell(self, modality: str) -> Int64[np.ndarray, " cells"]:
        """Returns how many genes of a modality are non-zero in each cell."""
        return self.store.nonzeros_per_cell(modality)


class ArraySource:
    """Bins in memory, for inference."""

    labels: Int[np.ndarray, " cells"] | None
    peaks: PeakRows | None

    def __init__(
        self,
        rna: Csr | None,
        atac: Csr | None,
        *,
        rna_present: Bool[np.ndarray, " cells"] | None = None,
        atac_present: Bool[np.ndarray, " cells"] | None = None,
        labels: Int[np.ndarray, " cells"] | None = None,
        peaks: PeakRows | None = None,
    ):
        """Takes bins as they are; the matrices are not changed.

        Args:
            rna: RNA bins [cells, genes], or None.
            atac: gene-level ATAC bins [cells, genes], or None.
            rna_present: which cells have RNA; all where it is None and `rna` is not.
            atac_present: which cells have ATAC.
            labels: class of each cell, −1 where unknown.
            peaks: of the same cells.

        Raises:
            InputError: no matrix, shapes that differ, or bins of an absent cell.
        """
        given = {Modality.RNA: rna, Modality.ATAC: atac}
        self._bins = {
            m: ShardedMatrix.in_memory(m, canonical(bins.astype(np.uint8, copy=False)))
            for m, bins in given.items()
            if bins is not None
        }
        shapes = {(len(m.lengths), m.num_genes) for m in self._bins.values()}
        if len(shapes) != 1:
            problem = f"have shapes {sorted(shapes)}"
            raise InputError("bins", problem, "Give one shape [cells, genes]")
        self.num_cells, self.num_genes = shapes.pop()
        self.labels, self.peaks = labels, peaks
        if peaks is not None and len(peaks.matrix.lengths) != self.num_cells:
            problem = f"of {len(peaks.matrix.lengths)} cells for {self.num_cells}"
            raise InputError("peaks", problem, "Give the peaks of the same cells")
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

    def dense(
        self, modality: str, cells: Integer[np.ndarray, " rows"]
    ) -> UInt8[np.ndarray, "rows genes"]:
        """Returns the bins of all genes; zeros at −1."""
        return self._bins[Modality(modality)].dense(cells)

    def entries(self, modality: str, cells: Integer[np.ndarray, " rows"]) -> Entries:
        """Returns the bins of the non-zero genes; none at −1."""
        return self._bins[Modality(modality)].entries(cells)

    def measured(
        self, modality: str, cells: Integer[np.ndarray, " rows"]
    ) -> Bool[np.ndarray, "rows genes"] | None:
        """Returns None: all genes of matrices in memory are measured."""
        return None

    def nonzeros_per_cell(self, modality: str) -> Int64[np.ndarray, " cells"]:
        """Returns how many genes of a modality are non-zero in each cell."""
        return self._bins[Modality(modality)].lengths


def nonzero_genes(
    source: CellSource,
    modalities: Sequence[str],
    cells: Integer[np.ndarray, " rows"],
) -> Entries:
    """Returns the genes of cells that are non-zero in any of one or two modalities."""
    found = [source.entries(modality, cells) for modality in modalities]
    return found[0] if len(found) == 1 else gather.union(*found)


def token_lengths(
    source: CellSource, modalities: Sequence[Modality]
) -> Int64[np.ndarray, " cells"]:
    """Returns how many genes of each cell are non-zero in some of these modalities."""
    shown = [modality for modality in modalities if modality in source.modalities]
    if not shown:
        return np.zeros(source.num_cells, np.int64)
    if len(shown) == 1:
        return source.nonzeros_per_cell(shown[0])
    every = np.arange(source.num_cells)
    blocks = [every[start : start + _BLOCK] for start in range(0, len(every), _BLOCK)]
    lengths = [nonzero_genes(source, shown, cells).lengths for cells in blocks]
    return np.concatenate([np.zeros(0, np.int64), *lengths])

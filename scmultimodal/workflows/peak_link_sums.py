"""Sums over cells of what open peaks add to genes, and of what correlates with them."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64
from scipy import sparse

from scmultimodal.schemas.modality import Modality
from scmultimodal.workflows.alignment import AlignedCells

_COUNTS = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What a batch says.

    Attributes:
        pair: of each open peak and each gene near it, which pair it is.
        row: the cell, as a row of the batch.
        values: gradient × input.
        shown: rows of cells that have ATAC.
    """

    pair: Int64[np.ndarray, " found"]
    row: Int64[np.ndarray, " found"]
    values: Float32[np.ndarray, " found"]
    shown: Bool[np.ndarray, " rows"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expression:
    """log1p of 10,000 counts of the cells of a block, and which of them have RNA."""

    values: sparse.csr_matrix
    known: Bool[np.ndarray, " cells"]

    @classmethod
    def of(cls, cells: AlignedCells, some: slice) -> "Expression":
        """Of some cells."""
        counts = cells.counts(Modality.RNA, some).astype(np.float64)
        depth = np.asarray(counts.sum(1)).ravel()
        scale = sparse.diags_array(_COUNTS / np.maximum(depth, 1))
        return cls(values=sparse.csr_matrix(scale @ counts).log1p(), known=depth > 0)

    def at(
        self, rows: Int64[np.ndarray, " rows"], genes: Int64[np.ndarray, " genes"]
    ) -> Float[np.ndarray, "rows genes"]:
        """Of some genes, dense; NaN in cells without RNA."""
        values = self.values[rows][:, genes].toarray()
        values[~self.known[rows]] = np.nan
        return values


@dataclasses.dataclass(kw_only=True)
class Sums:
    """What is added up over cells; "known" are those with RNA and ATAC."""

    near: sparse.csr_matrix
    values: Float[np.ndarray, " pairs"]
    open_in: Int64[np.ndarray, " pairs"]
    known_open_in: Float[np.ndarray, " pairs"]
    told_where_open: Float[np.ndarray, " pairs"]
    known: int = 0
    told: Float[np.ndarray, " genes"]
    squared: Float[np.ndarray, " genes"]

    @classmethod
    def of(cls, near: sparse.csr_matrix) -> "Sums":
        """Nothing yet."""
        pairs, genes = near.nnz, near.shape[1]
        return cls(
            near=near,
            values=np.zeros(pairs),
            open_in=np.zeros(pairs, np.int64),
            known_open_in=np.zeros(pairs),
            told_where_open=np.zeros(pairs),
            told=np.zeros(genes),
            squared=np.zeros(genes),
        )

    def add(self, found: Found, told: Float[np.ndarray, "rows genes"] | None) -> None:
        """Adds the cells of a batch, and their expression where it is there."""
        pairs = self.near.nnz
        self.values += np.bincount(found.pair, found.values, pairs)
        self.open_in += np.bincount(found.pair, minlength=pairs)
        if told is None:
            return
        known = np.isfinite(told[:, 0]) & found.shown
        self.known += int(known.sum())
        self.told += told[known].sum(0)
        self.squared += np.square(told[known]).sum(0)
        where = known[found.row]
        pair, row = found.pair[where], found.row[where]
        self.known_open_in += np.bincount(pair, minlength=pairs)
        there = told[row, self.near.indices[pair]]
        self.told_where_open += np.bincount(pair, there, pairs)

    def correlations(self) -> Float32[np.ndarray, " pairs"]:
        """Pearson of a peak's being open and a gene's expression; NaN of a constant."""
        gene, count = self.near.indices, max(self.known, 1)
        opened, mean = self.known_open_in / count, self.told / count
        spread = self.squared / count - mean**2
        covariance = self.told_where_open / count - opened * mean[gene]
        variance = opened * (1 - opened) * np.maximum(spread, 0)[gene]
        constant = variance <= 1e-12
        found = covariance / np.sqrt(np.where(constant, 1, variance))
        return np.where(constant, np.nan, found).astype(np.float32)

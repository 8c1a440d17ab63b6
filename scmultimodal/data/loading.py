"""Turns cells into batches: dense, or a cell's non-zero genes with padding."""

import dataclasses
import functools
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int, Int32, Integer, UInt8

from scmultimodal.data import gather
from scmultimodal.data.permutations import Stream, permutation
from scmultimodal.data.sampling import FILLER, WHOLE, Share
from scmultimodal.data.sources import CellSource, nonzero_genes, token_lengths
from scmultimodal.schemas.batches import CellBatch, Tokens
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime

FeatureOrder = Literal["fixed", "per_cell", "dynamic"]
Cells = Int[np.ndarray, " cells"]


def default_buckets(num_genes: int) -> tuple[int, ...]:
    """Returns 64, 128, 192, 256, 384, 512, 768, … and the number of genes."""
    sizes = [64]
    while sizes[-1] < num_genes:
        octave = 2 ** (sizes[-1].bit_length() - 1)
        sizes.append(max(128, octave * 2 if sizes[-1] > octave else octave * 3 // 2))
    return (*(size for size in sizes if size < num_genes), num_genes)


@dataclasses.dataclass(frozen=True)
class BatchBuilder:
    """Builds batches of one source.

    Attributes:
        source: the cells.
        num_genes: features of each modality.
        tokens: `all` gives every gene to every cell. `nonzero` and `static_zeros` give
            a cell the genes that are non-zero in any modality shown, in the
            vocabulary's order, padded to the smallest bucket that holds the longest
            cell of the batch.
        buckets: lengths that a batch may be padded to, `default_buckets` if None; the
            number of genes is always one.
        feature_order: order of the tokens where they are all genes. `fixed` is the
            vocabulary's, `per_cell` is random and kept for each cell, `dynamic` is
            random at each step.
        seed: seed of the random orders.
    """

    source: CellSource
    num_genes: int
    tokens: Tokens = "all"
    buckets: tuple[int, ...] | None = None
    feature_order: FeatureOrder = "fixed"
    seed: int = 0

    def __post_init__(self):
        if self.tokens != "all" and self.feature_order != "fixed":
            problem = f"is {self.feature_order!r} with the tokens of non-zero genes"
            raise InputError("feature_order", problem, "Use tokens='all' or 'fixed'")
        if self.source.num_genes != self.num_genes:
            problem = f"have {self.source.num_genes} genes, not {self.num_genes}"
            raise InputError("cells", problem, "Align them to the vocabulary")
        if self.tokens == "static_zeros" and self._lacks_genes:
            problem = "are 'static_zeros', which take a gene that is absent for silent"
            remedy = "Some genes were not measured: use 'all' or 'nonzero'"
            raise InputError("tokens", problem, remedy)
        if self.buckets is not None and not all(size > 0 for size in self.buckets):
            raise InputError("buckets", f"are {self.buckets}", "Give sizes above 0")

    def build(
        self,
        cell_indices: Integer[np.ndarray, " batch"],
        regime: Regime,
        *,
        step: int = 0,
        with_labels: bool = False,
        share: Share = WHOLE,
    ) -> CellBatch:
        """Builds a batch, or one host's part of it.

        Which modalities are None depends on the regime and the source alone, never on
        the cells, so that all hosts see one structure.

        Args:
            cell_indices: the cells of the global batch, −1 at rows that fill it up.
            regime: the modalities to show.
            step: step of the run; `dynamic` orders depend on it.
            with_labels: adds the class of each cell.
            share: the part of the batch that is built; it is padded as the whole is.

        Raises:
            InputError: the source lacks what the regime shows, or the labels asked for.
        """
        rows = share.rows(len(cell_indices))
        cells = np.asarray(cell_indices)[rows]
        real = cells != FILLER
        shown = [m for m in regime.modalities if m in self.source.modalities]
        if not shown:
            held = ", ".join(self.source.modalities)
            raise InputError("batch", f"the cells have no {regime}", f"Show {held}")
        if self.tokens == "all":
            tokens = self._all_genes(shown, cells, step)
        else:
            whole = len(cells) == len(cell_indices)
            length = None if whole else self._longest(cell_indices, regime)
            tokens = self._nonzero_genes(shown, cells, length)
        return CellBatch(
            rna=tokens.values.get(Modality.RNA),
            atac=tokens.values.get(Modality.ATAC),
            rna_present=self._present(Modality.RNA, shown, cells, real),
            atac_present=self._present(Modality.ATAC, shown, cells, real),
            gene_ids=tokens.gene_ids,
            token_mask=tokens.mask,
            cell_mask=real,
            row=np.arange(len(cell_indices), dtype=np.int32)[rows],
            label=self._labels(cells, real) if with_labels else None,
            cell_index=cells.astype(np.int32),
        )

    @functools.cached_property
    def _buckets(self) -> tuple[int, ...]:
        return (*(self.buckets or default_buckets(self.num_genes)), self.num_genes)

    @property
    def _lacks_genes(self) -> bool:
        """Whether some genes were not measured in some cells."""
        nobody = np.zeros(0, np.int64)
        measured = [self.source.measured(m, nobody) for m in self.source.modalities]
        return any(genes is not None for genes in measured)

    @functools.cached_property
    def _lengths(self) -> dict[Regime, Int[np.ndarray, " cells"]]:
        return {}

    def lengths(self, regime: Regime) -> Int[np.ndarray, " cells"]:
        """Returns the tokens of every cell of the source; computed once."""
        if regime not in self._lengths:
            self._lengths[regime] = token_lengths(self.source, regime)
        return self._lengths[regime]

    def _longest(self, cells: Integer[np.ndarray, " batch"], regime: Regime) -> int:
        real = cells[cells != FILLER]
        return int(self.lengths(regime)[real].max(initial=0))

    def _all_genes(self, shown: list[Modality], cells: Cells, step: int) -> "_Tokens":
        values = {m: self.source.dense(m, cells) for m in shown}
        mask = self._measured(shown, cells)
        if self.feature_order == "fixed":
            return _Tokens(values=values, gene_ids=None, mask=mask)
        moment = step if self.feature_order == "dynamic" else 0
        order = np.empty((len(cells), self.num_genes), np.int32)
        for row, cell in enumerate(cells.tolist()):
            order[row] = self._order(cell, moment)
        values = {m: np.take_along_axis(bins, order, 1) for m, bins in values.items()}
        if mask is not None:
            mask = np.take_along_axis(mask, order, 1)
        return _Tokens(values=values, gene_ids=order, mask=mask)

    def _measured(
        self, shown: list[Modality], cells: Cells
    ) -> Bool[np.ndarray, "cells genes"] | None:
        """Returns the genes that every modality shown of a cell has measured.

        None where the source lacks none. A zero of another gene would be a false one.
        """
        genes = None
        for modality in shown:
            measured = self.source.measured(modality, cells)
            if measured is not None:
                has = self.source.present(modality)[cells] & (cells != FILLER)
                known = measured | ~has[:, None]
                genes = known if genes is None else genes & known
        return genes

    def _order(self, cell: int, moment: int) -> Int[np.ndarray, " genes"]:
        """Returns the genes of a cell in the order in which it presents them."""
        if cell == FILLER:
            return np.arange(self.num_genes)
        return permutation(
            self.num_genes,
            seed=self.seed,
            stream=Stream.FEATURE_ORDER,
            position=(cell, moment),
        )

    def _nonzero_genes(
        self, shown: list[Modality], cells: Cells, longest: int | None
    ) -> "_Tokens":
        found = nonzero_genes(self.source, shown, cells)
        longest = found.lengths.max(initial=0) if longest is None else longest
        width = min(bucket for bucket in self._buckets if bucket >= longest)
        padded = gather.pad(found, width)
        mask = padded.mask
        # Where one modality is shown, a gene that is not zero was measured.
        if len(shown) > 1 and (known := self._measured(shown, cells)) is not None:
            mask &= np.take_along_axis(known, padded.genes, 1)
        values = dict(zip(shown, padded.values, strict=True))
        return _Tokens(values=values, gene_ids=padded.genes, mask=mask)

    def _present(
        self,
        modality: Modality,
        shown: list[Modality],
        cells: Cells,
        real: Bool[np.ndarray, " cells"],
    ) -> Bool[np.ndarray, " cells"]:
        if modality not in shown:
            return np.zeros(len(cells), bool)
        return self.source.present(modality)[cells] & real

    def _labels(
        self, cells: Cells, real: Bool[np.ndarray, " cells"]
    ) -> Int32[np.ndarray, " cells"]:
        if self.source.labels is None:
            raise InputError("batch", "the cells have no labels", "Name a label column")
        return np.where(real, self.source.labels[cells], -1).astype(np.int32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Tokens:
    """The token-wise fields of a `CellBatch`."""

    values: dict[Modality, UInt8[np.ndarray, "cells tokens"]]
    gene_ids: Int32[np.ndarray, "cells tokens"] | None
    mask: Bool[np.ndarray, "cells tokens"] | None

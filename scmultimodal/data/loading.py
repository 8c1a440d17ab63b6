"""Turns cells into batches: dense, or a cell's non-zero genes with padding."""

import dataclasses
import functools
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int, Int32, Integer, UInt8

from scmultimodal.data import gather
from scmultimodal.data.buckets import default_buckets
from scmultimodal.data.peak_tokens import PeakTokenConfig, PeakTokenizer
from scmultimodal.data.permutations import Stream, permutation
from scmultimodal.data.rna_values import RnaValues
from scmultimodal.data.sampling import FILLER, WHOLE, Share
from scmultimodal.data.sources import CellSource, nonzero_genes, token_lengths
from scmultimodal.schemas.batches import AtacPath, CellBatch, PeakTokens, Tokens
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime

FeatureOrder = Literal["fixed", "per_cell", "dynamic"]
Cells = Int[np.ndarray, " cells"]


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
        seed: seed of the random orders, and of the peaks that are drawn.
        atac_path: "peak" shows the open peaks of cells in place of the genes' ATAC
            values, "both" beside them.
        peaks: how many; not read where `atac_path` is "gene".
        batches: code of each cell's batch, −1 where unknown, for tasks that ask.
        values: of RNA, for tasks that tell them, whatever the regime shows.
    """

    source: CellSource
    num_genes: int
    tokens: Tokens = "all"
    buckets: tuple[int, ...] | None = None
    feature_order: FeatureOrder = "fixed"
    seed: int = 0
    atac_path: AtacPath = "gene"
    peaks: PeakTokenConfig = dataclasses.field(default_factory=PeakTokenConfig)
    batches: Int[np.ndarray, " cells"] | None = None
    values: RnaValues | None = None

    def __post_init__(self):
        has_atac = Modality.ATAC in self.source.modalities
        if self.atac_path != "gene" and has_atac and self.source.peaks is None:
            problem = f"keep no peaks, and atac_path is {self.atac_path!r}"
            raise InputError("cells", problem, "Prepare them with --peak-tokens")
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
        by_gene = [modality for modality in shown if self._has_genes(modality)]
        if not by_gene:
            tokens = _Tokens(values={}, gene_ids=None, mask=None)
        elif self.tokens == "all":
            tokens = self._all_genes(by_gene, cells, step)
        else:
            whole = len(cells) == len(cell_indices)
            length = None if whole else self._longest(cell_indices, regime)
            tokens = self._nonzero_genes(by_gene, cells, length)
        atac_present = self._present(Modality.ATAC, shown, cells, real)
        return CellBatch(
            rna=tokens.values.get(Modality.RNA),
            atac=tokens.values.get(Modality.ATAC),
            rna_present=self._present(Modality.RNA, shown, cells, real),
            atac_present=atac_present,
            gene_ids=tokens.gene_ids,
            token_mask=tokens.mask,
            cell_mask=real,
            row=np.arange(len(cell_indices), dtype=np.int32)[rows],
            label=self._labels(cells, real) if with_labels else None,
            cell_index=cells.astype(np.int32),
            peaks=self._peaks(cell_indices, cells, atac_present, step)
            if Modality.ATAC in shown
            else None,
            batch_code=self._batch_codes(cells, real),
            values=None if self.values is None else self.values.dense(cells),
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
        genes = self._gene_lengths(regime)
        if self._tokenizer is None or Modality.ATAC not in regime.modalities:
            return genes
        return genes + self._tokenizer.lengths

    def _gene_lengths(self, regime: Regime) -> Int[np.ndarray, " cells"]:
        """How many genes of every cell are tokens."""
        if regime not in self._lengths:
            by_gene = [m for m in regime.modalities if self._has_genes(m)]
            self._lengths[regime] = token_lengths(self.source, by_gene)
        return self._lengths[regime]

    def _longest(self, cells: Integer[np.ndarray, " batch"], regime: Regime) -> int:
        real = cells[cells != FILLER]
        return int(self._gene_lengths(regime)[real].max(initial=0))

    def _has_genes(self, modality: Modality) -> bool:
        """Whether a modality is shown as values of genes."""
        return modality is not Modality.ATAC or self.atac_path != "peak"

    @functools.cached_property
    def _tokenizer(self) -> PeakTokenizer | None:
        if self.atac_path == "gene" or self.source.peaks is None:
            return None
        return PeakTokenizer(self.source.peaks, self.peaks, seed=self.seed)

    def _peaks(
        self,
        batch: Integer[np.ndarray, " batch"],
        cells: Cells,
        present: Bool[np.ndarray, " cells"],
        step: int,
    ) -> PeakTokens | None:
        if self._tokenizer is None:
            return None
        longest = int(self._tokenizer.lengths[batch[batch != FILLER]].max(initial=0))
        return self._tokenizer.build(cells, present, longest=longest, step=step)

    def _batch_codes(
        self, cells: Cells, real: Bool[np.ndarray, " cells"]
    ) -> Int32[np.ndarray, " cells"] | None:
        if self.batches is None:
            return None
        return np.where(real, self.batches[cells], -1).astype(np.int32)

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

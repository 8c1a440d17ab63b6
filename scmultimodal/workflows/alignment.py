"""Cells of a user's data as a trained model reads them: bins of its genes.

Counts stay where they are, in memory or in a file, and are read some cells at a time.
No cell is dropped or moved: one that has nothing of the model's genes is empty.
"""

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import tqdm
from jaxtyping import Int

from scmultimodal.data.peak_tokens import PeakRows
from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.data.shards import ShardedMatrix
from scmultimodal.data.sources import ArraySource
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import MODALITIES, Modality
from scmultimodal.singlecell import fragments, products
from scmultimodal.singlecell.fragments import CountChoice, CountHistogram, CountKind
from scmultimodal.singlecell.gene_sets import LITTLE, find_genes
from scmultimodal.singlecell.inputs import Dataset
from scmultimodal.workflows import prepare, prepare_plan, prepare_shards, trained
from scmultimodal.workflows.prepare_shards import ROWS_AT_ONCE, Alignment, Span


class AlignedCells:
    """Cells of a dataset in the genes of a model.

    Attributes:
        names: of the cells.
        modalities: those that both the data and the model know.
        regime: the batches that show them.
        coverage: what the data have of the model's genes, indexed by gene_id: `symbol`;
            `rna`, whether they measured its expression; `atac`, how many of their peaks
            serve it. Columns are those of the modalities.
        peaks_kept: how many peaks of the data are ones that the model reads, and how
            many they have; None where it reads none.
    """

    def __init__(
        self,
        dataset: Dataset,
        vocabulary: GeneVocabulary,
        modalities: Sequence[str] = MODALITIES,
        *,
        peaks: PeakVocabulary | None = None,
        counts: CountChoice = "auto",
        progress: bool = False,
    ):
        """Finds genes and peaks; reads ATAC counts once, to see what they count.

        Args:
            dataset: the cells.
            vocabulary: of the model.
            modalities: that the model knows.
            peaks: that the model reads as tokens; a peak of the data is the one of them
                that it shares most with, as `prepare --peak-tokens` has it.
            counts: what the ATAC counts count; "auto" reads it off their histogram.
            progress: shows a bar while it does.

        Raises:
            InputError: they share no modality, too few genes, or none of the peaks,
                or data break a rule.
        """
        self.names, self._row = dataset.obs.index, dataset.row
        self._vocabulary, self._known_peaks = vocabulary, peaks
        self.modalities = _shared(dataset, modalities)
        self.regime = trained.regime_of(self.modalities)
        genes = vocabulary.to_frame()
        self.coverage = genes.set_index("gene_id")[["symbol"]]
        self.peaks_kept: tuple[int, int] | None = None
        self._alignments: dict[Modality, Alignment] = {}
        if Modality.RNA in self.modalities:
            rna = dataset.counts[Modality.RNA]
            found = find_genes(rna.var, genes, source=rna.source)
            self.coverage["rna"] = found.measured(len(genes))
            self._alignments[Modality.RNA] = prepare_plan.align_rna(
                rna, found, len(genes)
            )
        if Modality.ATAC in self.modalities:
            aggregation = prepare.recipe_config(vocabulary).aggregation
            atac = dataset.counts[Modality.ATAC]
            places = prepare_plan.place_peaks(atac, None)
            served = prepare_plan.align_atac(atac, places, genes, aggregation)
            serving = np.bincount(served.links.indices, minlength=len(genes))
            self.coverage["atac"] = serving
            alignment = served.alignment
            if peaks is None:
                _report_peaks(serving, aggregation.bands_bp[-1])
            else:
                matched = prepare_plan.match_peaks(atac, places, peaks)
                self.peaks_kept = matched.nnz, matched.shape[0]
                _report_tokens(matched)
                alignment = dataclasses.replace(alignment, peaks=matched)
            self._alignments[Modality.ATAC] = _halved(
                alignment, counts, known=dataset.counted, progress=progress
            )

    @property
    def num_cells(self) -> int:
        """How many cells there are."""
        return len(self.names)

    def block(self, some: slice | None = None) -> ArraySource:
        """Bins of some cells, or of all.

        Raises:
            InputError: a value is no count, or the file is damaged there.
        """
        some = slice(0, self.num_cells) if some is None else some
        counts = {m: self._counts(m, some) for m in self.modalities}
        bins = {
            m: prepare.bin_counts(self._vocabulary, m, found[0])
            for m, found in counts.items()
        }
        opened = counts.get(Modality.ATAC, ())[1:]
        return ArraySource(
            bins.get(Modality.RNA),
            bins.get(Modality.ATAC),
            peaks=self._peak_rows(opened[0]) if opened else None,
            **{f"{m}_present": self._row[m][some] >= 0 for m in bins},
        )

    def counts(self, modality: Modality, some: slice) -> sp.csr_matrix:
        """Counts of some cells: int32 [cells, genes], ATAC in units of the vocabulary.

        Raises:
            InputError: a value is no count, or the file is damaged there.
        """
        return self._counts(modality, some)[0]

    def _counts(self, modality: Modality, some: slice) -> list[sp.csr_matrix]:
        """Counts of some cells by gene; then of their peaks, where the model has any.

        Rows are read once: from a file that takes longer than all else.
        """
        alignment, parts = self._alignments[modality], []
        tables = [alignment.weights]
        if modality is Modality.ATAC and self._known_peaks is not None:
            tables.append(alignment.peaks)
        for start in range(some.start, some.stop, ROWS_AT_ONCE):
            part = slice(start, min(start + ROWS_AT_ONCE, some.stop))
            raw = prepare_shards.read_rows(
                alignment, self._row[modality][part], self.names[part]
            )
            parts.append([products.multiply(raw, weights) for weights in tables])
        if len(parts) == 1:
            return parts[0]
        return [sp.vstack(of, format="csr") for of in zip(*parts, strict=True)]

    def _peak_rows(self, opened: sp.csr_matrix) -> PeakRows:
        assert self._known_peaks is not None, "the model reads peaks"
        opened.data = np.ones(opened.nnz, np.uint8)
        matrix = ShardedMatrix.in_memory("peaks", opened)
        return PeakRows(matrix=matrix, vocabulary=self._known_peaks)


def _shared(dataset: Dataset, known: Sequence[str]) -> tuple[Modality, ...]:
    shared = tuple(m for m in MODALITIES if m in dataset.counts and m in known)
    if not shared:
        raise InputError(
            "data",
            f"they have {' and '.join(dataset.counts)}, the model knows "
            f"{' and '.join(known)}",
            "give data of a modality that the model was trained on",
        )
    return shared


def _report_peaks(serving: Int[np.ndarray, " genes"], reach_bp: int) -> None:
    """Warns where most genes have no peak near them."""
    found = int((serving > 0).sum())
    if found < LITTLE * len(serving):
        warnings.warn(
            f"only {found:,} of the model's {len(serving):,} genes have a peak within "
            f"{reach_bp // 1_000} kb; the others are taken as closed. Are the peaks of "
            "the model's assembly?",
            stacklevel=2,
        )


def _report_tokens(matched: sp.csr_matrix) -> None:
    """Warns where most peaks of the data are none that the model reads."""
    if matched.nnz < LITTLE * matched.shape[0]:
        warnings.warn(
            f"only {matched.nnz:,} of {matched.shape[0]:,} peaks overlap one of the "
            f"{matched.shape[1]:,} that the model reads; the others are left out. Are "
            "they of the model's assembly?",
            stacklevel=2,
        )


def _halved(
    atac: Alignment, counts: CountChoice, *, known: CountKind | None, progress: bool
) -> Alignment:
    """The same, told what the counts count: of reads, two make a fragment."""
    if known is None:
        found = CountHistogram()
        cells = atac.rows.shape[0]
        for start in tqdm.trange(
            0,
            cells,
            ROWS_AT_ONCE,
            desc="reads or fragments",
            delay=2,
            disable=None if progress else True,
        ):
            stop = min(start + ROWS_AT_ONCE, cells)
            span = Span(source=atac.source, start=start, stop=stop)
            found += prepare_shards.count_histogram(atac, span)
        known = fragments.choose_kind(found, counts)
    return dataclasses.replace(atac, halve=known != "fragments")

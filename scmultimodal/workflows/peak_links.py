"""Which open peaks speak for which genes, by a model that tells genes from peaks."""

from collections.abc import Iterator

import jax
import numpy as np
import pandas as pd
import tqdm
from jaxtyping import Int, Int64
from scipy import sparse

from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.data.sampling import sequential_batches
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.schemas.batches import CellBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.singlecell import peaks as peak_bands
from scmultimodal.singlecell.peaks import PeakAggregation
from scmultimodal.tasks.peak_links import Pairs, PeakLinks
from scmultimodal.weights import export
from scmultimodal.workflows import batch_sizes, inference, trained
from scmultimodal.workflows.alignment import AlignedCells
from scmultimodal.workflows.expression import HOW, LACKS
from scmultimodal.workflows.peak_link_sums import Expression, Found, Sums
from scmultimodal.workflows.peak_link_tables import PeakGeneLinks

WITHIN_BP = 500_000


def run(
    model: export.StoredModel,
    cells: AlignedCells,
    genes: Int64[np.ndarray, " genes"],
    *,
    within_bp: int = WITHIN_BP,
    expression: AlignedCells | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> PeakGeneLinks:
    """Gradient × input of genes with regard to open peaks, mean over cells.

    Args:
        model: pre-trained to tell genes from peaks.
        cells: their ATAC, brought to the model's peaks.
        genes: positions in the vocabulary.
        within_bp: pairs on one chromosome whose peak ends nearer to the gene's start.
        expression: RNA of the same cells, for correlations; None where there is none.
        batch_size: cells per step; None takes as many as memory has room for.
        progress: shows a bar.

    Raises:
        InputError: the model tells no genes from peaks, no peak of it is near a gene,
            or none of them is open in any cell.
    """
    require_gene_query(model)
    batch_sizes.check(batch_size)
    near = _near(model.peaks, model.vocabulary, genes, within_bp)
    sums = Sums.of(near)
    contributions = _Contributions(model, genes, near)
    with tqdm.tqdm(
        total=cells.num_cells,
        desc="links",
        unit="cell",
        disable=None if progress else True,
    ) as bar:
        for some in inference.blocks(cells.num_cells, 1, batch_sizes.MOST):
            told = None if expression is None else Expression.of(expression, some)
            for rows, found in contributions.of(cells, some, batch_size):
                sums.add(found, None if told is None else told.at(rows, genes))
                bar.update(len(rows))
    if not sums.open_in.any():
        problem = "no cell has an open peak near one of the genes"
        raise InputError("data", problem, "Is this the right layer?")
    table = _table(model.peaks, model.vocabulary, genes, near, sums)
    return PeakGeneLinks(table=table, cells=cells.num_cells, within_bp=within_bp)


def require_gene_query(model: export.StoredModel) -> None:
    """Raises InputError where a model does not tell genes from peaks."""
    if model.peaks is None:
        raise InputError(
            "model",
            "it reads gene-level ATAC, and no peaks",
            f"Take one by {HOW}",
        )
    if model.config.values_told is not None:
        raise InputError(
            "model",
            "it tells values of genes, and links are of the odds that one is expressed",
            f"take the pre-trained one, of {HOW}",
        )
    if model.config.classes:
        raise InputError(
            "model",
            f"{LACKS}: fine-tuning leaves it behind",
            f"take the pre-trained one, of {HOW}",
        )
    if model.config.genes_told is None:
        raise InputError(
            "model", f"{LACKS}: it was pre-trained without", f"Take one of {HOW}"
        )


class _Contributions:
    """Gradient × input of the open peaks of cells, batch after batch."""

    def __init__(
        self,
        model: export.StoredModel,
        genes: Int64[np.ndarray, " genes"],
        near: sparse.csr_matrix,
    ):
        # At once: else they would go to the device with every batch.
        self._on_device = jax.device_put((model.params, model.network_state))
        self._model, self._genes, self._near = model, genes, near
        links = PeakLinks(model.config.encoder, model.config.genes_told.head)
        self._function = jax.jit(links.contributions)

    def of(
        self, cells: AlignedCells, some: slice, batch_size: int | None
    ) -> Iterator[tuple[Int64[np.ndarray, " rows"], Found]]:
        """(cells as rows of the block, what they say), for some of the cells."""
        builder = trained.builder_for(cells.block(some), self._model.config)
        chosen = np.arange(some.stop - some.start)
        lengths = builder.lengths(Regime.ATAC)
        size = batch_size or self._batch_size(int(lengths.max()), cells.num_cells)
        for batch in sequential_batches(chosen, size, lengths=lengths):
            yield batch[batch >= 0], self._in_batch(builder, batch)

    def _batch_size(self, longest: int, cells: int) -> int:
        head = self._model.config.genes_told.head
        return batch_sizes.choose(
            self._model.config,
            longest,
            cells,
            with_gradient=True,
            further=16 * len(self._genes) * (head.hidden + head.num_bins),
        )

    def _in_batch(
        self, builder: BatchBuilder, chosen: Int[np.ndarray, " rows"]
    ) -> Found:
        batch = builder.build(chosen, Regime.ATAC)
        pairs, which = self._pairs(batch)
        values = self._function(
            *self._on_device,
            batch,
            self._genes.astype(np.int32),
            Pairs(*(_padded(field) for field in pairs)),
        )
        return Found(
            pair=which,
            row=pairs.cell.astype(np.int64),
            values=np.asarray(values)[: len(which)],
            shown=batch.atac_present[chosen >= 0],
        )

    def _pairs(self, batch: CellBatch) -> tuple[Pairs, Int64[np.ndarray, " pairs"]]:
        """Every open peak with every gene near it, and which pair of `_near` it is."""
        cell, token = np.nonzero(batch.peaks.mask)
        starts = self._near.indptr.astype(np.int64)
        peak = batch.peaks.ids[cell, token]
        counts = np.diff(starts)[peak]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        which = np.repeat(starts[peak], counts) + within
        gene = self._near.indices[which]
        places = (np.repeat(cell, counts), np.repeat(token, counts), gene)
        return Pairs(*(place.astype(np.int32) for place in places)), which


def _padded(values: Int[np.ndarray, " pairs"]) -> Int[np.ndarray, " wide"]:
    """Filled up to a power of two, so that few shapes are compiled."""
    width = 1 << max(len(values) - 1, 1).bit_length()
    return np.pad(values, (0, width - len(values)))


def _near(
    peaks: PeakVocabulary,
    vocabulary: GeneVocabulary,
    genes: Int64[np.ndarray, " genes"],
    within_bp: int,
) -> sparse.csr_matrix:
    """Which peaks are near the start of which gene: [peaks, genes], sorted."""
    if within_bp < 1:
        raise InputError("within_bp", f"is {within_bp}", "Give 1 or more")
    reach = PeakAggregation(bands_bp=(within_bp,), weights=(1.0,), anchor="tss")
    frame = vocabulary.to_frame().iloc[genes]
    near = peak_bands.link_peaks(peaks.to_frame(), frame, reach, "the model")
    if not near.nnz:
        raise InputError(
            "genes",
            f"none has a peak of the model within {within_bp:,} bp of its start",
            "Name others, or give a larger within_bp",
        )
    near.sort_indices()
    return near


def _table(
    peaks: PeakVocabulary,
    vocabulary: GeneVocabulary,
    genes: Int64[np.ndarray, " genes"],
    near: sparse.csr_matrix,
    sums: Sums,
) -> pd.DataFrame:
    """A row for each pair whose peak some cell has open, in the order of peaks."""
    pair = np.flatnonzero(sums.open_in)
    peak = np.repeat(np.arange(near.shape[0]), np.diff(near.indptr))[pair]
    table = peaks.to_frame().iloc[peak].reset_index(drop=True)
    gene = vocabulary.to_frame().iloc[genes[near.indices[pair]]].reset_index(drop=True)
    reverse = gene["strand"] == "-"
    tss = np.where(reverse, gene["end"], gene["start"])
    after, before = table["start"] - tss, tss - table["end"]
    return table.assign(
        gene_id=gene["gene_id"],
        symbol=gene["symbol"],
        strand=gene["strand"],
        tss=tss,
        distance_bp=np.maximum(0, np.maximum(after, before)),
        cells=sums.open_in[pair],
        score=(sums.values[pair] / sums.open_in[pair]).astype(np.float32),
        correlation=sums.correlations()[pair],
    )

"""What is decided before the first count is read: genes, peaks, and who serves whom."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from jaxtyping import Bool, Int64

from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.genome import liftover
from scmultimodal.genome.annotation import GENE_COLUMNS
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell import peak_sets
from scmultimodal.singlecell.gene_sets import (
    Selection,
    Shared,
    find_genes,
    share_genes,
)
from scmultimodal.singlecell.genes import place_genes
from scmultimodal.singlecell.inputs import Counts, Dataset
from scmultimodal.singlecell.peaks import (
    PeakAggregation,
    link_peaks,
    link_weights,
    nearest_band,
    peak_intervals,
)
from scmultimodal.workflows.prepare_config import PrepareConfig
from scmultimodal.workflows.prepare_shards import Alignment

MOST_LINKS = 100
"""Genes with as many peaks or more are counted together, and peaks likewise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Genes:
    """The genes of a store, and where each dataset has them.

    Attributes:
        table: gene_id, symbol, chrom, start, end, strand.
        found: by name of the datasets that hold RNA.
        report: of the list as a whole, JSON-able.
    """

    table: pd.DataFrame
    found: dict[str, Selection]
    report: dict[str, Any]

    def measured(
        self, datasets: Sequence[Dataset]
    ) -> Bool[np.ndarray, "datasets genes"]:
        """Which genes of RNA each dataset has; all where it has no RNA."""
        everything = np.ones(len(self.table), bool)
        return np.stack([
            self.found[d.name].measured(len(everything)) if d.name in self.found
            else everything for d in datasets
        ])  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Places:
    """Where the peaks of a dataset lie, in the assembly of the genes.

    Attributes:
        columns: the peaks that lie anywhere there.
        intervals: chrom, start, end of these.
        report: of liftover; JSON-able.
    """

    columns: Int64[np.ndarray, " placed"]
    intervals: pd.DataFrame
    report: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peaks:
    """How the peaks of a dataset serve the genes.

    Attributes:
        alignment: without what the counts count.
        links: as from `link_peaks`, for all peaks of the data.
        report: of the links; JSON-able.
    """

    alignment: Alignment
    links: sp.csr_matrix
    report: dict[str, Any]


def choose_genes(
    datasets: Sequence[Dataset],
    annotation: pd.DataFrame,
    shared: Shared,
    min_resolved: float,
) -> Genes:
    """The genes that several datasets share (SPEC 2.2.1).

    Without RNA they are those of the annotation.

    Raises:
        InputError: too few genes of a dataset are in the annotation, or none is left.
    """
    placed = {
        d.name: place_genes(
            d.counts[Modality.RNA].var,
            annotation,
            min_resolved=min_resolved,
            source=d.counts[Modality.RNA].source,
        )
        for d in datasets
        if Modality.RNA in d.counts
    }
    if not placed:
        table = annotation[list(GENE_COLUMNS)].reset_index(drop=True)
        return Genes(table=table, found={}, report={"how": "annotation"})
    table, report = share_genes({n: p.table for n, p in placed.items()}, shared)
    found = {}
    for name, genes in placed.items():
        gene = pd.Index(table["gene_id"]).get_indexer(genes.table["gene_id"])
        there = np.flatnonzero(gene >= 0)
        found[name] = Selection(genes.feature[there], gene[there], genes.report)
    return Genes(table=table, found=found, report=report)


def find_given(datasets: Sequence[Dataset], table: pd.DataFrame) -> Genes:
    """The genes of a list or of a model, in each dataset.

    Raises:
        InputError: a dataset has fewer than a tenth of them.
    """
    found = {
        d.name: find_genes(
            d.counts[Modality.RNA].var, table, source=d.counts[Modality.RNA].source
        )
        for d in datasets
        if Modality.RNA in d.counts
    }
    return Genes(table=table, found=found, report={"how": "given", "genes": len(table)})


def align_rna(counts: Counts, found: Selection, num_genes: int) -> Alignment:
    """RNA: each gene is one feature."""
    return Alignment(
        rows=counts.rows,
        features=counts.var.index,
        source=counts.source,
        weights=found.weights(len(counts.var), num_genes),
    )


def place_peaks(counts: Counts, chain: Path | None) -> Places:
    """The peaks of a dataset, lifted where there is a chain.

    Raises:
        InputError: peaks are no intervals, or none can be lifted.
    """
    peaks = peak_intervals(AnnData(var=counts.var), counts.source)
    if chain is None:
        return Places(columns=np.arange(len(peaks)), intervals=peaks, report={})
    lifted = liftover.lift(peaks, chain, source=counts.source)
    return Places(
        columns=np.flatnonzero(lifted.outcome == "lifted"),
        intervals=lifted.intervals,
        report={"liftover": {"chain": Path(chain).name, **lifted.report}},
    )


def choose_peaks(
    places: Mapping[str, Places], config: PrepareConfig
) -> PeakVocabulary | None:
    """The set of peaks that all datasets are brought to; None where none is kept.

    Args:
        places: by name of the datasets with ATAC.
        config: says how.

    Raises:
        InputError: no dataset has peaks, or chromosomes are named in two ways.
    """
    if config.peak_tokens is None:
        return None
    if not places:
        remedy = "Give ATAC, or leave --peak-tokens out"
        raise InputError("peak_tokens", "no dataset has peaks", remedy)
    tables = [found.intervals for found in places.values()]
    origin: dict[str, Any] = {"how": config.peak_tokens, "datasets": list(places)}
    if config.peak_tokens == "tiles":
        origin["tile_bp"] = config.peak_tile_bp
        peaks = peak_sets.tiles(tables, config.peak_tile_bp)
    else:
        peaks = peak_sets.consensus(tables)
    return PeakVocabulary.from_frame(peaks, origin=origin)


def match_peaks(
    counts: Counts, places: Places, vocabulary: PeakVocabulary
) -> sp.csr_matrix:
    """Which peak of the vocabulary each peak of the data is: int32 [peaks, tokens].

    Raises:
        InputError: none is any.
    """
    found = peak_sets.match(
        places.intervals, vocabulary.to_frame(), counts.source
    ).tocoo()
    shape = (len(counts.var), vocabulary.num_peaks)
    return sp.csr_matrix(
        (found.data, (places.columns[found.row], found.col)), shape=shape
    )


def align_atac(
    counts: Counts,
    places: Places,
    genes: pd.DataFrame,
    aggregation: PeakAggregation,
) -> Peaks:
    """ATAC: each gene is a weighted sum of peaks.

    Raises:
        InputError: peaks and genes share no chromosome.
    """
    links = link_peaks(places.intervals, genes, aggregation, counts.source).tocoo()
    placed = (genes["chrom"] != "").to_numpy()
    report = {"links": count_links(links, placed, aggregation.bands_bp)}
    shape = (len(counts.var), len(genes))
    links = sp.coo_matrix(
        (links.data, (places.columns[links.row], links.col)), shape=shape
    ).tocsr()
    alignment = Alignment(
        rows=counts.rows,
        features=counts.var.index,
        source=counts.source,
        weights=link_weights(links, aggregation),
        band=nearest_band(links, aggregation),
    )
    return Peaks(alignment=alignment, links=links, report=report)


def count_links(
    links: sp.coo_matrix, placed: Bool[np.ndarray, " genes"], bands_bp: Sequence[int]
) -> dict[str, Any]:
    """How many peaks serve each gene, and how many genes each peak, by distance.

    Args:
        links: as from `link_peaks`.
        placed: genes whose place is known; no others are counted.
        bands_bp: outer ends of the bands; each counts with those that are nearer.

    Returns:
        "within_bp" and, for each of these, "peaks_per_gene" and "genes_per_peak": how
        many have 0, 1, 2 …; the last of `MOST_LINKS` + 1 have that many or more.
    """
    counted: dict[str, Any] = {"within_bp": list(bands_bp)}
    counted |= {"peaks_per_gene": [], "genes_per_peak": []}
    for band in range(1, len(bands_bp) + 1):
        near = links.data <= band
        peaks = np.bincount(links.col[near], minlength=links.shape[1])[placed]
        genes = np.bincount(links.row[near], minlength=links.shape[0])
        for name, numbers in (("peaks_per_gene", peaks), ("genes_per_peak", genes)):
            capped = np.minimum(numbers, MOST_LINKS)
            counted[name].append(np.bincount(capped).tolist())
    return counted


def name_datasets(paths: Sequence[Path]) -> list[str]:
    """A name for each file: its own without ending, numbered where two are alike."""
    names: list[str] = []
    for path in paths:
        whole = path.name.removesuffix(".gz")
        stem = path.name if path.is_dir() else Path(whole).stem
        numbered = (f"{stem}_{number}" for number in itertools.count(2))
        choices = itertools.chain([stem], numbered)
        names.append(next(name for name in choices if name not in names))
    return names

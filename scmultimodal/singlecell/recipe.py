"""The recipe of SPEC 2.2, from raw counts to bins: the one place that chains it."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from jaxtyping import Bool, Float, Float64, Shaped
from mudata import MuData

from scmultimodal.genome.annotation import GENE_COLUMNS
from scmultimodal.ops import csr
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import MODALITIES, Modality
from scmultimodal.singlecell import kernels, products
from scmultimodal.singlecell.binning import Strategy, bin_matrix, check_binning
from scmultimodal.singlecell.counts import count_matrix
from scmultimodal.singlecell.fragments import CountChoice, to_fragments
from scmultimodal.singlecell.gene_sets import find_genes
from scmultimodal.singlecell.observations import merge_obs
from scmultimodal.singlecell.peaks import (
    PeakAggregation,
    aggregate_counts,
    coverage,
    fragments_in_bands,
    link_peaks,
    nearest_band,
    peak_intervals,
)
from scmultimodal.singlecell.readers import split_modalities


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """Numbers of the recipe; the defaults are the study's.

    Attributes:
        counts: what the ATAC counts count.
        min_feature_fraction: least share of non-zero genes of a training cell.
        target_sum: total that each cell is scaled to before log1p; None means the
            median depth of the training cells.
        aggregation: how peaks become gene-level values.
        strategy: how values are binned.
        num_bins: number of bins above 0.
    """

    counts: CountChoice = "auto"
    min_feature_fraction: float = 0.01
    target_sum: float | None = 10_000.0
    aggregation: PeakAggregation = dataclasses.field(default_factory=PeakAggregation)
    strategy: Strategy = "gene_normalized"
    num_bins: int = 5

    def __post_init__(self):
        """Raises InputError for values out of range."""
        check_binning(self.strategy, self.num_bins)
        total = 1.0 if self.target_sum is None else self.target_sum
        if not 0 <= self.min_feature_fraction < 1 or total <= 0:
            raise InputError(
                "recipe",
                f"min_feature_fraction {self.min_feature_fraction}, "
                f"target_sum {self.target_sum}",
                "Use a fraction from 0 to below 1 and a positive total",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlignedCells:
    """Counts of both modalities over one list of genes.

    Attributes:
        rna: counts, CSR int32 [cells, genes]; None where no cell has RNA.
        atac: gene-level values in units of `atac_unit`, CSR int32 [cells, genes].
        present: by modality key, which cells have it; absent cells have empty rows.
        genes: gene_id, symbol, chrom, start, end, strand.
        obs: annotations of the cells, indexed by cell name.
        atac_unit: the gene-level ATAC value of one count in `atac`.
        report: what was found, kept and dropped; JSON-able.
    """

    rna: sp.csr_matrix | None
    atac: sp.csr_matrix | None
    present: dict[str, Bool[np.ndarray, " cells"]]
    genes: pd.DataFrame
    obs: pd.DataFrame
    atac_unit: float
    report: dict[str, Any]


def align_to_genes(
    data: MuData | AnnData, gene_table: pd.DataFrame, config: RecipeConfig
) -> AlignedCells:
    """Steps 1 to 4 of SPEC 2.2 on new data: the genes of a trained model.

    Never drops or reorders a cell; a gene that the data lack is 0 and reported.

    Raises:
        InputError: where counts or peaks break a rule, or fewer than a tenth of the
            model's genes are in the data.
    """
    parts = split_modalities(data)
    report: dict[str, Any] = {}
    rna = None
    if Modality.RNA in parts:
        rna = _select_genes(parts[Modality.RNA], gene_table, report)
    atac = _gene_level(parts.get(Modality.ATAC), gene_table, config, report)
    return _stack(data, parts, rna, atac, gene_table, config, report)


def log_normalize(
    counts: sp.csr_matrix, target_sum: float | None, unit: float = 1.0
) -> sp.csr_matrix:
    """log1p of counts scaled to a common total: CSR float32 [cells, genes].

    Args:
        counts: whole units.
        target_sum: the total; None leaves the depth as it is.
        unit: value of one count. A common total cancels it.
    """
    factors = depth_factors(kernels.row_sums(counts), target_sum, unit)
    values = kernels.log_values(counts, factors)
    parts = (values, counts.indices, counts.indptr)
    return csr.wrap(*parts, counts.shape)


def depth_factors(
    depths: Shaped[np.ndarray, " cells"], target_sum: float | None, unit: float = 1.0
) -> Float64[np.ndarray, " cells"]:
    """What the counts of each cell are multiplied by before log1p.

    Args:
        depths: whole units of each cell.
        target_sum: the common total; None leaves the depth as it is.
        unit: value of one count. A common total cancels it.
    """
    if target_sum is None:
        return np.full(len(depths), unit)
    depths = depths.astype(np.float64)
    return np.divide(target_sum, depths, out=np.zeros_like(depths), where=depths > 0)


def bin_counts(
    counts: sp.csr_matrix,
    *,
    unit: float,
    target_sum: float | None,
    medians: Float[np.ndarray, " genes"] | None,
    strategy: Strategy,
    num_bins: int,
) -> sp.csr_matrix:
    """Steps 6 to 8 of SPEC 2.2: counts to bins, CSR uint8 [cells, genes].

    The strategy "counts" takes step 8 alone. `medians` are used by the strategy
    "gene_normalized" alone, so that the caller may pass those of the vocabulary
    whatever the strategy is.
    """
    if strategy == "absolute":
        values = log_normalize(counts, target_sum, unit)
        return bin_matrix(values, strategy=strategy, num_bins=num_bins)
    if strategy == "counts":
        parts = (counts.data * unit, counts.indices, counts.indptr)
        values = csr.wrap(*parts, counts.shape)
        return bin_matrix(values, strategy=strategy, num_bins=num_bins)
    check_binning(strategy, num_bins)
    if medians is None or strategy == "quantile":
        medians = np.ones(counts.shape[1], np.float32)
    factors = depth_factors(kernels.row_sums(counts), target_sum, unit)
    bins = kernels.count_bins(counts, factors, np.float32(medians), num_bins)
    return csr.wrap(bins, counts.indices, counts.indptr, counts.shape)


def _gene_level(
    atac: AnnData | None,
    genes: pd.DataFrame,
    config: RecipeConfig,
    report: dict[str, Any],
) -> sp.csr_matrix | None:
    """ATAC counts to whole units per gene; adds the coverage to the report."""
    if atac is None:
        return None
    counts = count_matrix(atac, "atac")
    fragments, kind = to_fragments(AnnData(X=counts), config.counts)
    links = link_peaks(peak_intervals(atac), genes, config.aggregation)
    counts = sp.csr_matrix(fragments.X)
    inside = fragments_in_bands(
        counts, nearest_band(links, config.aggregation), config.aggregation
    )
    report["peak_aggregation"] = coverage(inside, links, config.aggregation)
    report["counts"] = {"asked": config.counts, "taken_for": kind}
    return aggregate_counts(counts, links, config.aggregation)


def _select_genes(
    rna: AnnData, gene_table: pd.DataFrame, report: dict[str, Any]
) -> sp.csr_matrix:
    """RNA counts of the model's genes, in their order."""
    found = find_genes(rna.var, gene_table)
    report["gene_alignment"] = found.report
    weights = found.weights(rna.n_vars, len(gene_table))
    return products.multiply(count_matrix(rna, "rna"), weights)


def _stack(
    data: MuData | AnnData,
    parts: dict[Modality, AnnData],
    rna: sp.csr_matrix | None,
    atac: sp.csr_matrix | None,
    genes: pd.DataFrame,
    config: RecipeConfig,
    report: dict[str, Any],
) -> AlignedCells:
    """Puts both modalities into the order of the cells of `data`."""
    names = data.obs_names
    matrices: dict[Modality, sp.csr_matrix | None] = {}
    present = {}
    for modality, matrix in zip(MODALITIES, (rna, atac), strict=True):
        matrices[modality] = None
        present[modality.value] = np.zeros(len(names), bool)
        if matrix is not None:
            rows = parts[modality].obs_names.get_indexer(names)
            present[modality.value] = rows >= 0
            matrices[modality] = csr.take_rows(matrix, rows)
    return AlignedCells(
        rna=matrices[Modality.RNA],
        atac=matrices[Modality.ATAC],
        present=present,
        genes=genes[list(GENE_COLUMNS)].reset_index(drop=True),
        obs=merge_obs(data, parts),
        atac_unit=config.aggregation.unit,
        report=report,
    )

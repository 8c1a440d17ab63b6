"""Peaks to genes: where the ATAC input of the cell model comes from (SPEC 2.2.4)."""

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from jaxtyping import Int8, Int64

from scmultimodal.genome import intervals
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import products
from scmultimodal.singlecell.counts import count_matrix

Anchor = Literal["tss_and_body", "body", "tss"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeakAggregation:
    """How peaks become gene-level values.

    Attributes:
        bands_bp: outer ends of the distance bands, in bp; half-open: [0, 10 kb), …
        weights: weight of each band.
        anchor: what distance is measured from. "tss": the gene's start by strand;
            "tss_and_body": the same, and a peak that overlaps the gene body is in the
            first band; "body": the nearer end of the gene body, 0 within.
    """

    bands_bp: tuple[int, ...] = (10_000, 20_000, 50_000)
    weights: tuple[float, ...] = (1 / 2, 1 / 3, 1 / 6)
    anchor: Anchor = "tss_and_body"

    def __post_init__(self):
        """Raises InputError for bands or weights that make no sense."""
        edges = (0, *self.bands_bp)
        if not self.bands_bp or any(np.diff(edges) <= 0):
            raise InputError(
                "bands_bp", f"{self.bands_bp} do not increase from 0", "Sort the bands"
            )
        if len(self.weights) != len(self.bands_bp) or min(self.weights) <= 0:
            raise InputError(
                "weights",
                f"{self.weights} for {len(self.bands_bp)} bands",
                "Give one positive weight per band",
            )
        if self.anchor not in get_args(Anchor):
            raise InputError(
                "anchor",
                f"{self.anchor!r} is unknown",
                f"Use one of {get_args(Anchor)}",
            )
        integer_weights(self.weights)

    @property
    def unit(self) -> float:
        """The value that all gene-level values are whole multiples of (1/6)."""
        return integer_weights(self.weights)[1]


def integer_weights(weights: Sequence[float]) -> tuple[tuple[int, ...], float]:
    """Weights as whole multiples of a unit: (1/2, 1/3, 1/6) → ((3, 2, 1), 1/6).

    Raises:
        InputError: where a weight is no fraction with a denominator up to 1,000.
    """
    fractions = [Fraction(weight).limit_denominator(1_000) for weight in weights]
    if not np.allclose([float(f) for f in fractions], weights, rtol=1e-9, atol=0):
        raise InputError(
            "weights", f"{weights} are no simple fractions", "Use e.g. 1/3"
        )
    denominator = math.lcm(*(f.denominator for f in fractions))
    numerators = [int(f * denominator) for f in fractions]
    common = math.gcd(*numerators)
    return tuple(n // common for n in numerators), common / denominator


def aggregate_peaks(
    atac: AnnData,
    genes: pd.DataFrame,
    *,
    bands_bp: Sequence[int] = (10_000, 20_000, 50_000),
    weights: Sequence[float] = (1 / 2, 1 / 3, 1 / 6),
    anchor: Anchor = "tss_and_body",
) -> AnnData:
    """Sums the fragment counts of the peaks around each gene, weighted by distance.

    Args:
        atac: fragment counts, cells by peaks; intervals in `var` or in the names.
        genes: gene_id (column or index), chrom, start, end, strand.
        bands_bp, weights, anchor: see `PeakAggregation`.

    Returns:
        Cells by genes, X float32; X / unit is whole. `uns["peak_aggregation"]` holds
        the parameters, the unit and the coverage.

    Raises:
        InputError: for counts, intervals or parameters that break a rule, and where
            peaks and genes share no chromosome.
    """
    config = PeakAggregation(
        bands_bp=tuple(bands_bp), weights=tuple(weights), anchor=anchor
    )
    counts = count_matrix(atac, "atac")
    if "gene_id" not in genes:
        genes = genes.rename_axis("gene_id").reset_index()
    links = link_peaks(peak_intervals(atac), genes, config)
    values = aggregate_counts(counts, links, config).astype(np.float32)
    values.data *= np.float32(config.unit)
    inside = fragments_in_bands(counts, nearest_band(links, config), config)
    report = coverage(inside, links, config)
    var = genes.set_index("gene_id").rename_axis(None)
    return AnnData(
        X=values, obs=atac.obs.copy(), var=var, uns={"peak_aggregation": report}
    )


def peak_intervals(atac: AnnData, source: object = "atac") -> pd.DataFrame:
    """Where the peaks lie: from columns of `var` in the usual spellings, or the names.

    Returns:
        chrom, start, end (0-based, half-open, bp), indexed by peak name.

    Raises:
        InputError: where neither columns nor names are intervals.
    """
    columns = intervals.interval_columns(atac.var.columns)
    if columns is None:
        parsed = intervals.parse_peak_names(atac.var_names, source)
        return parsed.set_axis(atac.var_names)
    peaks = pd.DataFrame({"chrom": atac.var[columns["chrom"]].astype(str)})
    for name in ("start", "end"):
        numbers = pd.to_numeric(atac.var[columns[name]].astype(object), errors="coerce")
        if numbers.isna().any() or (numbers % 1 != 0).any():
            raise InputError(
                source,
                f"var column {columns[name]!r} holds values that are not whole numbers",
                "Coordinates are whole numbers of bp",
            )
        peaks[name] = numbers.astype(np.int64)
    intervals.check_intervals(peaks, atac.var_names, source)
    return peaks


def link_peaks(
    peaks: pd.DataFrame,
    genes: pd.DataFrame,
    config: PeakAggregation,
    source: object = "peaks",
) -> sp.csr_matrix:
    """Which peak serves which gene, and in which distance band.

    The start of a gene is the coordinate `start` on + and `end` on −: a boundary
    between two bases, as the ends of a peak are, so that + and − are mirror images.
    The distance of a peak [s, e) from it is max(0, s − tss, tss − e).

    Args:
        peaks: chrom, start, end.
        genes: chrom, start, end, strand; chrom "" where a gene has no place.
        config: bands and anchor.
        source: of the peaks, to name in an error.

    Returns:
        int8 [peaks, genes]: 1 for the nearest band, 2 for the next …; absent: no link.
    """
    peaks, genes = _one_style(peaks, genes, source)
    start, end = genes["start"].to_numpy(), genes["end"].to_numpy()
    tss = np.where(genes["strand"] == "-", end, start)
    low, high = (start, end) if config.anchor == "body" else (tss, tss)
    reach = config.bands_bp[-1]
    windows = pd.DataFrame(
        {"chrom": genes["chrom"], "start": low - reach, "end": high + reach}
    )
    if config.anchor == "tss_and_body":
        windows["start"] = np.minimum(windows["start"], start)
        windows["end"] = np.maximum(windows["end"], end)
    placed = np.flatnonzero(genes["chrom"] != "")
    peak, gene = intervals.overlapping(peaks, windows.iloc[placed])
    gene = placed[gene]

    first, last = peaks["start"].to_numpy()[peak], peaks["end"].to_numpy()[peak]
    distance = np.maximum(0, np.maximum(first - high[gene], low[gene] - last))
    band = np.searchsorted(config.bands_bp, distance, side="right")
    if config.anchor == "tss_and_body":
        band[(first < end[gene]) & (last > start[gene])] = 0
    return sp.csr_matrix(
        ((band + 1).astype(np.int8), (peak, gene)), shape=(len(peaks), len(genes))
    )


def aggregate_counts(
    counts: sp.csr_matrix, links: sp.csr_matrix, config: PeakAggregation
) -> sp.csr_matrix:
    """Gene-level values in whole units: int32 [cells, genes], `config.unit` each."""
    return products.multiply(counts, link_weights(links, config))


def link_weights(links: sp.csr_matrix, config: PeakAggregation) -> sp.csr_matrix:
    """What a count in a peak is worth to a gene, in whole units: int32."""
    table = np.array((0, *integer_weights(config.weights)[0]), np.int32)
    parts = (table[links.data], links.indices, links.indptr)
    return sp.csr_matrix(parts, shape=links.shape)


def nearest_band(
    links: sp.csr_matrix, config: PeakAggregation
) -> Int8[np.ndarray, " peaks"]:
    """The nearest band of each peak, from 0; the last is that of no gene."""
    nearest = np.full(links.shape[0], len(config.bands_bp), np.int8)
    rows = np.repeat(np.arange(links.shape[0]), np.diff(links.indptr))
    np.minimum.at(nearest, rows, links.data - 1)
    return nearest


def fragments_in_bands(
    counts: sp.csr_matrix, nearest: Int8[np.ndarray, " peaks"], config: PeakAggregation
) -> Int64[np.ndarray, " bands"]:
    """Fragments by the nearest band of their peak; the last are those of no gene."""
    size = len(config.bands_bp) + 1
    return np.bincount(nearest[counts.indices], counts.data, size).astype(np.int64)


def coverage(
    fragments_in: Int64[np.ndarray, " bands"],
    links: sp.csr_matrix,
    config: PeakAggregation,
) -> dict[str, Any]:
    """What the aggregation kept. A peak counts once, in its nearest band.

    Args:
        fragments_in: as from `fragments_in_bands`.
        links: as from `link_peaks`.
        config: the bands.
    """
    size = len(config.bands_bp) + 1
    peaks_in = np.bincount(nearest_band(links, config), minlength=size).tolist()
    return {
        **dataclasses.asdict(config),
        "bands_bp": list(config.bands_bp),
        "weights": list(config.weights),
        "unit": config.unit,
        "peaks": links.shape[0],
        "peaks_per_band": peaks_in[:-1],
        "peaks_outside": peaks_in[-1],
        "fragments": int(fragments_in.sum()),
        "fragments_per_band": fragments_in[:-1].tolist(),
        "fragments_outside": int(fragments_in[-1]),
        "links_per_band": np.bincount(links.data, minlength=size)[1:].tolist(),
        "genes": links.shape[1],
        "genes_without_peak": int(
            (np.bincount(links.indices, minlength=links.shape[1]) == 0).sum()
        ),
    }


def _one_style(
    peaks: pd.DataFrame, genes: pd.DataFrame, source: object
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with the chromosome names of the genes."""
    intervals.chromosome_style(peaks["chrom"], source)
    style = intervals.chromosome_style(genes["chrom"], "genes")
    peaks = peaks.reset_index(drop=True)
    peaks["chrom"] = intervals.rename_chromosomes(peaks["chrom"], style)
    genes = genes.reset_index(drop=True)
    if not set(peaks["chrom"]) & set(genes["chrom"]):
        theirs = sorted(set(genes["chrom"]) - {""})[:3]
        raise InputError(
            source,
            f"its peaks share no chromosome with the genes "
            f"({sorted(set(peaks['chrom']))[:3]} against {theirs})",
            "Give the annotation of the same species and assembly",
        )
    return peaks, genes

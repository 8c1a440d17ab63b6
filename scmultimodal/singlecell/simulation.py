"""Paired RNA and ATAC with a known truth, for tests and for work offline."""

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from jaxtyping import Float, Int
from mudata import MuData

from scmultimodal.genome.annotation import GENE_COLUMNS
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.readers import join_modalities

_NUM_CHROMOSOMES = 5
_GENE_SPACING = 120_000
_JITTER = 5_000
# Peaks of 500 bp stand on a grid of 1 kb around the gene's start, up to 40 kb away.
_GRID = 1_000
_PEAK = 500
_SLOTS = 40
# Distal ones stand on a grid between genes, beyond 50 kb of the start of either.
_DISTAL_SLOTS = 8
_DISTAL_GENES = 4


def simulate_multiome(
    *,
    num_cells: int = 1_000,
    num_genes: int = 300,
    num_cell_types: int = 6,
    num_batches: int = 2,
    peaks_per_gene: int = 3,
    link_strength: float = 1.0,
    marker_effect: float = 1.5,
    batch_effect: float = 0.2,
    rna_depth: float | None = None,
    atac_depth: float | None = None,
    dispersion: float = 0.2,
    distal: float = 0.0,
    seed: int = 0,
) -> MuData:
    """Simulates cells whose chromatin and expression share a cause.

    Each cell has a latent activity of each gene: the programme of its cell type (a
    tenth of the genes are markers) plus standard normal noise of the cell's own. On
    the log scale the activity drives the gene's RNA rate and, times `link_strength`,
    the rates of its peaks; so ATAC tells more of a cell's RNA than the cell type does.
    RNA is negative-binomial, ATAC Poisson fragments. Batches differ in depth and by a
    factor per gene and peak. Genes lie 120 kb apart on chr1 to chr5, their peaks within
    40 kb of their start, so that a peak is within 50 kb of one gene's start only; one
    peak to every fifth gene serves none.

    Args:
        num_cells, num_genes, num_cell_types, num_batches: sizes.
        peaks_per_gene: linked peaks of each gene, 1 to 80.
        link_strength: 0 makes the two modalities independent.
        marker_effect: log-fold change of a type's markers.
        batch_effect: standard deviation of the batches' log factors.
        rna_depth: mean counts of a cell; None: 2 per gene.
        atac_depth: mean fragments of a cell; None: 1 per peak.
        dispersion: of the negative binomial; variance = mean + dispersion · mean².
        distal: share of the genes whose linked peaks all lie more than 50 kb from their
            start, and from that of any gene, up to 450 kb away. The peaks near their
            start serve none.
        seed: the same seed gives the same data.

    Returns:
        MuData {"rna", "atac"} with int32 counts. `obs`: cell_type, batch. `rna.var`:
        the annotation (`simulated_genes`); `atac.var`: chrom, start, end.
        `uns["links"]`: peak, gene_id, distance_bp; `uns["markers"]`: cell_type,
        gene_id; `uns["simulated"]`: the settings.

    Raises:
        InputError: for sizes out of range.
    """
    settings = {k: v for k, v in locals().items() if v is not None}
    _check_sizes(settings)
    rng = np.random.default_rng(seed)
    genes = _place_genes(num_genes, rng)
    peaks, gene_of_peak = _place_peaks(genes, peaks_per_gene, distal, rng)
    obs = pd.DataFrame(
        {
            "cell_type": _labels("type", num_cells, num_cell_types, rng),
            "batch": _labels("batch", num_cells, num_batches, rng),
        },
        index=[f"cell_{i:06d}" for i in range(num_cells)],
    )
    markers = marker_effect * (rng.random((num_cell_types, num_genes)) < 0.1)
    activity = rng.normal(size=(num_cells, num_genes))
    activity += markers[obs["cell_type"].cat.codes]
    # Peaks that serve no gene (−1) take the silent last column.
    drive = np.pad(link_strength * activity, ((0, 0), (0, 1)))[:, gene_of_peak]

    batch = obs["batch"].cat.codes.to_numpy()
    rates = _rates(activity, batch, rna_depth or 2.0 * num_genes, batch_effect, rng)
    if dispersion > 0:
        rates = rates * rng.gamma(1 / dispersion, dispersion, rates.shape)
    rna = _adata(rng.poisson(rates), obs, genes.set_index("gene_id", drop=False))
    rates = _rates(drive, batch, atac_depth or float(len(peaks)), batch_effect, rng)
    atac = _adata(rng.poisson(rates), obs, peaks)

    mdata = join_modalities({"rna": rna, "atac": atac})
    mdata.obs = obs.copy()
    mdata.uns["links"] = _link_table(genes, peaks, gene_of_peak)
    kind, gene = np.nonzero(markers)
    mdata.uns["markers"] = pd.DataFrame(
        {
            "cell_type": obs["cell_type"].cat.categories.to_numpy(object)[kind],
            "gene_id": genes["gene_id"].to_numpy()[gene],
        }
    )
    mdata.uns["simulated"] = settings
    return mdata


def simulated_genes(mdata: MuData) -> pd.DataFrame:
    """The annotation of simulated data, as `genome.read_genes` would give it."""
    if "rna" not in mdata.mod or not set(GENE_COLUMNS) <= set(mdata["rna"].var):
        raise InputError(
            "data", "carry no annotation", "Use simulate_multiome's result"
        )
    return mdata["rna"].var[list(GENE_COLUMNS)].reset_index(drop=True)


def _check_sizes(settings: dict[str, Any]) -> None:
    for name in ("num_cells", "num_genes", "num_cell_types", "num_batches"):
        if settings[name] < 1:
            raise InputError(name, f"is {settings[name]}", "Use at least 1")
    if not 1 <= settings["peaks_per_gene"] <= 2 * _SLOTS:
        raise InputError(
            "peaks_per_gene",
            f"is {settings['peaks_per_gene']}",
            f"Use 1 to {2 * _SLOTS}",
        )
    if not 0 <= settings["distal"] <= 1:
        raise InputError("distal", f"is {settings['distal']}", "Use 0 to 1")
    # At the end of a chromosome two genes share a gap.
    if settings["distal"] and settings["peaks_per_gene"] > _DISTAL_SLOTS // 2:
        raise InputError(
            "peaks_per_gene",
            f"is {settings['peaks_per_gene']}, and distal above 0",
            f"Use up to {_DISTAL_SLOTS // 2}",
        )


def _labels(
    name: str, num_cells: int, num_labels: int, rng: np.random.Generator
) -> pd.Categorical:
    """Labels of nearly equal size in random order."""
    codes = rng.permutation(np.arange(num_cells) % num_labels)
    return pd.Categorical.from_codes(codes, [f"{name}_{i}" for i in range(num_labels)])


def _place_genes(num_genes: int, rng: np.random.Generator) -> pd.DataFrame:
    number = np.arange(num_genes)
    per_chromosome = -(-num_genes // _NUM_CHROMOSOMES)
    tss = _GENE_SPACING * (1 + number % per_chromosome)
    tss += rng.integers(-_JITTER, _JITTER + 1, num_genes)
    length = rng.integers(2_000, 30_001, num_genes)
    forward = rng.random(num_genes) < 0.5
    return pd.DataFrame(
        {
            "gene_id": [f"ENSSIMG{i:011d}" for i in number],
            "symbol": [f"GENE{i}" for i in number],
            "chrom": [f"chr{1 + i // per_chromosome}" for i in number],
            "start": np.where(forward, tss, tss - length),
            "end": np.where(forward, tss + length, tss),
            "strand": np.where(forward, "+", "-"),
        }
    )


def _tss(genes: pd.DataFrame) -> Int[np.ndarray, " genes"]:
    return np.where(genes["strand"] == "+", genes["start"], genes["end"])


def _place_peaks(
    genes: pd.DataFrame, peaks_per_gene: int, distal: float, rng: np.random.Generator
) -> tuple[pd.DataFrame, Int[np.ndarray, " peaks"]]:
    """Peaks in genomic order, and the gene of each (−1: none)."""
    shuffled = rng.permuted(
        np.tile(np.arange(-_SLOTS, _SLOTS), (len(genes), 1)), axis=1
    )
    margin = (_GRID - _PEAK) // 2
    linked = _tss(genes)[:, None] + _GRID * shuffled[:, :peaks_per_gene] + margin
    lonely = _tss(genes)[::5] + _GENE_SPACING // 2 - _PEAK // 2
    gene = np.repeat(np.arange(len(genes)), peaks_per_gene)
    peaks = pd.DataFrame(
        {
            "chrom": np.concatenate(
                [genes["chrom"].to_numpy()[gene], genes["chrom"][::5]]
            ),
            "start": np.concatenate([linked.ravel(), lonely]),
            "gene": np.concatenate([gene, np.full(len(lonely), -1)]),
        }
    )
    if distal:
        far = _place_distal(genes, peaks_per_gene, distal, rng)
        peaks["gene"] = peaks["gene"].where(~peaks["gene"].isin(far["gene"]), -1)
        peaks = pd.concat([peaks, far], ignore_index=True)
    peaks = peaks.sort_values(["chrom", "start"])
    peaks["end"] = peaks["start"] + _PEAK
    names = peaks["chrom"] + ":" + peaks["start"].astype(str)
    peaks.index = pd.Index(names + "-" + peaks["end"].astype(str))
    return peaks[["chrom", "start", "end"]], peaks["gene"].to_numpy()


def _place_distal(
    genes: pd.DataFrame, peaks_per_gene: int, share: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Peaks of some genes, each between two others of its chromosome."""
    chosen = np.sort(rng.permutation(len(genes))[: round(share * len(genes))])
    last = genes.groupby("chrom")["start"].transform("size").to_numpy() - 1
    number = genes.groupby("chrom").cumcount().to_numpy()
    left = []
    for _ in range(peaks_per_gene):
        # Genes are shuffled by a few places: few peaks come to lie in one gap.
        moved = number + rng.uniform(0, _DISTAL_GENES, len(genes))
        place = pd.Series(moved).groupby(genes["chrom"].to_numpy()).rank().to_numpy()
        gap = np.minimum(place.astype(np.int64) - 1, np.maximum(last - 1, 0))
        left.append((np.arange(len(genes)) - number + gap)[chosen])
    left = np.concatenate(left)
    slots = rng.permuted(np.tile(np.arange(_DISTAL_SLOTS), (len(genes), 1)), axis=1)
    slot = slots[left, pd.Series(left).groupby(left).cumcount()]
    away = _GENE_SPACING // 2 - _GRID * (1 + slot) - _PEAK // 2
    return pd.DataFrame(
        {
            "chrom": genes["chrom"].to_numpy()[left],
            "start": _tss(genes)[left] + away,
            "gene": np.tile(chosen, peaks_per_gene),
        }
    )


def _rates(
    log_activity: Float[np.ndarray, "cells features"],
    batch: Int[np.ndarray, " cells"],
    depth: float,
    batch_effect: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "cells features"]:
    """Expected counts: log-normal base levels, depths and batch factors."""
    num_cells, num_features = log_activity.shape
    num_batches = batch.max() + 1
    log_rates = log_activity + rng.normal(size=num_features)
    log_rates += batch_effect * rng.normal(size=(num_batches, num_features))[batch]
    shares = np.exp(log_rates - log_rates.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    log_depth = 0.3 * rng.normal(size=num_cells) - 0.3**2 / 2
    log_depth += batch_effect * rng.normal(size=num_batches)[batch]
    return depth * np.exp(log_depth)[:, None] * shares


def _adata(
    counts: Int[np.ndarray, "cells features"], obs: pd.DataFrame, var: pd.DataFrame
) -> AnnData:
    var = var.rename_axis(None)
    return AnnData(X=sp.csr_matrix(counts, dtype=np.int32), obs=obs.copy(), var=var)


def _link_table(
    genes: pd.DataFrame, peaks: pd.DataFrame, gene_of_peak: Int[np.ndarray, " peaks"]
) -> pd.DataFrame:
    linked = np.flatnonzero(gene_of_peak >= 0)
    gene, place = gene_of_peak[linked], peaks.iloc[linked]
    tss = _tss(genes)[gene]
    after, before = place["start"].to_numpy() - tss, tss - place["end"].to_numpy()
    return pd.DataFrame(
        {
            "peak": peaks.index[linked],
            "gene_id": genes["gene_id"].to_numpy()[gene],
            "distance_bp": np.maximum(0, np.maximum(after, before)),
        }
    )

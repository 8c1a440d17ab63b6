"""Cells to pseudobulk: how open each peak is in each cell type (SPEC 3.1.1, 3.1.2)."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from jaxtyping import Bool, Float64, Int64
from mudata import MuData

from scmultimodal.genome.regions import RegionTable
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell.counts import count_matrix
from scmultimodal.singlecell.fragments import CountChoice, to_fragments
from scmultimodal.singlecell.observations import merge_obs
from scmultimodal.singlecell.peaks import peak_intervals
from scmultimodal.singlecell.readers import split_modalities


@dataclasses.dataclass(frozen=True, kw_only=True)
class PseudobulkConfig:
    """How cells become pseudobulk.

    Attributes:
        label: column of obs with the cell types or clusters.
        batch: column of obs with the samples that the cells come from; None takes
            all cells for one sample.
        counts: what the counts count.
        min_cell_fraction: a peak must be seen in this share of the cells of at least
            one sample.
        min_mean: smaller mean fragment counts become 0.
        min_cells: smaller cell types are left out.
    """

    label: str
    batch: str | None = None
    counts: CountChoice = "auto"
    min_cell_fraction: float = 0.01
    min_mean: float = 0.1
    min_cells: int = 1

    def __post_init__(self):
        """Raises InputError for values out of range."""
        if not 0 <= self.min_cell_fraction <= 1:
            problem = f"is {self.min_cell_fraction}"
            raise InputError("min_cell_fraction", problem, "Give a share, 0 to 1")
        if self.min_mean < 0 or self.min_cells < 1:
            problem = f"min_mean {self.min_mean}, min_cells {self.min_cells}"
            raise InputError("pseudobulk", problem, "Give 0 or more, and 1 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pseudobulk:
    """Mean fragment counts of cell types.

    Attributes:
        table: peaks that are seen often enough, one sample per cell type by name.
        report: what was found, kept and left out; anything in it is JSON.
    """

    table: RegionTable
    report: dict[str, Any]


def pseudobulk(
    data: AnnData | MuData, config: PseudobulkConfig, source: object = "atac"
) -> Pseudobulk:
    """Mean fragment count of every peak over the cells of each cell type.

    Cells without a label count towards how often a peak is seen, and nothing else. No
    zero region will be drawn on a peak that is seen too rarely: it is not closed.

    Args:
        data: ATAC counts with peak intervals, alone or among other modalities.
        config: columns and numbers.
        source: what to name in an error.

    Raises:
        InputError: there is no ATAC, no such column, no peak or cell type left, or
            counts or intervals break a rule.
    """
    parts = split_modalities(data, source)
    if Modality.ATAC not in parts:
        raise InputError(source, "holds no ATAC", "Give cells by peaks")
    atac = parts[Modality.ATAC]
    obs = merge_obs(data, parts).reindex(atac.obs_names)
    fragments, kind = to_fragments(atac, config.counts)
    counts = count_matrix(fragments, source)
    peaks = peak_intervals(atac, source).reset_index(drop=True)
    batch = _codes(obs, config.batch, source) if config.batch else None
    often = _seen_often(counts, batch, config.min_cell_fraction)
    if not often.any():
        raise InputError(
            source,
            f"no peak of {len(often):,} is seen in {config.min_cell_fraction:.2%} of "
            "the cells",
            "Lower the share",
        )
    label = _codes(obs, config.label, source)
    kept, left_out = _large_enough(label, config, source)
    values = _means(counts[:, often], kept)
    values[values < config.min_mean] = 0
    table = RegionTable.build(
        source,
        peaks[often],
        values,
        [str(name) for name in kept.cat.categories],
        closed_to_gaps=peaks[~often],
    )
    report = {
        "cells": atac.n_obs,
        "cells_without_label": int(label.isna().sum()),
        "cells_per_type": {str(n): int(c) for n, c in kept.value_counts().items()},
        "types_too_small": left_out,
        "counts_taken_for": kind,
        "peaks": len(often),
        "peaks_seen_too_rarely": int((~often).sum()),
        "means_set_to_zero": config.min_mean,
    }
    return Pseudobulk(table=table, report=report)


def _codes(obs: pd.DataFrame, column: str, source: object) -> pd.Series:
    """A column as categories; missing and empty labels are missing."""
    if column not in obs:
        others = ", ".join(map(str, obs.columns[:12]))
        remedy = f"Name one of {others}" if others else "It has no columns: add one"
        raise InputError(source, f"obs has no column {column!r}", remedy)
    values = obs[column].astype(object)
    text = values.map(str, na_action="ignore")
    return text.mask(text == "").astype("category")


def _large_enough(
    label: pd.Series, config: PseudobulkConfig, source: object
) -> tuple[pd.Series, dict[str, int]]:
    """The labels of types with enough cells, and the sizes of the other types."""
    sizes = label.value_counts()
    small = sizes[sizes < config.min_cells]
    if len(small) == len(sizes):
        problem = f"no type of {config.label!r} has {config.min_cells} cells"
        raise InputError(source, problem, "Name another column, or lower the number")
    kept = label.cat.remove_categories(list(small.index))
    return kept, {str(name): int(size) for name, size in sorted(small.items())}


def _seen_often(
    counts: sp.csr_matrix, batch: pd.Series | None, fraction: float
) -> Bool[np.ndarray, " peaks"]:
    """Which peaks are seen in this share of the cells of at least one batch."""
    if batch is None:
        batch = pd.Series(np.zeros(counts.shape[0])).astype("category")
    seen = counts.astype(bool).astype(np.int64)
    sizes = _sizes(batch)
    # 0.07 * 100 is a little above 7: a share that is exact must pass.
    least = fraction * sizes * (1 - 1e-12)
    return ((_indicator(batch) @ seen).toarray() >= least[:, None]).any(axis=0)


def _means(
    counts: sp.csr_matrix, label: pd.Series
) -> Float64[np.ndarray, "peaks samples"]:
    sums = (_indicator(label) @ counts.astype(np.int64)).toarray()
    return (sums / _sizes(label)[:, None]).T


def _indicator(codes: pd.Series) -> sp.csr_matrix:
    """[groups, cells]: 1 where a cell is of a group."""
    known = np.flatnonzero(codes.notna())
    rows = codes.cat.codes.to_numpy()[known]
    shape = (len(codes.cat.categories), len(codes))
    return sp.csr_matrix((np.ones(len(known), np.int64), (rows, known)), shape=shape)


def _sizes(codes: pd.Series) -> Int64[np.ndarray, " samples"]:
    known = codes.cat.codes.to_numpy()[codes.notna()]
    return np.bincount(known, minlength=len(codes.cat.categories)).astype(np.int64)

"""The facts of a prepared dataset, read a shard at a time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tqdm
from jaxtyping import Bool, Int64
from scipy import sparse

from scmultimodal.data import manifest, writing
from scmultimodal.data.shards import array_path, read_array
from scmultimodal.data.store import Store
from scmultimodal.schemas.modality import MODALITIES, Modality
from scmultimodal.singlecell import recipe

ROWS_AT_ONCE = 2_048
PERCENTILES = (5, 50, 95)


def facts(store: Store) -> dict[str, Any]:
    """What a prepared dataset holds and where it is from; JSON-able.

    Bins are those of the training cells, or of all where there is no split. Memory
    does not grow with the number of shards.
    """
    content = store.manifest
    report, provenance = content["report"], content["provenance"]
    return {
        "store": str(store.path),
        "name": str(provenance.get("name", store.path.name)),
        "simulated": bool(provenance.get("simulated", False)),
        "cells": store.num_cells,
        "genes": store.num_genes,
        "cells_with": _cells_with(store, np.ones(store.num_cells, bool)),
        "modalities": {str(m): _modality(store, m) for m in store.modalities},
        "peak_tokens": _peak_tokens(store),
        "cell_filter": report.get("cell_filter"),
        "splits": dict(content["splits"]),
        "left_out": dict(report.get("left_out", {})),
        "labels": _column(store, "label"),
        "batches": _column(store, "batch"),
        "vocabulary": report.get("vocabulary", {}),
        "annotation": report.get("annotation", {}),
        "datasets": _datasets(store, report),
        "recipe": content["recipe"],
        "shards": len(content["shards"]),
        "bytes": _size(store),
        "provenance": provenance,
    }


def training_cells(store: Store) -> Bool[np.ndarray, " cells"]:
    """The training cells; all where there is no split."""
    if "split" not in store.obs:
        return np.ones(store.num_cells, bool)
    return (store.obs["split"] == "train").to_numpy(bool)


def log_values(
    store: Store, modality: Modality, counts: sparse.csr_matrix
) -> sparse.csr_matrix:
    """log1p of stored counts [cells, genes], scaled as the recipe says."""
    unit = store.vocabulary.atac_unit if modality == Modality.ATAC else 1.0
    total = store.vocabulary.recipe["totals"].get(modality)
    return recipe.log_normalize(counts, total, unit)


def _modality(store: Store, modality: Modality) -> dict[str, Any]:
    nonzeros = store.nonzeros_per_cell(modality)[store.present(modality)]
    cells, entries = len(nonzeros), int(nonzeros.sum())
    bins = _bins(store, modality)
    return {
        "cells": cells,
        "nonzeros": entries,
        "density": entries / max(1, cells * store.num_genes),
        "nonzeros_per_cell": _percentiles(nonzeros),
        "bins": bins.tolist(),
        "evenness": evenness(bins),
    }


def _peak_tokens(store: Store) -> dict[str, Any] | None:
    """The peaks that are kept, and how many are open in a cell; None without."""
    if store.peaks is None:
        return None
    lengths = store.peak_matrix().lengths[store.present(Modality.ATAC)]
    widths = store.peaks.ends - store.peaks.starts
    return {
        "peaks": store.peaks.num_peaks,
        "origin": store.peaks.origin,
        "median_bp": float(np.median(widths)),
        "longest_bp": int(widths.max()),
        "per_cell": _percentiles(lengths),
    }


def _bins(store: Store, modality: Modality) -> Int64[np.ndarray, " bins"]:
    """How many values of the training cells are in bins 1, 2, …"""
    training = training_cells(store)
    shards = store.matrix(modality).cells_of_shards
    found = np.zeros(256, np.int64)
    bar = tqdm.tqdm(
        shards, f"bins of {modality}", unit="shard", delay=1, leave=False, disable=None
    )
    for number, cells in enumerate(bar):
        # Opened anew, so that what was read of a shard is let go with it.
        path = writing.shard_path(store.path, number, modality)
        ends = read_array(array_path(path, "indptr")).astype(np.int64)
        bins = read_array(array_path(path, "bins"))
        for first in range(0, len(cells), ROWS_AT_ONCE):
            some = slice(first, first + ROWS_AT_ONCE)
            rows = ends[first : first + ROWS_AT_ONCE + 1]
            chosen = np.repeat(training[cells[some]], np.diff(rows))
            found += np.bincount(bins[rows[0] : rows[-1]][chosen], minlength=256)
    highest = int(np.flatnonzero(found).max(initial=0))
    return found[1 : 1 + max(highest, store.vocabulary.recipe.get("num_bins", 0))]


def evenness(counts: Int64[np.ndarray, " bins"]) -> float | None:
    """Entropy of the shares over its largest possible value: 1 where all are equal.

    None where there is nothing to compare. Pielou, doi:10.1016/0022-5193(66)90013-0.
    """
    if len(counts) < 2 or not counts.sum():
        return None
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(counts))) + 0.0


def _percentiles(numbers: np.ndarray) -> dict[str, float | None]:
    found = np.percentile(numbers, PERCENTILES).tolist() if len(numbers) else [None] * 3
    return {f"p{p}": value for p, value in zip(PERCENTILES, found, strict=True)}


def _cells_with(store: Store, among: Bool[np.ndarray, " cells"]) -> dict[str, int]:
    present = [store.present(m) & among for m in MODALITIES]
    numbers = {str(m): int(p.sum()) for m, p in zip(MODALITIES, present, strict=True)}
    return numbers | {"both": int(np.logical_and.reduce(present).sum())}


def _column(store: Store, name: str) -> dict[str, int] | None:
    """How many cells have each value, most frequent first; None without the column."""
    if name not in store.obs:
        return None
    counted = store.obs[name].value_counts()
    numbers = {str(value): int(count) for value, count in counted.items() if count}
    return dict(sorted(numbers.items(), key=lambda item: (-item[1], item[0])))


def _datasets(store: Store, report: Mapping[str, Any]) -> dict[str, Any]:
    """What preparing found of each, and how much of it the store has."""
    found = report.get("datasets", {})
    names = store.dataset_names or tuple(found)[:1] or ("data",)
    kept = report.get("vocabulary", {}).get("kept_of_datasets", {})
    measured = store.measured(Modality.RNA)
    datasets = {}
    for number, name in enumerate(names):
        cells = store.dataset_codes == number
        known = found.get(name, {})
        # A trained model's genes that the data lack are zeros.
        genes = known.get("gene_alignment", {}).get("found", store.num_genes)
        if measured is not None:
            genes = int(measured[number].sum())
        with_rna = (store.present(Modality.RNA) & cells).any()
        datasets[name] = {
            "cells": int(cells.sum()),
            "cells_with": _cells_with(store, cells),
            "genes_kept": kept.get(name),
            "genes_measured": genes if with_rna else None,
            **known,
        }
    return datasets


def _size(store: Store) -> int:
    sizes = [file["bytes"] for file in store.manifest["files"].values()]
    return sum(sizes) + (store.path / manifest.FILE_NAME).stat().st_size

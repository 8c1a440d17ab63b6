"""The files of a prepared dataset: where they lie and how they are written."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from scmultimodal.data import frames, manifest
from scmultimodal.data.cell_table import CellTable, typed
from scmultimodal.data.shards import write_bins, write_counts
from scmultimodal.data.splits import SPLITS
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.ops.csr import Csr
from scmultimodal.schemas.modality import Modality

OBS = "obs.json"
MEASURED = "measured.rna.npy"
PEAKS = "peaks"
"""Of a shard: the peaks themselves, where they are kept; their bins are all 1."""

BinFunction = Callable[[Modality, Csr], Csr]
"""(modality, counts [cells, genes]) -> bins 1…255 of the same entries."""


_CONTENT = ("num_cells", "modalities", "splits", "shards", "provenance", "report")


def shard_path(folder: Path, number: int, modality: str) -> Path:
    """Returns where the arrays of a shard lie, up to the array's name."""
    return folder / "shards" / f"{number:05d}" / modality


def present_path(folder: Path, modality: str) -> Path:
    """Returns the file that says which cells have a modality."""
    return folder / f"present.{modality}.npy"


def write_matrices(
    folder: Path, cells: CellTable, bin_function: BinFunction, cells_per_shard: int
) -> None:
    """Writes counts and bins of cells in memory."""
    for modality, matrix in cells.matrices.items():
        dtype = np.min_scalar_type(int(matrix.data.max(initial=0)))
        for number, start in enumerate(range(0, len(cells.obs), cells_per_shard)):
            counts = matrix[start : start + cells_per_shard]
            path = shard_path(folder, number, modality)
            write_counts(path, counts, count_dtype=dtype)
            write_bins(path, counts, bin_function(modality, counts))


def write_cells(
    folder: Path, obs: pd.DataFrame, present: Mapping[str, Bool[np.ndarray, " cells"]]
) -> None:
    """Writes the table of cells, and which modalities they have."""
    for modality, mask in present.items():
        np.save(present_path(folder, modality), mask)
    text = json.dumps(frames.to_json(typed(obs)), ensure_ascii=False)
    (folder / OBS).write_text(text, encoding="utf-8")


def write_measured(folder: Path, measured: Bool[np.ndarray, "datasets genes"]) -> None:
    """Writes which genes of RNA each dataset has, if any lacks one.

    Datasets are in the order of the categories of `obs["dataset"]`.
    """
    if not measured.all():
        np.save(folder / MEASURED, measured)


def write_manifest(
    folder: Path, vocabulary: GeneVocabulary, content: Mapping[str, Any]
) -> None:
    """Writes the manifest last, when all other files are complete."""
    genes = {
        "num_genes": vocabulary.num_genes,
        "vocabulary_digest": vocabulary.digest(),
        "recipe": vocabulary.recipe,
    }
    manifest.write(folder, {name: content[name] for name in _CONTENT} | genes)


def link_missing(source: Path, target: Path, names: Iterable[str]) -> None:
    """Links the files that the target lacks; copies where links are not possible.

    Files of a prepared dataset are never changed in place.
    """
    for name in names:
        if (target / name).exists():
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / name, target / name)
        except OSError:
            shutil.copyfile(source / name, target / name)


def shard_sizes(num_cells: int, cells_per_shard: int) -> list[int]:
    """Returns the cells of each shard."""
    starts = range(0, num_cells, cells_per_shard)
    return [min(cells_per_shard, num_cells - start) for start in starts]


def split_sizes(obs: pd.DataFrame) -> dict[str, int]:
    """Returns the cells of each split; nothing where there is none."""
    if "split" not in obs:
        return {}
    return {name: int((obs["split"] == name).sum()) for name in SPLITS}

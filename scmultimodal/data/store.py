"""A prepared dataset on disk: counts, bins, cells, vocabulary and where they are from.

    manifest.json    versions, sizes, splits, provenance, sha256 of every other file
    vocabulary.json  the genes, in the order of the columns
    obs.json         the cells, in the order of the rows
    present.rna.npy  which cells have RNA; the same for ATAC
    measured.rna.npy which genes each dataset measured, where not all did
    peaks.json       the peaks, where they are kept
    shards/00000/    rna.{indptr,indices,counts,bins}.npy; the same for ATAC, and peaks

Counts are the data. Bins are derived from them and can be rebuilt without the source.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int32, Int64, Integer
from scipy import sparse

from scmultimodal.data import (
    atomic,
    frames,
    manifest,
    peak_vocabulary,
    remote,
    writing,
)
from scmultimodal.data.cell_table import CellTable
from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.data.shards import (
    REMEDY,
    Shard,
    ShardedMatrix,
    Values,
    read_array,
    write_bins,
)
from scmultimodal.data.splits import SPLITS
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.data.writing import BinFunction
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Store:
    """A prepared dataset, opened. Matrices stay on disk.

    Attributes:
        path: the folder.
        manifest: content of `manifest.json`.
        vocabulary: the genes.
        obs: one row per cell, indexed by cell ID.
        peaks: the peaks that ATAC is kept by too; None where it is not.
    """

    path: Path
    manifest: dict[str, Any]
    vocabulary: GeneVocabulary
    obs: pd.DataFrame
    peaks: PeakVocabulary | None
    _present: dict[Modality, np.ndarray]
    _matrices: dict[Modality, ShardedMatrix]
    _peak_matrix: ShardedMatrix | None
    _measured: np.ndarray | None

    @staticmethod
    def find(path: str | os.PathLike) -> Path | None:
        """The folder of a prepared dataset, copied first if it is in a bucket.

        None where there is a file or folder of another kind, or nothing.
        """
        folder = remote.local_copy(path) if remote.is_remote(path) else Path(path)
        return folder if (folder / manifest.FILE_NAME).is_file() else None

    @classmethod
    def open(cls, path: str | os.PathLike, *, verify: bool = False) -> "Store":
        """Opens a prepared dataset and checks it.

        Sizes and the small files' sha256 are always checked, and so are the row
        pointers; column indices are checked when they are read.

        Args:
            path: the folder; one of a bucket (gs://…) is copied first (`data.remote`).
            verify: also checks the sha256 of the large arrays.

        Raises:
            InputError: a file is missing, truncated, swapped or damaged; names it.
        """
        path = remote.local_copy(path) if remote.is_remote(path) else Path(path)
        content = manifest.read(path)
        manifest.check_files(path, content["files"], verify)
        vocabulary = GeneVocabulary.load(path)
        obs_text = (path / writing.OBS).read_text(encoding="utf-8")
        present, matrices = {}, {}
        for modality in map(Modality, content["modalities"]):
            matrices[modality] = _open_matrix(
                path, content, modality, vocabulary.num_genes
            )
            present_path = writing.present_path(path, modality)
            present[modality] = read_array(present_path, kind="b")
        peaks = peak_matrix = None
        if peak_vocabulary.FILE_NAME in content["files"]:
            peaks = PeakVocabulary.load(path)
            peak_matrix = _open_matrix(path, content, writing.PEAKS, peaks.num_peaks)
        return cls(
            path=path,
            manifest=content,
            vocabulary=vocabulary,
            obs=frames.from_json(json.loads(obs_text)),
            peaks=peaks,
            _present=present,
            _matrices=matrices,
            _peak_matrix=peak_matrix,
            _measured=_read_measured(path, content),
        )

    def __repr__(self) -> str:
        held = ", ".join(self.modalities)
        size = f"{self.num_cells} cells, {self.num_genes} genes"
        return f"Store({self.path}: {size}, {held})"

    @property
    def num_cells(self) -> int:
        """Number of cells, those that were left out of the split included."""
        return len(self.obs)

    @property
    def num_genes(self) -> int:
        """Number of features of each modality."""
        return self.vocabulary.num_genes

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that at least one cell may have."""
        return tuple(self._matrices)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes; none where there are no labels."""
        return self._classes[0]

    @property
    def labels(self) -> Int32[np.ndarray, " cells"]:
        """Position of each cell's class in `label_names`.

        −1 where it is unknown or where the split left the cell out: classes that are
        too small to be learnt are no classes.
        """
        return self._classes[1]

    @functools.cached_property
    def _classes(self) -> tuple[tuple[str, ...], np.ndarray]:
        if "label" not in self.obs:
            return (), np.full(self.num_cells, -1, np.int32)
        labels = self.obs["label"].astype("category")
        if "split" in self.obs:
            labels = labels.mask(self.obs["split"] == "left_out")
        labels = labels.cat.remove_unused_categories().cat
        return tuple(map(str, labels.categories)), labels.codes.to_numpy(np.int32)

    def split(self, name: str) -> Int64[np.ndarray, " chosen"]:
        """Returns the cells of one split, in the order of the dataset.

        Raises:
            InputError: the dataset has no split, or none of that name.
        """
        if "split" not in self.obs or name not in SPLITS:
            problem = f"has no split {name!r}"
            raise InputError(self.path, problem, f"Use one of {', '.join(SPLITS)}")
        return np.flatnonzero(self.obs["split"] == name)

    def present(self, modality: str) -> Bool[np.ndarray, " cells"]:
        """Returns which cells have a modality."""
        nobody = np.zeros(self.num_cells, bool)
        return self._present.get(Modality(modality), nobody)

    @functools.cached_property
    def dataset_names(self) -> tuple[str, ...]:
        """The datasets that the cells come from; none where there is only one."""
        # A column of that name may be the file's own.
        names = tuple(self.manifest["report"].get("datasets", ()))
        return names if len(names) > 1 else ()

    @functools.cached_property
    def dataset_codes(self) -> Int32[np.ndarray, " cells"]:
        """Position of each cell's dataset in `dataset_names`; 0 where there is one."""
        if not self.dataset_names:
            return np.zeros(self.num_cells, np.int32)
        return self.obs["dataset"].cat.codes.to_numpy(np.int32)

    def measured(self, modality: str) -> Bool[np.ndarray, "datasets genes"] | None:
        """Returns which genes each dataset measured; None where all did all."""
        if modality != Modality.RNA or self._measured is None:
            return None
        return self._measured

    def rows(
        self,
        modality: str,
        cells: Integer[np.ndarray, " rows"],
        values: Values = "bins",
    ) -> sparse.csr_matrix:
        """Returns bins or counts [rows, genes] of cells, in the order asked for.

        Raises:
            InputError: the dataset lacks the modality, or a file is damaged.
        """
        return self.matrix(modality).rows(cells, values)

    def nonzeros_per_cell(self, modality: str) -> Int64[np.ndarray, " cells"]:
        """Returns how many genes of a modality are non-zero in each cell."""
        return self.matrix(modality).lengths

    def rebin(
        self,
        bin_function: BinFunction,
        *,
        vocabulary: GeneVocabulary | None = None,
        path: str | os.PathLike | None = None,
    ) -> "Store":
        """Rebuilds the bins from the stored counts, without the source.

        Everything else is linked, not copied, where the file system can.

        Args:
            bin_function: makes bins from counts, called once per shard and modality.
            vocabulary: the same genes with other medians or another recipe.
            path: a new folder for the result; this one is replaced if not given.

        Returns:
            The rebuilt dataset, opened.
        """
        vocabulary = vocabulary or self.vocabulary
        if not np.array_equal(vocabulary.gene_ids, self.vocabulary.gene_ids):
            raise InputError(
                "vocabulary", "has other genes", "Keep the genes and order"
            )
        target = self.path if path is None else Path(path)
        manifest.check_target(target, overwrite=path is None)
        with atomic.folder(target) as folder:
            for modality, matrix in self._matrices.items():
                for number, cells in enumerate(matrix.cells_of_shards):
                    counts = matrix.rows(cells, "counts")
                    name = writing.shard_path(folder, number, modality)
                    write_bins(name, counts, bin_function(modality, counts))
            vocabulary.save(folder)
            writing.link_missing(self.path, folder, self.manifest["files"])
            writing.write_manifest(folder, vocabulary, self.manifest)
        return type(self).open(target)

    def matrix(self, modality: str) -> ShardedMatrix:
        """Returns all cells of a modality.

        Raises:
            InputError: the dataset lacks it.
        """
        if modality not in self._matrices:
            held = ", ".join(self._matrices)
            raise InputError(self.path, f"holds no {modality}", f"It holds {held}")
        return self._matrices[Modality(modality)]

    def peak_matrix(self) -> ShardedMatrix:
        """Returns the peaks of all cells; a cell without ATAC has none.

        Raises:
            InputError: the dataset keeps none.
        """
        if self._peak_matrix is None:
            remedy = "Prepare it with --peak-tokens"
            raise InputError(self.path, "keeps no peaks", remedy)
        return self._peak_matrix


def _open_matrix(
    path: Path, content: Mapping[str, Any], name: str, num_columns: int
) -> ShardedMatrix:
    shards = [
        Shard.open(writing.shard_path(path, number, name), num_cells=size)
        for number, size in enumerate(content["shards"])
    ]
    return ShardedMatrix(shards, num_columns)


def _read_measured(path: Path, content: Mapping[str, Any]) -> np.ndarray | None:
    file = path / writing.MEASURED
    if writing.MEASURED not in content["files"]:
        return None
    measured = np.load(file, allow_pickle=False)
    if measured.dtype != bool or measured.shape[1:] != (content["num_genes"],):
        raise InputError(file, f"holds {measured.dtype} {measured.shape}", REMEDY)
    return measured


def write_store(
    path: str | os.PathLike,
    *,
    cells: CellTable,
    vocabulary: GeneVocabulary,
    bin_function: BinFunction,
    provenance: Mapping[str, Any],
    report: Mapping[str, Any] | None = None,
    cells_per_shard: int = 65_536,
    overwrite: bool = False,
) -> Store:
    """Writes a prepared dataset, whole or not at all, and opens it.

    Args:
        path: the folder to make.
        cells: counts and cells.
        vocabulary: the genes of the columns.
        bin_function: makes bins from counts, called once per shard and modality.
        provenance: where the data come from; anything that JSON holds.
        report: what preparing did to them; anything that JSON holds.
        cells_per_shard: cells per shard; the last one has the rest.
        overwrite: replaces a prepared dataset that stands there.

    Raises:
        InputError: the folder holds something, or the cells break a rule.
    """
    path = Path(path)
    manifest.check_target(path, overwrite)
    for modality, matrix in cells.matrices.items():
        if matrix.shape[1] != vocabulary.num_genes:
            problem = f"{matrix.shape[1]} columns for {vocabulary.num_genes} genes"
            raise InputError(modality, problem, "Align them to the vocabulary")
    with atomic.folder(path) as folder:
        writing.write_matrices(folder, cells, bin_function, cells_per_shard)
        writing.write_cells(
            folder, cells.obs, {m: cells.present[m] for m in cells.matrices}
        )
        vocabulary.save(folder)
        writing.write_manifest(
            folder,
            vocabulary,
            {
                "num_cells": len(cells.obs),
                "modalities": list(cells.matrices),
                "splits": writing.split_sizes(cells.obs),
                "shards": writing.shard_sizes(len(cells.obs), cells_per_shard),
                "provenance": dict(provenance),
                "report": dict(report or {}),
            },
        )
    return Store.open(path)

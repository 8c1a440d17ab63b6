"""Files and objects as datasets: annotations in memory, counts where they are."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.abc import CSCDataset, CSRDataset
from anndata.io import read_elem
from jaxtyping import Int
from mudata import MuData

from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell import counts, hdf5, readers, sources, tables, tenx
from scmultimodal.singlecell.entries import Entries
from scmultimodal.singlecell.fragment_files import Counted, open_fragments
from scmultimodal.singlecell.observations import merge_obs
from scmultimodal.singlecell.spill import Unsorted, spill


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """Counts of one modality.

    Attributes:
        rows: the matrix; its values have not been checked.
        var: the features, indexed by name.
        source: file and modality, to name in an error.
    """

    rows: sources.CountRows
    var: pd.DataFrame
    source: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """Cells of one origin.

    Attributes:
        name: of the dataset.
        obs: one row per cell, indexed by name.
        counts: of each modality that it has.
        row: where each cell is in the counts of a modality; −1 where it is not.
        counted: what the ATAC counts count, where that is known.
        facts: what is known of the counts; JSON-able.
    """

    name: str
    obs: pd.DataFrame
    counts: Mapping[Modality, Counts]
    row: Mapping[Modality, Int[np.ndarray, " cells"]]
    counted: Counted | None = None
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def from_data(
    data: MuData | AnnData, name: str, *, layer: str | None = None
) -> Dataset:
    """A dataset of an object, in memory or backed by a file, which stays as it is.

    Args:
        data: MuData, or an AnnData of one modality, or of both by "feature_types".
        name: of the dataset.
        layer: that holds the counts, where a modality has it; None takes X.

    Raises:
        InputError: there is neither RNA nor ATAC, names are not unique, values in
            memory are no counts, or rows of the file cannot be read by themselves.
    """
    if not isinstance(data, MuData | AnnData):
        remedy = "Give a MuData or an AnnData; a file by anndata.read_h5ad(path)"
        raise InputError(name, f"is a {type(data).__name__}", remedy)
    held = data.mod if isinstance(data, MuData) else {name: data}
    known = {key: list(adata.layers) for key, adata in held.items()}
    readers.check_layer(layer, known, name)
    if isinstance(data, AnnData) and data.isbacked:
        # Modalities are told apart without their counts, which stay in the file.
        rows = _rows_of(data, layer, name)
        parts = readers.split_modalities(_carrying(data.obs, data.var, rows), name)
        matrices = {modality: _taken(adata) for modality, adata in parts.items()}
    else:
        parts = readers.split_modalities(data, name)
        matrices = {
            modality: _rows_of(adata, layer, modality.value)
            for modality, adata in parts.items()
        }
    for modality, adata in parts.items():
        counts.check_names(adata, modality.value)
    return _dataset(data, parts, matrices, name, {m: m.value for m in parts})


def open_dataset(
    path: Path,
    scratch: Path,
    *,
    name: str,
    layer: str | None = None,
    modality: Modality | None = None,
) -> Dataset:
    """A dataset of a file; the formats are those of `readers.read`.

    What cannot be read by row (CSC, text) is sorted into files first.

    Args:
        path: the file, or a folder of Cell Ranger.
        scratch: a new folder for such files, for as long as the dataset is used.
        name: of the dataset.
        layer: that holds the counts; None takes X.
        modality: of an .h5ad that leaves it open; of other files, what is taken.

    Raises:
        InputError: as `readers.read`; values are checked when rows are read.
    """
    readers.check_format(path)
    if path.is_dir():
        data = _of_text(tenx.open_mtx(readers.find_matrix(path)), scratch)
    elif tables.is_table(path):
        data = _of_text(tables.open_table(path), scratch)
    else:
        hdf5.check_file(path)
        data = _of_hdf5(path, scratch, layer)
    if modality is not None:
        data = readers.choose_modality(data, modality.value, path)
    parts = readers.split_modalities(data, path)
    matrices = {key: _taken(adata) for key, adata in parts.items()}
    names = {key: f"{path} [{key.value}]" for key in parts}
    for key, adata in parts.items():
        counts.check_names(adata, names[key])
    return _dataset(data, parts, matrices, name, names)


def open_fragments_file(
    path: Path, scratch: Path, *, name: str, **options: Any
) -> Dataset:
    """A dataset of a fragments file.

    Args:
        path: the file.
        scratch: as for `open_dataset`.
        name: of the dataset.
        options: of `fragment_files.open_fragments`.

    Raises:
        InputError: as that function.
    """
    plan = open_fragments(path, **options)
    shape = (len(plan.barcodes), len(plan.peaks))
    rows = spill(plan.entries(), shape, scratch)
    atac = Counts(rows=rows, var=plan.peaks, source=str(path))
    return Dataset(
        name=name,
        obs=pd.DataFrame(index=plan.barcodes),
        counts={Modality.ATAC: atac},
        row={Modality.ATAC: np.arange(shape[0])},
        counted=plan.counts,
        facts={"fragments_file": plan.facts},
    )


def _dataset(
    data: MuData | AnnData,
    parts: Mapping[Modality, AnnData],
    matrices: Mapping[Modality, sources.CountRows],
    name: str,
    source: Mapping[Modality, str],
) -> Dataset:
    return Dataset(
        name=name,
        obs=merge_obs(data, dict(parts)),
        counts={
            key: Counts(rows=matrices[key], var=adata.var, source=source[key])
            for key, adata in parts.items()
        },
        row={
            key: adata.obs_names.get_indexer(data.obs_names)
            for key, adata in parts.items()
        },
    )


# While modalities are told apart, an AnnData without X carries its counts with it.
_COUNTS, _COLUMN = "counts", "column of the file"


def _carrying(obs: pd.DataFrame, var: pd.DataFrame, rows: sources.CountRows) -> AnnData:
    var = var.assign(**{_COLUMN: np.arange(len(var))})
    return AnnData(obs=obs, var=var, uns={_COUNTS: rows})


def _taken(adata: AnnData) -> sources.CountRows:
    rows, columns = adata.uns.pop(_COUNTS), adata.var.pop(_COLUMN).to_numpy()
    return rows if len(columns) == rows.shape[1] else sources.Columns(rows, columns)


def _rows_of(adata: AnnData, layer: str | None, source: str) -> sources.CountRows:
    """The counts of an AnnData by row; those in memory are checked."""
    if adata.isbacked and adata.is_view:
        raise InputError(
            source,
            "is a view of a backed file, which anndata reads as a whole",
            "Give the object that it is a view of, or the view's .to_memory()",
        )
    layered = layer is not None and layer in adata.layers
    matrix = adata.layers[layer] if layered else adata.X
    if isinstance(matrix, CSCDataset):
        raise InputError(
            source,
            "is backed by a file that holds X by column (CSC)",
            "Give .to_memory(), or the file to a command, which sorts it by row",
        )
    if isinstance(matrix, CSRDataset):
        path, shape = Path(matrix.group.file.filename), tuple(matrix.shape)
        return sources.SparseRows(path, matrix.group.name, shape)
    if isinstance(matrix, h5py.Dataset):
        return sources.DenseRows(Path(matrix.file.filename), matrix.name)
    if layered:
        adata = AnnData(X=matrix, obs=adata.obs[[]], var=adata.var[[]])
    counts.check_counts(adata, source)
    return sources.MatrixRows(matrix)


def _of_text(opened: Unsorted, scratch: Path) -> AnnData:
    shape = (len(opened.obs), len(opened.var))
    return _carrying(opened.obs, opened.var, spill(opened.parts, shape, scratch))


def _of_hdf5(path: Path, scratch: Path, layer: str | None) -> AnnData | MuData:
    if path.suffix == ".h5":
        return _carrying(*tenx.open_h5(path))
    with sources.reading(path, "/") as file:
        if path.suffix == ".h5ad":
            return _annotated(path, file, "", scratch, layer)
        keys = list(file["mod"].attrs.get("mod-order", file["mod"]))
        known = {key: list(file.get(f"mod/{key}/layers", ())) for key in keys}
        readers.check_layer(layer, known, path)
        modalities = {
            key: _annotated(
                path,
                file,
                f"mod/{key}/",
                _beside(scratch, key),
                layer if layer in known[key] else None,
            )
            for key in keys
        }
        obs = _table(file, "obs")
    data = readers.join_modalities(modalities)
    prefixes = tuple(f"{key}:" for key in modalities)
    for column in obs:
        if not str(column).startswith(prefixes):
            data.obs[column] = obs[column].reindex(data.obs_names)
    return data


def _beside(scratch: Path, key: str) -> Path:
    return scratch.with_name(f"{scratch.name}.{key}")


def _annotated(
    path: Path, file: h5py.Group, prefix: str, scratch: Path, layer: str | None
) -> AnnData:
    """The names and annotations of an AnnData, carrying its counts."""
    obs, var = _table(file, f"{prefix}obs"), _table(file, f"{prefix}var")
    name = f"{prefix}X"
    if layer is not None:
        known = {"file": list(file.get(f"{prefix}layers", ()))}
        readers.check_layer(layer, known, path)
        name = f"{prefix}layers/{layer}"
    if name not in file:
        raise InputError(path, "has no matrix X", "Put the counts into X, or a layer")
    shape = (len(obs), len(var))
    rows = _matrix(path, file[name], shape, var.index, obs.index, scratch)
    if rows.shape != shape:
        problem = f"{name} is {rows.shape} for {shape[0]} cells and {shape[1]} features"
        raise InputError(path, problem, "Copy or write the file again")
    return _carrying(obs, var, rows)


def _matrix(
    path: Path,
    node: h5py.Group | h5py.Dataset,
    shape: tuple[int, int],
    features: pd.Index,
    cells: pd.Index,
    scratch: Path,
) -> sources.CountRows:
    if isinstance(node, h5py.Dataset):
        return sources.DenseRows(path, node.name)
    kind = node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "csr"))
    if not str(kind).startswith("csc"):
        return sources.SparseRows(path, node.name, shape)
    columns = sources.SparseRows(path, node.name, shape[::-1])

    def entries() -> Iterator[Entries]:
        for first, some in sources.column_blocks(columns):
            names = features[first : first + some.shape[1]]
            clean = counts.clean_rows(some, cells, names, path).tocoo()
            yield Entries(clean.row, clean.col + first, clean.data)

    return spill(entries(), shape, scratch)


def _table(file: h5py.Group, name: str) -> pd.DataFrame:
    """A table of annotations, of this anndata or of one before 0.7."""
    table = read_elem(file[name])
    if isinstance(table, pd.DataFrame):
        return table
    frame = pd.DataFrame.from_records(table)
    frame = frame.set_index(frame.columns[0]).rename_axis(None)
    return frame.set_axis(frame.index.map(_text))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value

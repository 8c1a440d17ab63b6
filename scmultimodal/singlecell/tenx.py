"""Matrices as Cell Ranger writes them: `.h5` files and folders of `.mtx`.

Both keep features × cells by column, which is cells × features by row. All versions
that are about are read: 3 and later, ATAC and ARC (one group `matrix`, feature types),
and 2 (a group per genome, genes alone).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData

from scmultimodal.genome import text_files
from scmultimodal.schemas.errors import InputError, first_line
from scmultimodal.singlecell import matrix_market, sources
from scmultimodal.singlecell.entries import Entries
from scmultimodal.singlecell.spill import Unsorted

GENES, PEAKS = "Gene Expression", "Peaks"
_FEATURES = ("features.tsv", "genes.tsv", "peaks.bed")
_REMEDY = "Copy the file again"


class MatrixFiles(NamedTuple):
    """The three files of a matrix."""

    matrix: Path
    barcodes: Path
    features: Path


def read_h5(path: Path) -> AnnData:
    """Reads a `.h5` of Cell Ranger: filtered or raw matrices, genes, peaks or both.

    Args:
        path: the file; that it is whole HDF5 has been checked (`hdf5.check_file`).

    Returns:
        Cells × features, CSR. `var` is indexed by feature ID and has symbol,
        feature_types and, where the file knows it, genome.

    Raises:
        InputError: where the file has another layout, or its arrays do not fit.
    """
    obs, var, rows = open_h5(path)
    return AnnData(rows.rows(0, len(obs)), obs=obs, var=var)


def open_h5(path: Path) -> tuple[pd.DataFrame, pd.DataFrame, sources.CountRows]:
    """The cells and features of `read_h5`, and its counts by row."""
    with h5py.File(path, "r") as file:
        groups = [name for name in file if _is_matrix(file[name])]
        if not groups:
            raise InputError(
                path,
                f"is no matrix of Cell Ranger: it holds {sorted(file)[:5]}",
                "Give filtered_feature_bc_matrix.h5, or an .h5ad or .h5mu file",
            )
        tables = [_read_names(file[name], name, path) for name in groups]
    barcodes = tables[0][0]
    for name, (others, _) in zip(groups, tables, strict=True):
        if not np.array_equal(others, barcodes):
            raise InputError(
                path, f"group {name!r} has other cells than {groups[0]!r}",
                "Write one file for each genome",
            )  # fmt: skip
    rows = [
        sources.SparseRows(path, name, (len(barcodes), len(var)))
        for name, (_, var) in zip(groups, tables, strict=True)
    ]
    var = pd.concat([var for _, var in tables])
    return _obs(barcodes), var, rows[0] if len(rows) == 1 else sources.SideBySide(rows)


def find_mtx(folder: Path) -> MatrixFiles | None:
    """The files of a matrix in a folder, whatever stands before their names.

    Returns:
        None where the folder has no `matrix.mtx` or `matrix.mtx.gz`.

    Raises:
        InputError: where there are several matrices, or one without its names.
    """
    there = sorted(folder.iterdir())
    matrices = [p for p in there if p.name.removesuffix(".gz").endswith("matrix.mtx")]
    if not matrices:
        return None
    if len(matrices) > 1:
        names = sorted(path.name for path in matrices)
        raise InputError(
            folder, f"holds {len(names)} matrices: {names[:3]}",
            "Give each a folder of its own",
        )  # fmt: skip
    prefix = matrices[0].name.removesuffix(".gz").removesuffix("matrix.mtx")
    barcodes = _named(folder, f"{prefix}barcodes.tsv")
    features = [f for name in _FEATURES for f in _named(folder, prefix + name)]
    for what, found in (("barcodes.tsv", barcodes), ("features.tsv", features)):
        if not found:
            raise InputError(
                folder, f"has {matrices[0].name} and no {prefix}{what}",
                "Copy all three files: matrix.mtx, barcodes.tsv, and features.tsv, "
                "genes.tsv or peaks.bed, gzipped or not",
            )  # fmt: skip
    return MatrixFiles(matrices[0], barcodes[0], features[0])


def read_mtx(files: MatrixFiles) -> AnnData:
    """Reads a matrix of three files; returns what `read_h5` does.

    Raises:
        InputError: where a file is broken, or the three do not fit.
    """
    opened = open_mtx(files)
    return AnnData(opened.matrix(), obs=opened.obs, var=opened.var)


def open_mtx(files: MatrixFiles) -> Unsorted:
    """The cells and features of `read_mtx`, and its counts as they stand there."""
    barcodes = pd.Index(_table(files.barcodes)[0], dtype=object)
    table = _table(files.features)
    if files.features.name.removesuffix(".gz").endswith("peaks.bed"):
        if table.shape[1] < 3:
            problem = f"has {table.shape[1]} columns"
            raise InputError(files.features, problem, "A BED has chrom, start, end")
        ids = table[0] + ":" + table[1] + "-" + table[2]
        var = _var(ids, ids, np.full(len(ids), PEAKS))
    else:
        symbols = table[1] if table.shape[1] > 1 else table[0]
        types = table[2] if table.shape[1] > 2 else np.full(len(table), GENES)
        var = _var(table[0], symbols, types)
    size = matrix_market.read_size(files.matrix)
    if size[:2] != (len(var), len(barcodes)):
        raise InputError(
            files.matrix,
            f"is {size[0]} × {size[1]}, and there are {len(var)} "
            f"features and {len(barcodes)} barcodes",
            "Take the three files from one output",
        )
    turned = (
        Entries(part.columns, part.rows, part.counts)
        for part in matrix_market.read_entries(files.matrix, var.index, barcodes)
    )
    return Unsorted(_obs(barcodes), var, turned)


def _is_matrix(node: object) -> bool:
    arrays = {"barcodes", "data", "indices", "indptr", "shape"}
    return isinstance(node, h5py.Group) and arrays <= set(node)


def _read_names(
    group: h5py.Group, name: str, path: Path
) -> tuple[np.ndarray, pd.DataFrame]:
    """Barcodes and features of a matrix, as many as it declares."""
    try:
        if "features" in group:
            features = group["features"]
            var = _var(
                _strings(features["id"]),
                _strings(features["name"]),
                _strings(features["feature_type"]),
            )
            if "genome" in features:
                var["genome"] = _strings(features["genome"])
        else:
            ids = _strings(group["genes"])
            var = _var(ids, _strings(group["gene_names"]), np.full(len(ids), GENES))
            var["genome"] = name
        barcodes = _strings(group["barcodes"])
        shape = tuple(np.asarray(group["shape"]).tolist())
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise InputError(
            path, f"group {name!r} cannot be read ({first_line(error)})", _REMEDY
        ) from error
    if shape != (len(var), len(barcodes)):
        raise InputError(
            path,
            f"group {name!r} declares {shape}, and has {len(var)} features and "
            f"{len(barcodes)} barcodes",
            _REMEDY,
        )
    return barcodes, var


def _table(path: Path) -> pd.DataFrame:
    """Columns of text without a header."""
    try:
        with (
            text_files.reading(path, remedy=_REMEDY),
            text_files.open_text(path) as text,
        ):
            return pd.read_csv(
                text, sep="\t", header=None, dtype=str, keep_default_na=False,
                comment="#" if ".bed" in path.name else None, quoting=3,
            )  # fmt: skip
    except ValueError as error:  # as pandas' own are
        raise InputError(
            path, f"cannot be read ({first_line(error)})", _REMEDY
        ) from error


def _named(folder: Path, name: str) -> list[Path]:
    return [p for end in ("", ".gz") if (p := folder / f"{name}{end}").is_file()]


def _strings(dataset: h5py.Dataset) -> np.ndarray:
    return dataset.asstr()[:]


def _var(ids, symbols, feature_types) -> pd.DataFrame:
    columns = {"symbol": symbols, "feature_types": feature_types}
    table = pd.DataFrame({k: np.asarray(v, object) for k, v in columns.items()})
    return table.set_axis(pd.Index(np.asarray(ids, object)))


def _obs(barcodes: Iterable[str]) -> pd.DataFrame:
    return pd.DataFrame(index=pd.Index(np.asarray(barcodes, object)))

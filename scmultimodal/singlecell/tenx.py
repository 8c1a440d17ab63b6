"""Matrices as Cell Ranger writes them: `.h5` files and folders of `.mtx`.

Both keep features × cells by column, which is cells × features by row. All versions
that are about are read: 3 and later, ATAC and ARC (one group `matrix`, feature types),
and 2 (a group per genome, genes alone).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp
from anndata import AnnData

from scmultimodal.genome import text_files
from scmultimodal.schemas.errors import InputError

GENES, PEAKS = "Gene Expression", "Peaks"
_FEATURES = ("features.tsv", "genes.tsv", "peaks.bed")
# The shortest line of a matrix market file: "1 1\n" of a pattern.
_LINE_BYTES = 4
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
    with h5py.File(path, "r") as file:
        groups = [name for name in file if _is_matrix(file[name])]
        if not groups:
            raise InputError(
                path,
                f"is no matrix of Cell Ranger: it holds {sorted(file)[:5]}",
                "Give filtered_feature_bc_matrix.h5, or an .h5ad or .h5mu file",
            )
        parts = [_read_group(file[name], name, path) for name in groups]
    first = parts[0]
    for name, part in zip(groups, parts, strict=True):
        if not part.obs_names.equals(first.obs_names):
            raise InputError(
                path, f"group {name!r} has other cells than {groups[0]!r}",
                "Write one file for each genome",
            )  # fmt: skip
    if len(parts) == 1:
        return first
    matrix = sp.hstack([part.X for part in parts], format="csr")
    return AnnData(matrix, obs=first.obs, var=pd.concat([p.var for p in parts]))


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
    barcodes = _table(files.barcodes)[0]
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
    matrix = _read_matrix(files.matrix)
    if matrix.shape != (len(var), len(barcodes)):
        raise InputError(
            files.matrix,
            f"is {matrix.shape[0]} × {matrix.shape[1]}, and there are {len(var)} "
            f"features and {len(barcodes)} barcodes",
            "Take the three files from one output",
        )
    return _anndata(sp.csr_matrix(matrix.T), barcodes, var)


def _is_matrix(node: object) -> bool:
    arrays = {"barcodes", "data", "indices", "indptr", "shape"}
    return isinstance(node, h5py.Group) and arrays <= set(node)


def _read_group(group: h5py.Group, name: str, path: Path) -> AnnData:
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
        arrays = [np.asarray(group[key]) for key in ("data", "indices", "indptr")]
    except (KeyError, ValueError, TypeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            path, f"group {name!r} cannot be read ({reason})", "Copy the file again"
        ) from error
    if shape != (len(var), len(barcodes)):
        raise InputError(
            path,
            f"group {name!r} declares {shape}, and has {len(var)} features and "
            f"{len(barcodes)} barcodes",
            "Copy the file again",
        )
    try:
        matrix = sp.csr_matrix(tuple(arrays), shape=shape[::-1])
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise InputError(
            path, f"the matrix of {name!r} is broken ({error})", "Copy the file again"
        ) from error
    return _anndata(matrix, barcodes, var)


def _read_matrix(path: Path) -> sp.coo_matrix:
    """A matrix market file whose header promises no more than it can hold."""
    try:
        with text_files.reading(path, remedy=_REMEDY):
            with text_files.open_text(path) as text:
                size = next(_sizes(text))
            zipped = path.suffix == ".gz"
            holds = path.stat().st_size * (text_files.GZIP_RATIO if zipped else 1)
            if size[2] * _LINE_BYTES > holds:
                raise ValueError(f"it declares {size[2]} values, more than it can hold")
            return sp.coo_matrix(scipy.io.mmread(path))
    except (ValueError, StopIteration, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it ends too soon"
        raise InputError(path, f"cannot be read ({reason})", _REMEDY) from error


def _sizes(lines: Iterator[str]) -> Iterator[list[int]]:
    """Rows, columns and values, of the first line that is no comment."""
    for line in lines:
        if not line.startswith("%") and line.strip():
            numbers = [int(number) for number in line.split()]
            if len(numbers) != 3 or min(numbers) < 0:
                raise ValueError(f"its size line is {line.strip()!r}")
            yield numbers


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
        reason = str(error).splitlines()[0]
        raise InputError(path, f"cannot be read ({reason})", _REMEDY) from error


def _named(folder: Path, name: str) -> list[Path]:
    return [p for end in ("", ".gz") if (p := folder / f"{name}{end}").is_file()]


def _strings(dataset: h5py.Dataset) -> np.ndarray:
    return dataset.asstr()[:]


def _var(ids, symbols, feature_types) -> pd.DataFrame:
    columns = {"symbol": symbols, "feature_types": feature_types}
    table = pd.DataFrame({k: np.asarray(v, object) for k, v in columns.items()})
    return table.set_axis(pd.Index(np.asarray(ids, object)))


def _anndata(matrix: sp.csr_matrix, barcodes, var: pd.DataFrame) -> AnnData:
    obs = pd.DataFrame(index=pd.Index(np.asarray(barcodes, object)))
    return AnnData(matrix, obs=obs, var=var)

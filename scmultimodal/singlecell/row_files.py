"""AnnData files whose matrix is written some rows at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import write_elem

from scmultimodal.schemas.errors import InputError

Format = Literal["h5ad", "zarr"]

_ROWS_OF_CHUNK = 1_024
_NUMBERS_OF_CHUNK = 2**18


@contextlib.contextmanager
def writing(
    path: Path,
    skeleton: AnnData,
    name: str,
    width: int,
    *,
    format: Format,
) -> Iterator[Any]:
    """Writes an AnnData without one of its matrices, which is filled within.

    Args:
        path: file of HDF5, or folder of zarr, to make.
        skeleton: all that is not filled.
        name: of the matrix: "X", or "obsm/…".
        width: its columns; a row for each cell.
        format: of the file.

    Yields:
        The matrix, float32 [cells, width]: `matrix[rows] = values` writes.
    """
    shape = (skeleton.n_obs, width)
    rows = max(1, min(_ROWS_OF_CHUNK, _NUMBERS_OF_CHUNK // width, shape[0]))
    with contextlib.ExitStack() as stack:
        if format == "h5ad":
            group = stack.enter_context(h5py.File(path, "w"))
            create = group.create_dataset
        else:
            group = _zarr().open_group(str(path), mode="w")
            create = getattr(group, "create_array", group.create_dataset)
        write_elem(group, "/", skeleton)
        matrix = create(name=name, shape=shape, dtype=np.float32, chunks=(rows, width))
        matrix.attrs["encoding-type"] = "array"
        matrix.attrs["encoding-version"] = "0.2.0"
        yield matrix


def write(path: Path, data: AnnData, *, format: Format) -> None:
    """Writes all of an AnnData that is in memory."""
    (data.write_h5ad if format == "h5ad" else data.write_zarr)(path)


def is_one(path: Path) -> bool:
    """Whether what stands there is such a file or folder."""
    if path.suffix == ".h5ad":
        return path.is_file()
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup"))


def format_of(path: Path) -> Format:
    """The format that the name of a file asks for.

    Raises:
        InputError: none, or zarr and it is not installed.
    """
    if path.suffix == ".h5ad":
        return "h5ad"
    if path.suffix != ".zarr":
        raise InputError(path, "is no .h5ad and no .zarr", "Give --out such a name")
    _zarr()
    return "zarr"


def plain(obs: pd.DataFrame) -> pd.DataFrame:
    """Annotations as a file holds them: columns of mixed values as text."""
    mixed = [n for n in obs if obs[n].dtype == object]
    return obs.assign(**{n: obs[n].map(str, na_action="ignore") for n in mixed})


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise InputError(
            "--out", "is .zarr, and zarr is not installed", "pip install zarr, or .h5ad"
        ) from error
    return zarr

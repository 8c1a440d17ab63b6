"""Loaders of random cells. A step is an epoch, in dense uint8 batches.

All read the folder that `random_cells.make` has made; annbatch writes its own form of
it beside, once.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench import random_cells
from experiments.bench.contestants import Contestant
from scmultimodal.data import atomic
from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.sampling import EpochSampler
from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.data.writing import shard_path
from scmultimodal.schemas.batches import Tokens
from scmultimodal.schemas.modality import Regime

Epoch = Callable[[], Iterator[np.ndarray]]
"""Yields uint8 [batch, genes]; the cells that fill no batch are left out."""


def build(*, loader: str, folder: str, cells: int, batch: int, **how: Any):
    """Prepares a loader.

    Args:
        loader: one of `LOADERS`.
        folder: of the cells.
        cells: how many there are.
        batch: cells of a batch.
        **how: what the loader takes besides.
    """
    epoch = LOADERS[loader](Path(folder), batch, **how)
    whole = cells // batch * batch

    def step() -> float:
        found, last = 0, np.zeros((0, 0), np.uint8)
        for last in epoch():
            found += len(last)
        if (found, last.dtype) != (whole, np.uint8):
            raise AssertionError(f"{found} cells of {last.dtype}, not {whole} of uint8")
        return float((last != 0).mean())

    return Contestant(step=step, facts={"cells": whole})


def ours(folder: Path, batch: int, *, tokens: Tokens) -> Epoch:
    """The library's own sampler and batches."""
    source = StoreSource(Store.open(folder / random_cells.STORE))
    builder = BatchBuilder(source, source.num_genes, tokens=tokens)
    order = EpochSampler(source.num_cells, batch, seed=0)
    steps = itertools.count()

    def epoch() -> Iterator[np.ndarray]:
        for step in itertools.islice(steps, order.batches_per_epoch):
            bins = builder.build(order.batch(step), Regime.RNA).rna
            assert isinstance(bins, np.ndarray)
            yield bins

    return epoch


def in_numpy(folder: Path, batch: int) -> Epoch:
    """The same files, without a compiled loop."""
    store = Store.open(folder / random_cells.STORE)
    (cells,) = store.manifest["shards"]  # All in one shard.
    path = shard_path(store.path, 0, "rna")
    indptr, genes, bins = (
        np.load(path.with_name(f"rna.{name}.npy"), mmap_mode="r", allow_pickle=False)
        for name in ("indptr", "indices", "bins")
    )
    starts, lengths = indptr[:-1].astype(np.int64), np.diff(indptr).astype(np.int64)

    def rows(chosen: np.ndarray) -> np.ndarray:
        long = lengths[chosen]
        shift = np.repeat(starts[chosen] - (np.cumsum(long) - long), long)
        entries = np.arange(len(shift)) + shift
        dense = np.zeros((len(chosen), store.num_genes), np.uint8)
        dense[np.repeat(np.arange(len(chosen)), long), genes[entries]] = bins[entries]
        return dense

    return _shuffled(rows, cells, batch)


def backed_h5ad(folder: Path, batch: int) -> Epoch:
    """Rows of a backed AnnData; it wants them sorted, and is put in order after."""
    matrix = _backed(folder).X

    def rows(chosen: np.ndarray) -> np.ndarray:
        order = np.argsort(chosen)
        dense = np.empty((len(chosen), matrix.shape[1]), np.uint8)
        dense[order] = matrix[chosen[order]].toarray()
        return dense

    return _shuffled(rows, matrix.shape[0], batch)


def sc_dataset(folder: Path, batch: int, *, block: int, fetch: int) -> Epoch:
    """scDataset over a backed AnnData: blocks are fetched, mixed and cut up."""
    import scdataset  # pyright: ignore[reportMissingImports]

    cells = _backed(folder)
    matrix = cells.X
    dataset = scdataset.scDataset(
        cells,
        scdataset.BlockShuffling(block_size=block),
        batch_size=batch,
        fetch_factor=max(1, fetch // batch),
        drop_last=True,
        fetch_callback=lambda _, chosen: matrix[chosen],
        batch_transform=lambda rows: rows.toarray(),
        seed=0,
    )
    return lambda: iter(dataset)


def annbatch(folder: Path, batch: int, *, block: int, fetch: int) -> Epoch:
    """annbatch over its own shuffled zarr store, decoded by zarrs, as it asks."""
    import annbatch as package  # pyright: ignore[reportMissingImports]
    import anndata
    import zarr
    import zarrs  # noqa: F401  # pyright: ignore[reportMissingImports]

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    path = folder / "annbatch.zarr"
    if not path.exists():
        with atomic.folder(path) as unfinished:
            made = package.DatasetCollection(zarr.open_group(unfinished, mode="a"))
            made.add_adatas([folder / random_cells.H5AD])

    def matrix(group: zarr.Group) -> anndata.AnnData:
        return anndata.AnnData(X=anndata.io.sparse_dataset(group["X"]))

    loader = package.Loader(
        batch_size=batch,
        chunk_size=block,
        preload_nchunks=fetch // block,
        shuffle=True,
        drop_last=True,
        preload_to_gpu=False,
        rng=np.random.default_rng(0),
    )
    collection = package.DatasetCollection(zarr.open_group(path, mode="r"))
    loader.use_collection(collection, load_adata=matrix)
    return lambda: (rows["X"].toarray() for rows in loader)


LOADERS = {
    loader.__name__: loader
    for loader in (ours, in_numpy, backed_h5ad, sc_dataset, annbatch)
}


def _backed(folder: Path) -> Any:
    import anndata

    return anndata.read_h5ad(folder / random_cells.H5AD, backed="r")


def _shuffled(
    rows: Callable[[np.ndarray], np.ndarray], cells: int, batch: int
) -> Epoch:
    """Epochs in truly random order."""
    random = np.random.default_rng(0)

    def epoch() -> Iterator[np.ndarray]:
        order = random.permutation(cells)
        for start in range(0, cells // batch * batch, batch):
            yield rows(order[start : start + batch])

    return epoch

"""In-silico perturbation: what a model makes of cells in which a gene is changed.

As Geneformer asks it: a gene's value is changed in the bins of a cell, and the cell's
vector and the counts that are expected of all genes are told anew. Nothing else of the
cell is changed: what the others become is up to the model.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
import pandas as pd
import tqdm
from jaxtyping import Bool, Float, Float32, Int, Int64, Integer
from scipy import sparse

from scmultimodal.data.sources import ArraySource
from scmultimodal.ops import csr
from scmultimodal.schemas.batches import Array, CellBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import MODALITIES, Modality, Regime
from scmultimodal.weights import export
from scmultimodal.workflows import (
    batch_sizes,
    inference,
    perturbation_results,
    trained,
)
from scmultimodal.workflows.perturbation_results import Perturbations

Kind = Literal["delete", "overexpress", "close"]

_LEAST = 1e-30
"""Of shares, whose logarithm is taken."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerturbationConfig:
    """What is changed.

    Attributes:
        kind: "delete" takes a gene's counts away, "overexpress" gives it the highest
            bin, "close" takes the gene-level ATAC value away.
        modality: where; None takes ATAC for "close" and RNA else.
        fold: "overexpress" multiplies the counts by this instead, up to the highest
            bin; for models whose bins are counts.
        together: changes all genes in the same cells, and not one after the other.
        batch_size: cells per step; None takes as many as memory has room for.
    """

    kind: Kind | str = "delete"
    modality: Modality | None = None
    fold: float | None = None
    together: bool = False
    batch_size: int | None = None

    def __post_init__(self):
        """Raises InputError where they do not fit each other."""
        if self.kind not in get_args(Kind):
            known = ", ".join(get_args(Kind))
            raise InputError("kind", f"is {self.kind!r}", f"Give one of {known}")
        if self.kind == "close" and self.modality == Modality.RNA:
            problem = "is 'close', which changes atac, and modality is 'rna'"
            raise InputError("kind", problem, "Give 'delete', or leave modality out")
        if self.fold is not None and self.kind != "overexpress":
            problem = f"is {self.fold}, and kind is {self.kind!r}"
            raise InputError("fold", problem, "Leave it out, or give 'overexpress'")
        if self.fold is not None and not 1 < self.fold < float("inf"):
            raise InputError("fold", f"is {self.fold}", "Give a number above 1")
        batch_sizes.check(self.batch_size)

    @property
    def changed(self) -> Modality:
        """The modality that is changed."""
        if self.modality is not None:
            return self.modality
        return Modality.ATAC if self.kind == "close" else Modality.RNA

    def apply(
        self, bins: Integer[np.ndarray, "..."], highest: int
    ) -> Integer[np.ndarray, "..."]:
        """Bins after the change."""
        if self.kind != "overexpress":
            return np.zeros_like(bins)
        if self.fold is None:
            return np.full_like(bins, highest)
        return np.minimum(np.ceil(bins * self.fold), highest).astype(bins.dtype)


def run(
    model: export.StoredModel,
    source: ArraySource,
    regime: Regime,
    genes: Int64[np.ndarray, " genes"],
    config: PerturbationConfig,
    *,
    cell_names: Sequence[str] | pd.Index,
    progress: bool = False,
) -> Perturbations:
    """Changes genes in cells, each by itself or all together.

    Cells that a change leaves as they are (they lack the gene that is deleted, or have
    as much of it already) are not counted.

    Args:
        model: any cell model; where it tells no counts, vectors alone are compared.
        source: bins of the cells; they stay as they are.
        regime: what the model is shown of them.
        genes: positions in the vocabulary.
        config: what is changed.
        cell_names: of the cells of the source.
        progress: shows a bar.

    Raises:
        InputError: the model or the cells lack the modality, or bins are no counts and
            a fold is asked for.
    """
    _check(model, source, config)
    members = (
        [genes] if config.together else [genes[i : i + 1] for i in range(len(genes))]
    )
    bins = _bins(source, config.changed)
    highest = model.config.encoder.num_bins
    pairs = _pairs(bins, source.present(config.changed), members, config, highest)
    reading = _Reading(model, source, regime, config)
    with tqdm.tqdm(
        total=len(np.unique(pairs.cell)) + len(pairs.cell),
        desc="perturb",
        unit="cell",
        disable=None if progress else True,
    ) as bar:
        vectors, sums = _before(reading, pairs, len(members), bar)
        shifts = _after(reading, bins, pairs, members, vectors, sums, highest, bar)
    counts = np.bincount(pairs.group, minlength=len(members))
    with np.errstate(invalid="ignore"):
        means = sums / counts[:, None]
    parts = means.astype(np.float32).reshape(len(members), -1, source.num_genes)
    return perturbation_results.build(
        model.vocabulary,
        members,
        changed=config.changed,
        group=pairs.group,
        cell_names=np.asarray(cell_names)[pairs.cell],
        shifts=shifts,
        effects={m: parts[:, i] for i, m in enumerate(reading.told)},
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Pairs:
    """Which cells each group of genes changes: group after group."""

    group: Int64[np.ndarray, " pairs"]
    cell: Int64[np.ndarray, " pairs"]


class _Reading:
    """What is told of cells: vector, and log shares of each modality."""

    def __init__(
        self,
        model: export.StoredModel,
        source: ArraySource,
        regime: Regime,
        config: PerturbationConfig,
    ):
        decodes = model.config.decoder is not None
        self.told = tuple(
            m for m in MODALITIES if m in model.config.modalities and decodes
        )
        self.dim = model.config.encoder.path.dim
        self.source, self.config, self.num_genes = source, config, source.num_genes
        self._model, self._regime = model, regime
        self._function = _vector_and_shares(model, self.told)
        self.width = self.dim + len(self.told) * self.num_genes
        self.batch_size = config.batch_size
        if self.batch_size is None:
            builder = trained.builder_for(source, model.config)
            longest = int(builder.lengths(regime).max(initial=0))
            self.batch_size = batch_sizes.choose(
                model.config, longest, source.num_cells
            )

    def blocks(self, count: int) -> list[slice]:
        return inference.blocks(count, self.width, self.batch_size)

    def __call__(self, source: ArraySource, cells: np.ndarray) -> np.ndarray:
        return inference.over_cells(
            self._function,
            trained.builder_for(source, self._model.config),
            cells,
            self._regime,
            batch_size=self.batch_size,
        )

    def with_bins(self, cells: np.ndarray, bins: sparse.csr_matrix) -> ArraySource:
        """Cells, their bins of the changed modality replaced."""
        changed = self.config.changed
        matrices = {
            m: bins if m == changed else _bins(self.source, m, cells)
            for m in self.source.modalities
        }
        present = {f"{m}_present": self.source.present(m)[cells] for m in matrices}
        return ArraySource(
            matrices.get(Modality.RNA), matrices.get(Modality.ATAC), **present
        )


def _vector_and_shares(
    model: export.StoredModel, told: Sequence[Modality]
) -> Callable[[CellBatch], Float[Array, "cells values"]]:
    embed = trained.embed_function(model)
    shares = [trained.shares_function(model, modality) for modality in told]

    def read(batch: CellBatch) -> Float[Array, "cells values"]:
        logs = [jnp.log(jnp.maximum(share(batch), _LEAST)) for share in shares]
        return jnp.concatenate([embed(batch), *logs], axis=1)

    return read


def _check(
    model: export.StoredModel, source: ArraySource, config: PerturbationConfig
) -> None:
    modality = config.changed
    if modality not in model.config.modalities:
        known = " and ".join(model.config.modalities)
        problem = f"knows {known}, and {config.kind!r} changes {modality}"
        raise InputError("model", problem, "Take a model that was trained on it")
    if modality not in source.modalities:
        problem = f"have no {modality}, which {config.kind!r} changes"
        raise InputError("data", problem, f"Give cells with {modality}")
    strategy = model.vocabulary.recipe.get("strategy")
    if config.fold is not None and strategy != "counts":
        problem = f"is {config.fold}, and the model's bins, {strategy!r}, are no counts"
        raise InputError("fold", problem, "Leave it out: the gene gets the highest bin")


def _bins(
    source: ArraySource, modality: Modality, cells: np.ndarray | None = None
) -> sparse.csr_matrix:
    """Bins [cells, genes]; all cells if none are named."""
    cells = np.arange(source.num_cells) if cells is None else cells
    found = source.entries(modality, cells)
    indptr = np.concatenate([[0], np.cumsum(found.lengths)])
    shape = (len(cells), source.num_genes)
    return csr.wrap(found.values[0], found.genes, indptr, shape)


def _pairs(
    bins: sparse.csr_matrix,
    present: Bool[np.ndarray, " cells"],
    members: Sequence[Int64[np.ndarray, " members"]],
    config: PerturbationConfig,
    highest: int,
) -> _Pairs:
    columns = bins[:, np.unique(np.concatenate(members))].tocsc()
    place = {int(g): i for i, g in enumerate(np.unique(np.concatenate(members)))}
    cells = []
    for group in members:
        old = columns[:, [place[int(gene)] for gene in group]].toarray()
        changes = (config.apply(old, highest) != old).any(1)
        cells.append(np.flatnonzero(changes & present))
    groups = np.repeat(np.arange(len(members)), [len(found) for found in cells])
    return _Pairs(group=groups, cell=np.concatenate(cells).astype(np.int64))


def _before(
    reading: _Reading, pairs: _Pairs, groups: int, bar: tqdm.tqdm
) -> tuple[Float32[np.ndarray, "cells dim"], Float[np.ndarray, "groups values"]]:
    """Vectors of the cells as they are, and minus the log shares of each group's."""
    size = (groups, reading.source.num_cells)
    ones = np.ones(len(pairs.cell))
    weights = sparse.csr_matrix((ones, (pairs.group, pairs.cell)), shape=size)
    vectors = np.zeros((reading.source.num_cells, reading.dim), np.float32)
    sums = np.zeros((groups, reading.width - reading.dim))
    used = np.unique(pairs.cell)
    for block in reading.blocks(len(used)):
        cells = used[block]
        found = reading(reading.source, cells)
        vectors[cells] = found[:, : reading.dim]
        sums -= weights[:, cells] @ found[:, reading.dim :]
        bar.update(len(cells))
    return vectors, sums


def _after(
    reading: _Reading,
    bins: sparse.csr_matrix,
    pairs: _Pairs,
    members: Sequence[Int64[np.ndarray, " members"]],
    vectors: Float32[np.ndarray, "cells dim"],
    sums: Float[np.ndarray, "groups values"],
    highest: int,
    bar: tqdm.tqdm,
) -> Float32[np.ndarray, "pairs 2"]:
    """Shifts of the vectors of all pairs; adds the log shares to the sums."""
    genes = np.stack(members)
    shifts = np.zeros((len(pairs.cell), 2), np.float32)
    for block in reading.blocks(len(pairs.cell)):
        group, cells = pairs.group[block], pairs.cell[block]
        new = _changed_rows(bins[cells], genes[group], reading.config, highest)
        source = reading.with_bins(cells, new)
        found = reading(source, np.arange(len(cells)))
        shifts[block] = _shifts(vectors[cells], found[:, : reading.dim])
        which = np.arange(len(cells))
        shape = (len(sums), len(cells))
        weights = sparse.csr_matrix((np.ones(len(cells)), (group, which)), shape=shape)
        sums += weights @ found[:, reading.dim :]
        bar.update(len(cells))
    return shifts


def _changed_rows(
    rows: sparse.csr_matrix,
    genes: Int[np.ndarray, "rows members"],
    config: PerturbationConfig,
    highest: int,
) -> sparse.csr_matrix:
    """Rows with the bins of their genes changed."""
    row = np.repeat(np.arange(len(genes)), genes.shape[1])
    old = np.asarray(rows[row, genes.ravel()]).ravel().astype(np.int16)
    change = config.apply(old, highest) - old
    delta = sparse.csr_matrix((change, (row, genes.ravel())), shape=rows.shape)
    changed = sparse.csr_matrix(rows.astype(np.int16) + delta)
    changed.eliminate_zeros()
    return changed.astype(np.uint8)


def _shifts(
    before: Float[np.ndarray, "cells dim"], after: Float[np.ndarray, "cells dim"]
) -> Float[np.ndarray, "cells 2"]:
    """1 − cosine, and Euclidean distance. A vector of zero is at 1 from any other."""
    before, after = before.astype(np.float64), after.astype(np.float64)
    distance = np.linalg.norm(after - before, axis=1)
    product = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    known = product > 0
    cosine = (before * after).sum(1) / np.where(known, product, 1)
    apart = np.where(known, 1 - cosine, distance > 0)
    return np.stack([np.maximum(apart, 0), distance], axis=1)

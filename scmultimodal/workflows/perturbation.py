"""In-silico perturbation: what a model makes of cells in which a gene is changed.

As Geneformer asks it: a gene's value is changed in the bins of a cell, or its peaks are
closed, and the cell's vector and what is expected of all genes are told anew. Nothing
else of the cell is changed: what the others become is up to the model.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
import pandas as pd
import tqdm
from jaxtyping import Float, Float32, Int64
from scipy import sparse

from scmultimodal.data.sources import ArraySource
from scmultimodal.schemas.batches import Array, CellBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import MODALITIES, Modality, Regime
from scmultimodal.weights import export
from scmultimodal.workflows import (
    batch_sizes,
    expression,
    inference,
    perturbation_results,
    trained,
)
from scmultimodal.workflows.perturbation_changes import (
    Changes,
    Pairs,
    PerturbationConfig,
    reads_peaks_alone,
)
from scmultimodal.workflows.perturbation_results import Perturbations

Told = Callable[[CellBatch], Float[Array, "cells genes"]]
_LEAST = 1e-30
"""Of what is told, whose logarithm is taken."""


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
        InputError: the model or the cells lack the modality, the model reads peaks in
            place of the values that are to be changed, or bins are no counts and a fold
            is asked for.
    """
    _check(model, source, config)
    members = (
        [genes] if config.together else [genes[i : i + 1] for i in range(len(genes))]
    )
    changes = Changes(model, source, members, config)
    pairs = changes.pairs()
    reading = _Reading(model, changes.source, regime, config)
    with tqdm.tqdm(
        total=len(np.unique(pairs.cell)) + len(pairs.cell),
        desc="perturb",
        unit="cell",
        disable=None if progress else True,
    ) as bar:
        vectors, sums = _before(reading, pairs, len(members), bar)
        shifts = _after(reading, changes, pairs, vectors, sums, bar)
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
        values=reading.values,
    )


class _Reading:
    """What is told of cells: vector, and logarithms of what each modality is told."""

    def __init__(
        self,
        model: export.StoredModel,
        source: ArraySource,
        regime: Regime,
        config: PerturbationConfig,
    ):
        shown = [m for m in regime.modalities if m in source.modalities]
        told, self.values = _told(model, shown, config)
        self.told = tuple(told)
        self.dim = model.config.encoder.path.dim
        self.source, self.num_genes = source, source.num_genes
        self._model, self._regime = model, regime
        self._function = _vector_and_logs(model, list(told.values()))
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


def _told(
    model: export.StoredModel, shown: Sequence[Modality], config: PerturbationConfig
) -> tuple[dict[Modality, Told], str]:
    """What the model tells of genes, by modality, and in which terms.

    Shares of counts, where it was trained to tell these; else RNA by open peaks, where
    it was trained to and peaks are what is changed. Of a model that tells values where
    a gene is expressed, nothing: they have no logarithm.
    """
    decoder, genes_told = model.config.decoder, model.config.genes_told
    shares = [m for m in MODALITIES if model.tells_counts(m)]
    tokens = any(not reads_peaks_alone(model, m) for m in shown)
    if shares and (tokens or not decoder.by_token):
        told = {m: trained.shares_function(model, m) for m in shares}
        return told, "expected share of counts"
    if genes_told is None or config.kind != "close":
        return {}, ""
    return {Modality.RNA: expression.function(model)}, expression.values(model)


def _vector_and_logs(model: export.StoredModel, told: Sequence[Told]) -> Told:
    embed = trained.embed_function(model)

    def read(batch: CellBatch) -> Float[Array, "cells values"]:
        logs = [jnp.log(jnp.maximum(of(batch), _LEAST)) for of in told]
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
    if reads_peaks_alone(model, modality) and config.kind != "close":
        problem = f"reads open peaks, which have no value, and kind is {config.kind!r}"
        raise InputError("model", problem, "Give kind 'close', which closes them")
    strategy = model.vocabulary.recipe.get("strategy")
    if config.fold is not None and strategy != "counts":
        problem = f"is {config.fold}, and the model's bins, {strategy!r}, are no counts"
        raise InputError("fold", problem, "Leave it out: the gene gets the highest bin")


def _before(
    reading: _Reading, pairs: Pairs, groups: int, bar: tqdm.tqdm
) -> tuple[Float32[np.ndarray, "cells dim"], Float[np.ndarray, "groups values"]]:
    """Vectors of the cells as they are, and minus the logarithms of each group's."""
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
    changes: Changes,
    pairs: Pairs,
    vectors: Float32[np.ndarray, "cells dim"],
    sums: Float[np.ndarray, "groups values"],
    bar: tqdm.tqdm,
) -> Float32[np.ndarray, "pairs 2"]:
    """Shifts of the vectors of all pairs; adds the logarithms to the sums."""
    shifts = np.zeros((len(pairs.cell), 2), np.float32)
    for block in reading.blocks(len(pairs.cell)):
        part = Pairs(group=pairs.group[block], cell=pairs.cell[block])
        which = np.arange(len(part.cell))
        found = reading(changes.after(part), which)
        shifts[block] = _shifts(vectors[part.cell], found[:, : reading.dim])
        shape = (len(sums), len(which))
        ones = np.ones(len(which))
        weights = sparse.csr_matrix((ones, (part.group, which)), shape=shape)
        sums += weights @ found[:, reading.dim :]
        bar.update(len(which))
    return shifts


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

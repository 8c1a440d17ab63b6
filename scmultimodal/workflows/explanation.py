"""What a model looks at: genes by their gradient, and genes that are alike to it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import tqdm
from jaxtyping import Float, Float32, Int, Int64

from scmultimodal.data.sources import ArraySource
from scmultimodal.modules import token_arrays, value_dials
from scmultimodal.schemas.batches import Array, CellBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.weights import export
from scmultimodal.workflows import batch_sizes, inference, trained


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GeneImportance:
    """What each gene adds to the logit of each cell type.

    Attributes:
        table: a row for each gene of each modality shown, indexed by modality and
            gene_id, with `symbol` and a column for each type: gradient × input, mean
            over the cells of the type. Above 0 speaks for the type. NaN for a type
            that no cell is of.
        cells: how many cells are of each type.
    """

    table: pd.DataFrame
    cells: pd.Series

    @property
    def types(self) -> list[str]:
        """The types that some cell is of."""
        return [str(name) for name, count in self.cells.items() if count > 0]

    def top_genes(self, k: int = 10) -> pd.DataFrame:
        """The genes that speak most for each type: markers, in the model's eyes.

        Returns:
            cell_type, modality, rank from 1, gene_id, symbol, importance; k for each
            type and modality, fewer where fewer speak for it.
        """
        columns = ["cell_type", "modality", "rank", "gene_id", "symbol", "importance"]
        rows = []
        modalities = self.table.index.get_level_values("modality").unique()
        for name in self.types:
            for modality in modalities:
                part = self.table.loc[modality]
                order = np.argsort(-part[name].to_numpy(), kind="stable")[:k]
                best = part.iloc[order]
                best = best[best[name] > 0]
                found = zip(best.index, best["symbol"], best[name], strict=True)
                rows += [
                    (name, modality, rank, *gene) for rank, gene in enumerate(found, 1)
                ]
        return pd.DataFrame(rows, columns=columns)

    def format_table(self, k: int = 5) -> str:
        """To print: cells of each type, and its strongest genes."""
        lines = pd.DataFrame({"cells": self.cells})
        for modality, part in self.top_genes(k).groupby("modality", sort=False):
            lines[modality] = part.groupby("cell_type")["symbol"].agg(", ".join)
        return lines.rename_axis("cell type").to_string(na_rep="", max_colwidth=60)


def importance(
    model: export.StoredModel,
    source: ArraySource,
    regime: Regime,
    *,
    types: Int[np.ndarray, " cells"] | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> GeneImportance:
    """Gradient × input of a classifier, by gene and cell type.

    The input is how much of a gene a cell has: the embedding of its value, and what
    the head reads of it past the trunk, measured from a value of 0 (`value_dials`). The
    gradient is that of the logit of the cell's type less the mean of all types' logits,
    for what all have in common tells no type.

    Args:
        model: a classifier.
        source: bins of the cells.
        regime: what the model is shown of them.
        types: class of each cell, −1 for cells to leave out; None takes what the model
            says.
        batch_size: cells per step; None takes as many as memory has room for.
        progress: shows a bar.

    Raises:
        InputError: the model was only pre-trained, or its tokens know the depth.
    """
    require_classes(model)
    _require_shares(model)
    batch_sizes.check(batch_size)
    classes = list(model.config.classes)
    shown = [m for m in regime.modalities if m in source.modalities]
    function = _gradient_times_input(model, shown, types)
    cells = np.arange(source.num_cells) if types is None else np.flatnonzero(types >= 0)
    genes = source.num_genes
    sums = np.zeros((len(classes), len(shown) * genes))
    counts = np.zeros(len(classes), np.int64)
    builder = trained.builder_for(source, model.config)
    if batch_size is None:
        longest = int(builder.lengths(regime).max(initial=0))
        batch_size = batch_sizes.choose(
            model.config, longest, len(cells), with_gradient=True
        )
    with tqdm.tqdm(
        total=len(cells),
        desc="explain",
        unit="cell",
        disable=None if progress else True,
    ) as bar:
        for block in inference.blocks(len(cells), sums.shape[1] + 1, batch_size):
            found = inference.over_cells(
                function, builder, cells[block], regime, batch_size=batch_size
            )
            which = found[:, 0].astype(np.int64)
            for number in np.unique(which):
                rows = found[which == number, 1:]
                sums[number] += rows.sum(0, dtype=np.float64)
                counts[number] += len(rows)
            bar.update(len(found))
    with np.errstate(invalid="ignore"):
        means = (sums / counts[:, None]).astype(np.float32)
    return GeneImportance(
        table=_table(model, shown, means, classes),
        cells=pd.Series(counts, index=classes, name="cells"),
    )


def neighbours(
    model: export.StoredModel,
    genes: Int64[np.ndarray, " genes"],
    modality: Modality,
    k: int,
) -> pd.DataFrame:
    """The genes whose token embeddings point the same way.

    Args:
        model: any cell model.
        genes: positions in the vocabulary.
        modality: whose tokens.
        k: neighbours of each.

    Returns:
        gene_id, symbol, rank from 1, neighbour_id, neighbour, cosine; the nearest
        first, the gene itself left out.

    Raises:
        InputError: the model does not know the modality, or k is below 1.
    """
    if modality not in model.config.modalities:
        known = " and ".join(model.config.modalities)
        raise InputError("modality", f"is {modality}", f"The model knows {known}")
    if k < 1:
        raise InputError("k", f"is {k}", "Give 1 or more")
    vectors = model.params[f"cell_encoder/{modality}_embedding/gene"]["embeddings"]
    unit = np.asarray(vectors, np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-30)
    cosines = unit[genes] @ unit.T
    cosines[np.arange(len(genes)), genes] = -np.inf
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : min(k, len(unit) - 1)]
    ids, symbols = model.vocabulary.gene_ids, model.vocabulary.symbols
    count = order.shape[1]
    own, other = np.repeat(genes, count), order.ravel()
    return pd.DataFrame(
        {
            "gene_id": ids[own],
            "symbol": symbols[own],
            "rank": np.tile(np.arange(1, count + 1), len(genes)),
            "neighbour_id": ids[other],
            "neighbour": symbols[other],
            "cosine": np.take_along_axis(cosines, order, 1).ravel(),
        }
    )


def require_classes(model: export.StoredModel) -> None:
    """Raises InputError where a model knows no cell types."""
    if not model.config.classes:
        raise InputError(
            "model",
            "it was only pre-trained and knows no cell types",
            "fine-tune it with `scmultimodal finetune`",
        )


def _require_shares(model: export.StoredModel) -> None:
    """Raises InputError where what a gene adds is not all in its own token."""
    if model.config.encoder.depth:
        raise InputError(
            "model",
            "its tokens know the depth of their cell, which no gene's share is told of",
            "take one trained without --depth",
        )


def _gradient_times_input(
    model: export.StoredModel,
    shown: Sequence[Modality],
    types: Int[np.ndarray, " cells"] | None,
) -> Callable[[CellBatch], Float[Array, "cells values"]]:
    """batch -> class of each cell, and what each gene of each modality adds to it."""
    logits_of = trained.logits_function(model)
    encoder = model.config.encoder

    def scores(batch: CellBatch) -> Float[Array, "cells values"]:
        def logit(dials: Mapping[str, Array]) -> tuple[Array, Array]:
            with value_dials.dialled(dials, tokens_fade=encoder.tokens != "all"):
                logits = logits_of(batch)
            which = logits.argmax(1)
            if types is not None:
                which = jnp.asarray(types)[batch.cell_index]
            centred = logits - logits.mean(1, keepdims=True)
            chosen = jnp.take_along_axis(centred, jnp.maximum(which, 0)[:, None], 1)
            return chosen.sum(), which

        ones = {m.value: jnp.ones(getattr(batch, m).shape) for m in shown}
        gradients, which = jax.grad(logit, has_aux=True)(ones)
        return jnp.concatenate(
            [
                which[:, None].astype(jnp.float32),
                *(
                    _by_gene(gradients[m.value], batch, encoder.num_genes)
                    for m in shown
                ),
            ],
            axis=1,
        )

    return scores


def _by_gene(
    values: Float[Array, "cells tokens"], batch: CellBatch, num_genes: int
) -> Float[Array, "cells genes"]:
    if batch.gene_ids is None:
        return values if batch.token_mask is None else values * batch.token_mask
    return token_arrays.scatter_to_genes(
        values, batch.gene_ids, batch.token_mask, num_genes
    )


def _table(
    model: export.StoredModel,
    shown: Sequence[Modality],
    means: Float32[np.ndarray, "classes values"],
    classes: Sequence[str],
) -> pd.DataFrame:
    vocabulary = model.vocabulary
    index = pd.MultiIndex.from_product(
        [[m.value for m in shown], vocabulary.gene_ids.astype(object)],
        names=["modality", "gene_id"],
    )
    table = pd.DataFrame(means.T, index=index, columns=list(classes))
    table.insert(0, "symbol", np.tile(vocabulary.symbols.astype(object), len(shown)))
    return table

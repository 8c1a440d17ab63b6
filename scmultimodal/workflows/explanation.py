"""What a model looks at: genes and peaks by their gradient, and genes alike to it."""

from collections.abc import Sequence

import jax
import numpy as np
import pandas as pd
import tqdm
from jaxtyping import Float32, Int, Int64

from scmultimodal.data.sampling import sequential_batches
from scmultimodal.data.sources import ArraySource
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import MODALITIES, Modality, Regime
from scmultimodal.weights import export
from scmultimodal.workflows import (
    batch_sizes,
    importance_sums,
    nearest_genes,
    trained,
)
from scmultimodal.workflows.importance_sums import Shown, Sums
from scmultimodal.workflows.importance_tables import (
    GeneImportance,
    Importance,
    PeakImportance,
)


def importance(
    model: export.StoredModel,
    source: ArraySource,
    regime: Regime,
    *,
    types: Int[np.ndarray, " cells"] | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> Importance:
    """Gradient × input of a classifier, by gene or peak, and cell type.

    The input is how much of a gene a cell has: the embedding of its value, and what
    the head reads of it past the trunk, measured from a value of 0 (`value_dials`); or
    that a peak is open, measured from a closed one (`peak_dials`). The gradient is that
    of the logit of the cell's type less the mean of all types' logits, for what all
    have in common tells no type.

    Args:
        model: a classifier.
        source: bins of the cells, and their peaks where the model reads any.
        regime: what the model is shown of them.
        types: class of each cell, −1 for cells to leave out; None takes what the model
            says.
        batch_size: cells per step; None takes as many as memory has room for.
        progress: shows a bar.

    Raises:
        InputError: the model knows no cell types, or its tokens know the depth.
    """
    require_classes(model)
    modalities = [m for m in regime.modalities if m in source.modalities]
    shown = Shown.to(model, modalities)
    _require_shares(model, shown)
    batch_sizes.check(batch_size)
    cells = np.arange(source.num_cells) if types is None else np.flatnonzero(types >= 0)
    builder = trained.builder_for(source, model.config)
    lengths = builder.lengths(regime)
    if batch_size is None:
        batch_size = batch_sizes.choose(
            model.config, int(lengths.max(initial=0)), len(cells), with_gradient=True
        )
    sums = Sums.of(model, shown)
    function = jax.jit(importance_sums.function(model, shown, types))
    with tqdm.tqdm(
        total=len(cells),
        desc="explain",
        unit="cell",
        disable=None if progress else True,
    ) as bar:
        for chosen in sequential_batches(cells, batch_size, lengths=lengths):
            sums.add(function(builder.build(chosen, regime)))
            bar.update(int((chosen >= 0).sum()))
    return _tables(model, shown, sums)


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
    if modality not in (known := embedded(model)):
        listed = f"those of {' and '.join(known)}" if known else "none: it reads peaks"
        problem = f"is {modality}, and of genes the model embeds {listed}"
        raise InputError("modality", problem, "Ask a model that embeds them")
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


def embedded(model: export.StoredModel) -> tuple[Modality, ...]:
    """The modalities whose genes a model has embeddings of: not those read by peak."""
    names = [f"cell_encoder/{m}_embedding/gene" for m in MODALITIES]
    known = zip(MODALITIES, names, strict=True)
    return tuple(m for m, name in known if name in model.params)


def require_classes(model: export.StoredModel) -> None:
    """Raises InputError where a model knows no cell types."""
    if not model.config.classes:
        raise InputError(
            "model",
            "it knows no cell types",
            "fine-tune it with `scmultimodal finetune`",
        )


def _require_shares(model: export.StoredModel, shown: Shown) -> None:
    """Raises InputError where what a gene adds is not all in its own token."""
    if model.config.encoder.depth and shown.genes:
        raise InputError(
            "model",
            "its tokens know the depth of their cell, which no gene's share is told of",
            "take one trained without --depth",
        )


def _tables(model: export.StoredModel, shown: Shown, sums: Sums) -> Importance:
    classes = list(model.config.classes)
    cells = pd.Series(sums.cells, index=classes, name="cells")
    with np.errstate(invalid="ignore"):
        genes, peaks = (
            (total / sums.cells[:, None]).astype(np.float32).T
            for total in (sums.genes, sums.peaks)
        )
    found = None
    if shown.peaks:
        opened = np.flatnonzero(sums.opened)
        table = _peak_table(model, opened, peaks[opened])
        found = PeakImportance(table=table, cells=cells)
    if not shown.genes:
        return Importance(genes=None, peaks=found)
    table = _gene_table(model, shown.genes, genes)
    return Importance(genes=GeneImportance(table=table, cells=cells), peaks=found)


def _gene_table(
    model: export.StoredModel,
    shown: Sequence[Modality],
    means: Float32[np.ndarray, "values classes"],
) -> pd.DataFrame:
    vocabulary = model.vocabulary
    index = pd.MultiIndex.from_product(
        [[m.value for m in shown], vocabulary.gene_ids.astype(object)],
        names=["modality", "gene_id"],
    )
    table = pd.DataFrame(means, index=index, columns=list(model.config.classes))
    table.insert(0, "symbol", np.tile(vocabulary.symbols.astype(object), len(shown)))
    return table


def _peak_table(
    model: export.StoredModel,
    opened: Int64[np.ndarray, " opened"],
    means: Float32[np.ndarray, "opened classes"],
) -> pd.DataFrame:
    assert model.peaks is not None, "peaks are read"
    places = model.peaks.to_frame().iloc[opened].reset_index(drop=True)
    near = nearest_genes.nearest(places, model.vocabulary.to_frame())
    values = pd.DataFrame(means, columns=list(model.config.classes))
    index = pd.MultiIndex.from_frame(places)
    return pd.concat([near, values], axis=1).set_axis(index)

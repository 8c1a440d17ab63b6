"""What a cell model says of cells, wherever they lie, block after block in their order.

Memory holds a block of cells, however many there are. Blocks and batches depend on the
data and the machine alone, so that a call repeated gives the same numbers.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import tqdm
from jaxtyping import Array, Float, Float32

from scmultimodal.data.prefetch import prefetch
from scmultimodal.schemas.batches import CellBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.weights import export
from scmultimodal.workflows import (
    batch_sizes,
    explanation,
    expression,
    inference,
    trained,
)
from scmultimodal.workflows.alignment import AlignedCells

CELL_TYPE, CONFIDENCE = "scmm_cell_type", "scmm_confidence"
VALUES = "scmm_values"
"""In `uns`: what X is."""
_COUNTS = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What is asked of each cell.

    Attributes:
        name: for the progress bar.
        function: batch -> array [cells, width].
        width: numbers of the answer.
        values: what these are, for people; "" where the name says it.
        needs: the modality that is told from; None takes whichever there is.
    """

    name: str
    function: Callable[[CellBatch], Float[Array, "cells width"]]
    width: int
    values: str = ""
    needs: Modality | None = None


def embedding(model: export.StoredModel) -> Question:
    """The cells' vectors."""
    width = model.config.encoder.path.dim
    return Question(name="embed", function=trained.embed_function(model), width=width)


def logits(model: export.StoredModel) -> Question:
    """Logits of the cell types; `name_types` makes names of them.

    Raises:
        InputError: the model knows no cell types.
    """
    explanation.require_classes(model)
    return Question(
        name="annotate",
        function=trained.logits_function(model),
        width=len(model.config.classes),
    )


def imputed(model: export.StoredModel, modality: Modality) -> Question:
    """What each gene is expected to have of a modality; `values` says in which terms.

    Counts of 10,000, where the model was trained to tell counts; else, of RNA told from
    open peaks, the probability of being expressed, or the expected bin.

    Raises:
        InputError: the model was trained to tell neither.
    """
    if expression.is_told(model, modality):
        return Question(
            name="impute",
            function=expression.function(model),
            width=model.vocabulary.num_genes,
            values=expression.values(model),
            needs=Modality.ATAC,
        )
    shares = trained.shares_function(model, modality)
    return Question(
        name="impute",
        function=lambda batch: _COUNTS * shares(batch),
        width=model.vocabulary.num_genes,
        values=f"expected counts of {_COUNTS:,}",
    )


def stream(
    model: export.StoredModel,
    cells: AlignedCells,
    question: Question,
    *,
    batch_size: int | None = None,
    progress: bool = False,
) -> Iterator[tuple[slice, Float32[np.ndarray, "cells width"]]]:
    """Answers for all cells, block after block.

    Args:
        model: of the question.
        cells: brought to its genes.
        question: what is asked.
        batch_size: cells computed at a time; None takes as many as memory has room
            for, 256 at most.
        progress: shows a bar.

    Raises:
        InputError: data that break a rule, or lack the modality that is told from; no
            cell has a gene of the model.
    """
    batch_sizes.check(batch_size)
    if question.needs not in (None, *cells.modalities):
        problem = f"they have no {question.needs}, which the model tells it from"
        raise InputError("data", problem, f"Give cells with {question.needs}")
    at_once = batch_size or batch_sizes.MOST
    blocks = inference.blocks(cells.num_cells, question.width, at_once)
    silent = True
    with tqdm.tqdm(
        total=cells.num_cells,
        desc=question.name,
        unit="cell",
        delay=2,
        disable=None if progress else True,
    ) as bar:
        ahead = prefetch(lambda i: cells.block(blocks[i]), 0, len(blocks), depth=1)
        for some, source in zip(blocks, ahead, strict=True):
            builder = trained.builder_for(source, model.config)
            longest = int(builder.lengths(cells.regime).max())
            silent &= longest == 0
            size = batch_sizes.choose(model.config, longest, cells.num_cells)
            values = inference.over_cells(
                question.function,
                builder,
                np.arange(source.num_cells),
                cells.regime,
                batch_size=batch_size or size,
            )
            yield some, values.astype(np.float32)
            bar.update(source.num_cells)
    if silent:
        problem = "no cell has a count of a gene of the model"
        raise InputError("data", problem, "Is this the right layer?")


def name_types(
    logits: Float[np.ndarray, "cells classes"],
    model: export.StoredModel,
    names: pd.Index,
) -> pd.DataFrame:
    """The type of each cell and its probability, as columns of obs."""
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    types = pd.Categorical.from_codes(
        probabilities.argmax(1), list(model.config.classes)
    )
    columns = {CELL_TYPE: types, CONFIDENCE: probabilities.max(1)}
    return pd.DataFrame(columns, index=names)

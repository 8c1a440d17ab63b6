"""Applies a function to every cell of a dataset, batch by batch, in order."""

from collections.abc import Callable

import jax
import numpy as np
import tqdm
from jaxtyping import Int

from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.sampling import sequential_batches
from scmultimodal.schemas.batches import CellBatch
from scmultimodal.schemas.modality import Regime

_MOST_BATCHES, _MOST_NUMBERS = 16, 2**24
"""Of a block: 64 MB of float32, where a batch is not larger."""


def over_cells(
    function: Callable[[CellBatch], jax.Array],
    builder: BatchBuilder,
    cells: Int[np.ndarray, " chosen"],
    regime: Regime,
    *,
    batch_size: int = 256,
    describe: str | None = None,
) -> np.ndarray:
    """Evaluates `function` on cells and returns its rows in their order.

    Args:
        function: batch -> array [cells, …]; compiled once per bucket.
        builder: makes the batches.
        cells: positions in the builder's source.
        regime: which modalities the function sees.
        batch_size: cells per call.
        describe: what the progress bar says; None shows none.

    Returns:
        Array [chosen, …].
    """
    compiled = jax.jit(function)
    lengths = builder.lengths(regime)
    batches = sequential_batches(cells, batch_size, lengths=lengths)
    parts, order = [], []
    bar = tqdm.tqdm(batches, desc=describe, disable=None if describe else True)
    for chosen in bar:
        rows = np.asarray(compiled(builder.build(chosen, regime)))
        parts.append(rows[chosen >= 0])
        order.append(chosen[chosen >= 0])
    values, order = np.concatenate(parts), np.concatenate(order)
    position = np.empty_like(order)
    position[np.argsort(cells, kind="stable")] = np.argsort(order, kind="stable")
    return values[position]


def blocks(count: int, width: int, batch_size: int) -> list[slice]:
    """Parts of many rows, in whole batches, that `over_cells` may return at once.

    Args:
        count: rows in all.
        width: numbers of a row.
        batch_size: cells per call.
    """
    batches = max(1, min(_MOST_BATCHES, _MOST_NUMBERS // (width * batch_size)))
    size = batches * batch_size
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]

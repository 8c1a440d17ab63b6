"""The size of the step, its arithmetic, and the cells that it is given."""

import dataclasses

import numpy as np
from jaxtyping import Int, UInt8

from scmultimodal.ops import favor, masking

NUM_BINS = 5
MASK_SHARE = 0.15
DENSITY = 0.1
"""Share of the genes that a cell expresses, as in single-cell RNA data."""
FEED_FORWARD = 4
"""Hidden width of the feed-forward block over the width of the stream."""
NOT_HIDDEN = -1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """One batch and one network; the defaults are the study's.

    Attributes:
        tokens: genes of a cell.
        cells: cells of the batch.
        dim: width of the residual stream.
        layers: of the Performer.
        heads: attention heads.
        key_size: width of a head.
    """

    tokens: int = 10_733
    cells: int = 1
    dim: int = 128
    layers: int = 6
    heads: int = 10
    key_size: int = 64

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    @property
    def features(self) -> int:
        """Random features of a head."""
        return favor.default_num_features(self.key_size)

    @property
    def predicted(self) -> int:
        """Tokens of a cell at which our last layer is computed."""
        return masking.most_chosen(self.tokens, MASK_SHARE)


def step_flop(shape: Shape, *, last_layer_rows: int | None = None) -> int:
    """Floating-point operations that a step of the Performer needs.

    Those of the products of the layers, forward, and twice as many backward; what is
    recomputed counts once, what is left out does not count.

    Args:
        shape: of the step.
        last_layer_rows: tokens of a cell that the last layer has queries for; None
            means all.
    """
    rows = shape.tokens if last_layer_rows is None else last_layer_rows
    inner = shape.heads * shape.key_size
    # W·v, and Σ φ(k)·[v, 1] or its reading by φ(q).
    attention = inner * shape.features
    attention += shape.heads * shape.features * (shape.key_size + 1)
    of_key = 2 * shape.dim * inner + attention
    of_query = 2 * shape.dim * inner + attention + 2 * FEED_FORWARD * shape.dim**2
    products = (shape.layers - 1) * shape.tokens * (of_key + of_query)
    products += shape.tokens * of_key + rows * of_query
    return 3 * 2 * shape.cells * products


def random_bins(shape: Shape) -> UInt8[np.ndarray, "cells tokens"]:
    """Value bins of cells, the same at each call."""
    rng = np.random.default_rng(0)
    size = (shape.cells, shape.tokens)
    bins = rng.integers(1, NUM_BINS + 1, size, np.uint8)
    return np.where(rng.random(size) < DENSITY, bins, np.uint8(0))


def hide(
    bins: UInt8[np.ndarray, "cells tokens"],
) -> tuple[Int[np.ndarray, "cells tokens"], Int[np.ndarray, "cells tokens"]]:
    """(what a model may see, classes to predict or `NOT_HIDDEN`), drawn beforehand.

    For contestants that mask outside of the step; ours masks within it.
    """
    hidden = (np.random.default_rng(1).random(bins.shape) < MASK_SHARE) & (bins > 0)
    hidden[:, 0] = True  # Even the smallest batch has something to predict.
    visible = np.where(hidden, NUM_BINS + 1, bins).astype(np.int32)
    labels = np.where(hidden, np.maximum(bins, 1).astype(np.int32) - 1, NOT_HIDDEN)
    return visible, labels

"""Batches: what a loader hands to a task.

Frozen chex dataclasses with one array per field. A modality that no cell of the
batch has is `None`; per-cell presence stands beside it, so that cells with different
modalities may share a batch.
"""

import typing
from typing import Literal

import chex
import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Integer

Array = jax.Array | np.ndarray

Tokens = Literal["all", "nonzero", "static_zeros"]
"""Which genes of a cell are its tokens: all; those that are non-zero in a modality
shown; or the same, beside silent genes that all cells share (`ops.static_zeros`)."""
TOKENS = typing.get_args(Tokens)

AtacPath = Literal["gene", "peak", "both"]
"""What ATAC is encoded by: values of genes, the open peaks themselves, or both."""
ATAC_PATHS = typing.get_args(AtacPath)


@chex.dataclass(frozen=True, kw_only=True, mappable_dataclass=False)
class PeakTokens:
    """The open peaks of cells, each cell filled up to one width.

    Attributes:
        ids: position of each peak in the peak vocabulary, ascending; 0 at padding.
        chroms: its chromosome, as a position in the vocabulary's; 0 at padding.
        positions: its middle in bp; 0 at padding.
        mask: True at real tokens. A cell without ATAC has none.
    """

    ids: Int[Array, "cells peaks"]
    chroms: Int[Array, "cells peaks"]
    positions: Int[Array, "cells peaks"]
    mask: Bool[Array, "cells peaks"]


@chex.dataclass(frozen=True, kw_only=True, mappable_dataclass=False)
class CellBatch:
    """Cells as gene-aligned value bins.

    Attributes:
        rna: RNA bins 0…num_bins (0 = zero), or None where no cell has RNA.
        atac: gene-level ATAC bins, or None where no cell has ATAC.
        rna_present: which cells have RNA. A cell without it has zeros in `rna`.
        atac_present: which cells have ATAC.
        gene_ids: vocabulary position of each token. None means that the tokens are
            all genes of the vocabulary in its order.
        token_mask: True at real tokens, False at padding; None means no padding.
        cell_mask: False at rows that only fill the batch up; they weigh nothing.
        row: position of each cell in the *global* batch. Random draws are keyed by
            it, so that they do not depend on how the batch is split over devices.
        label: class of each cell, −1 where unknown; None where a batch has no labels.
        cell_index: position of each cell in its dataset (−1 at filling rows).
        peaks: the open peaks of each cell; None where they are not shown.
        batch_code: of each cell, −1 where unknown; None where no task asks for it.
        values: RNA of all genes as it is to be told, 0 where a gene is silent or its
            cell has no RNA; None where no task asks for it.
    """

    rna: Integer[Array, "cells tokens"] | None
    atac: Integer[Array, "cells tokens"] | None
    rna_present: Bool[Array, " cells"]
    atac_present: Bool[Array, " cells"]
    gene_ids: Int[Array, "cells tokens"] | None
    token_mask: Bool[Array, "cells tokens"] | None
    cell_mask: Bool[Array, " cells"]
    row: Int[Array, " cells"]
    label: Int[Array, " cells"] | None
    cell_index: Int[Array, " cells"]
    peaks: PeakTokens | None = None
    batch_code: Int[Array, " cells"] | None = None
    values: Float[Array, "cells genes"] | None = None


@chex.dataclass(frozen=True, kw_only=True, mappable_dataclass=False)
class RegionBatch:
    """Spans of DNA, each with the same number of regions to be ranked (SPEC 3.1).

    Attributes:
        token_ids: 6-mer tokens of the sequence under each region, padded.
        values: accessibility of each region: pseudobulk counts or a track's signal.
        output: which of a scorer's outputs each span is of: its cell type. 0 where
            there is one for all.
        span_mask: False at rows that only fill the batch up; they weigh nothing.
        row: position of each span in the *global* batch, which keys random draws.
        span_index: position of each span in its dataset (−1 at filling rows).
    """

    token_ids: Integer[Array, "spans regions tokens"]
    values: Float[Array, "spans regions"]
    output: Int[Array, " spans"]
    span_mask: Bool[Array, " spans"]
    row: Int[Array, " spans"]
    span_index: Int[Array, " spans"]


@chex.dataclass(frozen=True, kw_only=True, mappable_dataclass=False)
class TokenBatch:
    """Sequences of DNA as tokens, without labels.

    Attributes:
        token_ids: 6-mer tokens, padded.
        sequence_mask: False at rows that only fill the batch up; they weigh nothing.
        row: position of each sequence in the *global* batch, which keys random draws.
    """

    token_ids: Integer[Array, "sequences tokens"]
    sequence_mask: Bool[Array, " sequences"]
    row: Int[Array, " sequences"]


@chex.dataclass(frozen=True, kw_only=True, mappable_dataclass=False)
class SegmentationBatch:
    """Windows of DNA whose bases are labelled (SPEC 3.4).

    Attributes:
        token_ids: k-mers of one frame, CLS first.
        labels: bit i of a base says whether it is of element i; `UNJUDGED` that nothing
            is to be learned or judged there: the letter is N, or there is none.
        known: bit i says whether element i is known in this window at all.
        sequence_mask: False at rows that only fill the batch up; they weigh nothing.
        row: position of each window in the *global* batch, which keys random draws.
    """

    token_ids: Integer[Array, "sequences tokens"]
    labels: Integer[Array, "sequences bases"]
    known: Integer[Array, " sequences"]
    sequence_mask: Bool[Array, " sequences"]
    row: Int[Array, " sequences"]


UNJUDGED = 1 << 15
"""Of a label: see `SegmentationBatch`."""

WeightedSum = tuple[Float[Array, "..."], Float[Array, "..."]]
"""(weighted sum, weight): sums add up over devices before they are divided."""

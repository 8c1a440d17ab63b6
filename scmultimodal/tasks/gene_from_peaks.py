"""Pre-training: tell a cell's expression from its open peaks (EpiFoundation).

The encoder sees peaks alone; RNA is the target. A cell without RNA is asked about its
peaks instead: which of them are open that it was not shown.
Source: https://github.com/UCSC-VLAA/EpiFoundation.
"""

import dataclasses
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Integer

from scmultimodal.modules import cell_encoder, token_arrays
from scmultimodal.modules.heads import gene_query, peak_query
from scmultimodal.ops import losses, masking, metrics, queries
from scmultimodal.ops.queries import HiddenPeaks, Queries
from scmultimodal.schemas.batches import Array, CellBatch, WeightedSum
from scmultimodal.tasks import task


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneFromPeaksConfig:
    """What is asked, and of whom.

    Attributes:
        encoder: shape of the cell encoder, which has a path of peaks.
        head: what answers about genes.
        num_queries: genes that each cell is asked about in a step, as many expressed
            as silent; None asks about all.
        mask_share: of the open peaks of a cell without RNA, how many it is not shown.
        peak_dropout: in training, the share of the open peaks hidden from the encoder
            besides: what it says of a cell is then less that cell's own.
        cell_type_weight: of a cross-entropy of the type, by a linear map of the vector.
        num_classes: types, where that is above 0.
    """

    encoder: cell_encoder.CellEncoderConfig
    head: gene_query.GeneQueryConfig = dataclasses.field(
        default_factory=gene_query.GeneQueryConfig
    )
    num_queries: int | None = 256
    mask_share: float = 0.15
    peak_dropout: float = 0.0
    cell_type_weight: float = 0.0
    num_classes: int | None = None

    def __post_init__(self):
        if self.encoder.peaks is None:
            raise ValueError(
                "encoder must have a path of peaks: atac_path peak or both"
            )
        if self.head.num_bins < 2:
            raise ValueError(f"num_bins must be at least 2, got {self.head.num_bins}")
        if self.num_queries is not None and self.num_queries < 2:
            raise ValueError(f"num_queries must be at least 2, got {self.num_queries}")
        if not 0 < self.mask_share < 1:
            raise ValueError(f"mask_share must be in (0, 1), got {self.mask_share}")
        if not 0 <= self.peak_dropout < 1:
            raise ValueError(f"peak_dropout must be in [0, 1), got {self.peak_dropout}")
        if self.cell_type_weight < 0:
            raise ValueError(
                f"cell_type_weight must be at least 0, got {self.cell_type_weight}"
            )
        if self.cell_type_weight and (self.num_classes or 0) < 2:
            raise ValueError(
                f"num_classes must be at least 2 with cell_type_weight above 0, got "
                f"{self.num_classes}"
            )


Answers = tuple[
    Float[Array, "cells queries bins"],
    Float[Array, "cells chosen"],
    Float[Array, "cells classes"] | None,
]
"""Logits of the bins of genes, of peaks being open, and of types where they count."""


class Asked(NamedTuple):
    """What a step asks: genes of cells with RNA, peaks of those without."""

    genes: Queries
    bins: Int[Array, "cells queries"]
    """The true bin of each."""
    peaks: HiddenPeaks


class GeneFromPeaks:
    """Cross-entropy of the bins of expression of genes that are asked about.

    A cell's loss is the mean over its queries; of a cell without RNA, the mean over its
    hidden peaks and as many closed ones. Where types count, that of its type is added.
    """

    def __init__(self, config: GeneFromPeaksConfig):
        self.config = config
        self._forward = hk.transform_with_state(self._answers)

    def _answers(
        self,
        visible: CellBatch,
        genes: Int[Array, "cells queries"] | None,
        peaks: Int[Array, "cells chosen"],
    ) -> Answers:
        config = self.config
        cells = cell_encoder.CellEncoder(config.encoder)(visible).cells
        head = gene_query.GeneQueryHead(config.head, config.encoder.num_genes)
        bins = head(cells, genes, visible.batch_code)
        num_peaks = config.encoder.peaks.num_peaks
        opens = peak_query.PeakQueryHead(num_peaks)(cells, peaks)
        if not config.cell_type_weight:
            return bins, opens, None
        types = hk.Linear(config.num_classes, name="cell_vector_head")
        return bins, opens, types(cells)

    def init(self, rng: jax.Array, batch: CellBatch) -> tuple[task.Params, task.Params]:
        """Fresh parameters; the cells may have RNA or not."""
        one = jnp.zeros((batch.row.shape[0], 1), jnp.int32)
        return self._forward.init(rng, peaks_alone(batch), one, one)

    def predict(
        self,
        params: task.Params,
        network_state: task.Params,
        batch: CellBatch,
        genes: Int[Array, "cells queries"],
    ) -> Float[Array, "cells queries bins"]:
        """Logits of the bins of genes, told from peaks."""
        asked = peaks_alone(batch), genes, genes[:, :0]
        return self._forward.apply(params, network_state, None, *asked)[0][0]

    def ask(self, rng: jax.Array, batch: CellBatch) -> tuple[CellBatch, Asked]:
        """What the encoder may see of a batch with peaks, and what it is asked."""
        batch, config = jax.tree.map(jnp.asarray, batch), self.config
        of_genes, of_peaks = jax.random.split(rng)
        genes, bins = self._genes(of_genes, batch)
        hidden = queries.hide_peaks(
            of_peaks,
            batch.row,
            batch.peaks.ids,
            batch.peaks.mask & ~batch.rna_present[:, None],
            share=config.mask_share,
            num_peaks=config.encoder.peaks.num_peaks,
        )
        shown = batch.peaks.replace(mask=batch.peaks.mask & ~hidden.hidden)
        visible = peaks_alone(batch).replace(peaks=shown)
        return visible, Asked(genes, bins, hidden)

    def _genes(
        self, rng: jax.Array, batch: CellBatch
    ) -> tuple[Queries, Int[Array, "cells queries"]]:
        """The genes that each cell is asked about, and their bins."""
        cells, num_genes = batch.row.shape[0], self.config.encoder.num_genes
        if batch.rna is None:
            nothing = jnp.zeros((cells, 0), jnp.int32)
            return Queries(nothing, nothing.astype(bool)), nothing
        values, known = _dense_rna(batch, self.config.encoder)
        if self.config.num_queries is None:
            every = jnp.broadcast_to(jnp.arange(num_genes), (cells, num_genes))
            found = Queries(every, known)
        else:
            size = self.config.num_queries
            found = queries.balanced(rng, batch.row, values > 0, known, size)
        told = jnp.take_along_axis(values, found.ids, 1).astype(jnp.int32)
        return found, jnp.minimum(told, self.config.head.num_bins - 1)

    def loss(
        self,
        params: task.Params,
        network_state: task.Params,
        rng: jax.Array,
        batch: CellBatch,
        *,
        is_training: bool,
    ) -> task.LossOutput:
        """See `Task.loss`. Nothing is asked of a batch that shows no peaks.

        Metrics: loss and accuracy of genes and of peaks, and of types where they count.
        Genes that are drawn are as often expressed as silent.
        """
        if batch.peaks is None:
            return task.nothing_asked(network_state)
        visible, asked = self.ask(rng, batch)
        key = jax.random.fold_in(rng, 2) if is_training else None
        if is_training and self.config.peak_dropout:
            visible = self._drop(jax.random.fold_in(rng, 3), visible)
        answers, state = self._forward.apply(
            params,
            network_state,
            key,
            visible,
            None if self._asks_all(asked) else asked.genes.ids,
            asked.peaks.queries.ids,
        )
        parts = self._judge(answers, asked, visible)
        total = jnp.zeros(visible.row.shape)
        counted = jnp.zeros(visible.row.shape, bool)
        for name, part in parts.items():
            mean, some = losses.cell_mean(values=part.values, where=part.where)
            total += mean * (self.config.cell_type_weight if name == "type" else 1)
            counted |= some
        measured = {k: v for n, part in parts.items() for k, v in _metrics(n, part)}
        return (total.sum(), counted.sum().astype(total.dtype)), (state, measured)

    def _asks_all(self, asked: Asked) -> bool:
        """Whether genes are all, in their order, and not none for want of RNA."""
        return self.config.num_queries is None and asked.genes.ids.shape[1] > 0

    def _drop(self, rng: jax.Array, visible: CellBatch) -> CellBatch:
        peaks, share = visible.peaks, 1 - self.config.peak_dropout
        kept = masking.draw(rng, visible.row, peaks.ids.shape[1], share)
        return visible.replace(peaks=peaks.replace(mask=peaks.mask & kept))

    def _judge(
        self, answers: Answers, asked: Asked, visible: CellBatch
    ) -> dict[str, "_Part"]:
        """Cross-entropies of what was asked, of the cells that have ATAC."""
        bins, opens, types = answers
        has = (visible.cell_mask & visible.atac_present)[:, None]
        is_open = asked.peaks.is_open
        parts = {
            "gene": _Part(
                losses.token_cross_entropy(logits=bins, labels=asked.bins),
                bins.argmax(-1) == asked.bins,
                asked.genes.where & has,
            ),
            "peak": _Part(
                jax.nn.softplus(jnp.where(is_open, -opens, opens)),
                (opens > 0) == is_open,
                asked.peaks.queries.where & has,
            ),
        }
        if types is not None:
            assert visible.label is not None, "types count, so cells have labels"
            labels = visible.label[:, None]
            parts["type"] = _Part(
                losses.token_cross_entropy(logits=types[:, None], labels=labels),
                types.argmax(-1, keepdims=True) == labels,
                has & (labels >= 0),
            )
        return parts


class _Part(NamedTuple):
    """One kind of question."""

    values: Float[Array, "cells queries"]
    correct: Bool[Array, "cells queries"]
    where: Bool[Array, "cells queries"]


def _metrics(name: str, part: _Part) -> list[tuple[str, WeightedSum]]:
    mean, some = losses.cell_mean(values=part.values, where=part.where)
    right = metrics.share_true(values=part.correct, where=part.where)
    loss = mean.sum(), some.sum().astype(mean.dtype)
    return [(f"{name}_loss", loss), (f"{name}_accuracy", right)]


def peaks_alone(batch: CellBatch) -> CellBatch:
    """A batch as the encoder may see it: no gene, and no trace of which are there."""
    assert batch.peaks is not None, "the encoder sees peaks"
    nobody = jnp.zeros(batch.row.shape, bool)
    return batch.replace(
        rna=None, atac=None, gene_ids=None, token_mask=None, rna_present=nobody
    )


def _dense_rna(
    batch: CellBatch, encoder: cell_encoder.CellEncoderConfig
) -> tuple[Integer[Array, "cells genes"], Bool[Array, "cells genes"]]:
    """RNA bins of all genes, and those that may be asked about."""
    known = jnp.ones((batch.row.shape[0], encoder.num_genes), bool)
    values, mask = batch.rna, batch.token_mask
    if batch.gene_ids is not None:
        values = token_arrays.scatter_to_genes(
            values, batch.gene_ids, mask, encoder.num_genes
        )
    # A token of all genes that is none was not measured; else what is none is silent.
    if mask is not None and encoder.tokens == "all":
        known = mask
        if batch.gene_ids is not None:
            known = token_arrays.scatter_to_genes(
                mask.astype(jnp.uint8), batch.gene_ids, None, encoder.num_genes
            ).astype(bool)
    return values, known & batch.rna_present[:, None]

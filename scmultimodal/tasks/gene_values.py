"""Fine-tuning: tell how much of a gene a cell has from its open peaks (EpiFoundation).

The squared error over the genes that the cell shows; silent ones are not asked about.
Source: https://github.com/UCSC-VLAA/EpiFoundation.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from scmultimodal.modules import cell_encoder
from scmultimodal.modules.heads import gene_query, gene_value
from scmultimodal.ops import masking, queries
from scmultimodal.schemas.batches import Array, CellBatch, WeightedSum
from scmultimodal.tasks import task
from scmultimodal.tasks.gene_from_peaks import peaks_alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneValuesTaskConfig:
    """What is asked.

    Attributes:
        encoder: shape of the cell encoder, which has a path of peaks.
        head: what answers; its one bin is the value.
        num_queries: genes that a cell is asked about in a step of training, drawn from
            those that it shows; None asks about all.
        peak_dropout: in training, the share of the open peaks hidden.
    """

    encoder: cell_encoder.CellEncoderConfig
    head: gene_query.GeneQueryConfig
    num_queries: int | None = 256
    peak_dropout: float = 0.0

    def __post_init__(self):
        if self.encoder.peaks is None:
            raise ValueError(
                "encoder must have a path of peaks: atac_path peak or both"
            )
        if self.head.num_bins != 1:
            raise ValueError(f"num_bins must be 1, got {self.head.num_bins}")
        if self.num_queries is not None and self.num_queries < 1:
            raise ValueError(f"num_queries must be positive, got {self.num_queries}")
        if not 0 <= self.peak_dropout < 1:
            raise ValueError(f"peak_dropout must be in [0, 1), got {self.peak_dropout}")


class GeneSums(NamedTuple):
    """Sums over the cells that show a gene, told and true less the gene's offset.

    What correlations of genes are made of (`evaluation.gene_values`).
    """

    number: Float[Array, " genes"]
    told: Float[Array, " genes"]
    true: Float[Array, " genes"]
    told_squared: Float[Array, " genes"]
    true_squared: Float[Array, " genes"]
    product: Float[Array, " genes"]


class GeneValues:
    """Squared error of the values of genes that cells show, each value the same."""

    def __init__(self, config: GeneValuesTaskConfig):
        self.config = config
        num_genes = config.encoder.num_genes
        self._encoder = cell_encoder.build_encoder(config.encoder)
        self._head = gene_value.build_gene_value_head(config.head, num_genes)

    def init(self, rng: jax.Array, batch: CellBatch) -> tuple[task.Params, task.Params]:
        """Fresh parameters; every value begins as 0."""
        of_trunk, of_head = jax.random.split(rng)
        visible = peaks_alone(batch)
        params, state = self._encoder.init(of_trunk, visible)
        cells = jnp.zeros((batch.row.shape[0], self.config.encoder.path.dim))
        one = jnp.zeros((batch.row.shape[0], 1), jnp.int32)
        head = self._head.init(of_head, cells, one[:, 0], one, batch.batch_code)
        return {**params, **head}, state

    def predict(
        self, params: task.Params, network_state: task.Params, batch: CellBatch
    ) -> Float[Array, "cells genes"]:
        """Values of all genes, told from peaks.

        Where the head is told a cell's batch and `batch` does not know it, the mean
        over all of its batches.
        """
        visible = peaks_alone(batch)
        cells = self._encoder.apply(params, network_state, None, visible)[0].cells
        known = batch.batch_code is not None or self.config.head.num_batches is None
        if known:
            return self._tell(params, cells, visible)
        codes = jnp.arange(self.config.head.num_batches)
        of_batch = jax.lax.map(
            lambda code: self._tell(
                params,
                cells,
                visible.replace(batch_code=jnp.full(visible.row.shape, code)),
            ),
            codes,
        )
        return of_batch.mean(0)

    def _tell(
        self, params: task.Params, cells: Float[Array, "cells dim"], visible: CellBatch
    ) -> Float[Array, "cells genes"]:
        """Values of all genes, a block of genes at a time."""

        def ask(genes: Int[Array, " asked"]) -> Float[Array, "cells asked"]:
            asked = jnp.broadcast_to(genes, (cells.shape[0], len(genes)))
            code = visible.batch_code
            return self._head.apply(params, None, cells, _open(visible), asked, code)

        return gene_query.of_all_genes(ask, self.config.encoder.num_genes)

    def loss(
        self,
        params: task.Params,
        network_state: task.Params,
        rng: jax.Array,
        batch: CellBatch,
        *,
        is_training: bool,
    ) -> task.LossOutput:
        """See `Task.loss`. Metrics: of a validation, where all genes are asked about,
        the fields of `GeneSums`.
        """
        batch = jax.tree.map(jnp.asarray, batch)
        assert batch.values is not None, "values are to be told"
        has = (batch.cell_mask & batch.atac_present)[:, None] & (batch.values > 0)
        if not is_training:
            told = self.predict(params, network_state, batch)
            loss = _squared_error(told, batch.values, has)
            offset = params[gene_value.NAME]["offset"]
            sums = _gene_sums(told - offset, batch.values - offset, has)
            one = jnp.ones(())
            return loss, (
                network_state,
                {name: (total, one) for name, total in sums._asdict().items()},
            )
        visible, number = peaks_alone(batch), _open(batch)
        if self.config.peak_dropout:
            visible = self._drop(jax.random.fold_in(rng, 1), visible)
        encoding, state = self._encoder.apply(
            params, network_state, jax.random.fold_in(rng, 2), visible
        )
        genes, true, where = None, batch.values, has
        if self.config.num_queries is not None:
            genes, drawn = queries.some_of(rng, batch.row, has, self.config.num_queries)
            true, where = jnp.take_along_axis(true, genes, 1), drawn
        told = self._head.apply(
            params, None, encoding.cells, number, genes, batch.batch_code
        )
        return _squared_error(told, true, where), (state, {})

    def _drop(self, rng: jax.Array, visible: CellBatch) -> CellBatch:
        peaks, share = visible.peaks, 1 - self.config.peak_dropout
        kept = masking.draw(rng, visible.row, peaks.ids.shape[1], share)
        return visible.replace(peaks=peaks.replace(mask=peaks.mask & kept))


def _open(batch: CellBatch) -> Int[Array, " cells"]:
    """Peaks of each cell that are shown."""
    assert batch.peaks is not None, "the encoder sees peaks"
    return batch.peaks.mask.sum(1)


def _squared_error(
    told: Float[Array, "cells queries"],
    true: Float[Array, "cells queries"],
    where: Array,
) -> WeightedSum:
    squares = jnp.where(where, jnp.square(told - true), 0)
    return squares.sum(), where.sum().astype(squares.dtype)


def _gene_sums(
    told: Float[Array, "cells genes"], true: Float[Array, "cells genes"], where: Array
) -> GeneSums:
    told, true = jnp.where(where, told, 0), jnp.where(where, true, 0)
    return GeneSums(
        number=where.sum(0).astype(told.dtype),
        told=told.sum(0),
        true=true.sum(0),
        told_squared=jnp.square(told).sum(0),
        true_squared=jnp.square(true).sum(0),
        product=(told * true).sum(0),
    )

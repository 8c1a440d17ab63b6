"""What each open peak adds to what a model says of a gene: gradient × input.

Of a model that was pre-trained by `gene_from_peaks`. What is differentiated is the log
odds that a gene is expressed and not silent, and with regard to a dial on the peak
(`peak_dials`), which is 1 where the peak is open.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from scmultimodal.modules import cell_encoder, peak_dials
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.modules.heads import gene_query
from scmultimodal.modules.heads.gene_query import GeneQueryConfig
from scmultimodal.schemas.batches import Array, CellBatch
from scmultimodal.tasks import gene_from_peaks, task


class Pairs(NamedTuple):
    """Open peaks of cells, each with a gene."""

    cell: Int[Array, " pairs"]
    """Row of the batch."""
    token: Int[Array, " pairs"]
    """Which of the cell's tokens the peak is."""
    gene: Int[Array, " pairs"]
    """Place among the genes that are asked about."""


class PeakLinks:
    """Gradients of log odds of genes with regard to open peaks.

    All that a gene is told from is the cell's vector. So the gradient is a product of
    two matrices, of the vector by the peaks and of the genes by the vector, and takes
    as many backward passes as the vector is wide, however many genes there are.
    """

    def __init__(self, encoder: CellEncoderConfig, head: GeneQueryConfig):
        self._encoder = cell_encoder.build_encoder(encoder)
        self._head = gene_query.build_gene_query_head(head, encoder.num_genes)

    def log_odds(
        self,
        params: task.Params,
        network_state: task.Params,
        batch: CellBatch,
        genes: Int[Array, " genes"],
        dials: Float[Array, "cells peaks"] | None = None,
    ) -> Float[Array, "cells genes"]:
        """How likely each gene is expressed, told from the open peaks of cells.

        Args:
            params: of `GeneFromPeaks`.
            network_state: the same.
            batch: cells with peaks.
            genes: positions in the vocabulary.
            dials: on the peaks; None leaves them open.
        """
        if dials is None:
            dials = jnp.ones(batch.peaks.mask.shape)
        cells = self._cells(params, network_state, batch, dials)
        return self._odds(params, cells, genes)

    def contributions(
        self,
        params: task.Params,
        network_state: task.Params,
        batch: CellBatch,
        genes: Int[Array, " genes"],
        pairs: Pairs,
    ) -> Float[Array, " pairs"]:
        """The derivative of `log_odds` by the dial of a peak, at 1, for each pair.

        Args:
            params, network_state, batch, genes: see `log_odds`.
            pairs: what is asked for.
        """
        vectors, back = jax.vjp(
            lambda dials: self._cells(params, network_state, batch, dials),
            jnp.ones(batch.peaks.mask.shape),
        )
        push = jax.linearize(lambda cells: self._odds(params, cells, genes), vectors)[1]

        def add(
            total: Float[Array, " pairs"], direction: Float[Array, " dim"]
        ) -> tuple[Float[Array, " pairs"], None]:
            along = jnp.broadcast_to(direction, vectors.shape)
            (of_peaks,), of_genes = back(along), push(along)
            found = of_peaks[pairs.cell, pairs.token] * of_genes[pairs.cell, pairs.gene]
            return total + found, None

        nothing = jnp.zeros(pairs.cell.shape, vectors.dtype)
        return jax.lax.scan(add, nothing, jnp.eye(vectors.shape[1]))[0]

    def _cells(
        self,
        params: task.Params,
        network_state: task.Params,
        batch: CellBatch,
        dials: Float[Array, "cells peaks"],
    ) -> Float[Array, "cells dim"]:
        alone = gene_from_peaks.peaks_alone(batch)
        with peak_dials.dialled(dials):
            return self._encoder.apply(params, network_state, None, alone)[0].cells

    def _odds(
        self,
        params: task.Params,
        cells: Float[Array, "cells dim"],
        genes: Int[Array, " genes"],
    ) -> Float[Array, "cells genes"]:
        every = jnp.broadcast_to(genes, (cells.shape[0], len(genes)))
        bins = self._head.apply(params, None, cells, every)
        return jax.nn.logsumexp(bins[..., 1:], -1) - bins[..., 0]

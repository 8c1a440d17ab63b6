"""Reads the cell type off the vector of a cell: for trunks that read open peaks."""

import functools

import haiku as hk
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from scmultimodal.modules.cell_encoder import CellEncoderConfig, CellEncoding
from scmultimodal.modules.heads import cell_type
from scmultimodal.modules.heads.cell_type import CellTypeHead, CellTypeHeadConfig
from scmultimodal.modules.token_dials import Dials
from scmultimodal.schemas.batches import Array, CellBatch


def logits_of(
    config: CellTypeHeadConfig,
    encoder: CellEncoderConfig,
    encoding: CellEncoding,
    batch: CellBatch,
    *,
    is_training: bool,
) -> Float[Array, "cells classes"]:
    """Logits of the cell types, by the head that fits the trunk."""
    if config.reads == "vector":
        head = CellVectorHead(config, encoder)
        return head(encoding.cells, batch, is_training=is_training)
    head = CellTypeHead(config, encoder.num_genes)
    return head(encoding.tokens, batch, is_training=is_training)


class CellVectorHead(hk.Module):
    """An MLP on the cell's vector; with `skip` also a linear map of peaks and bins.

    EpiFoundation's has three layers: two hidden ones.
    """

    def __init__(
        self,
        config: CellTypeHeadConfig,
        encoder: CellEncoderConfig,
        name: str = "cell_type_head",
    ):
        super().__init__(name=name)
        self.config, self.encoder = config, encoder

    def __call__(
        self,
        cells: Float[Array, "cells dim"],
        batch: CellBatch,
        *,
        is_training: bool,
        dials: Dials | None = None,
        shares: Float[Array, "cells peaks"] | None = None,
    ) -> Float[Array, "cells classes"]:
        """Returns the logits of the cell types.

        Args:
            cells: vectors.
            batch: what is read past them.
            is_training: draws a dropout.
            dials: how much of each value is read; None is all.
            shares: how much of each peak is there, as in `PeakEncoder`.
        """
        # A mean over many tokens varies little from cell to cell.
        hidden = hk.LayerNorm(-1, True, True, name="norm")(cells)
        hidden = cell_type.hidden_layers(
            self.config, hidden, batch, is_training=is_training
        )
        config = self.config
        # What is skipped to begins as it is meant to: nothing drawn is added.
        past = config.skip or config.root_skip
        init = jnp.zeros if past else None
        linear = hk.Linear(config.num_classes, w_init=init, name="logits")
        parts = [linear(hidden)]
        if config.skip:
            num_genes = self.encoder.num_genes
            parts.append(cell_type.skipped(config.num_classes, num_genes, batch, dials))
        if (peaks := batch.peaks) is not None and past:
            open_ = peaks.mask if shares is None else jnp.where(peaks.mask, shares, 0)
            if config.skip:
                parts.append(self._of_peaks("peak_skip", peaks.ids, open_))
            if config.root_skip:
                total = open_.sum(1, keepdims=True)
                root = jnp.sqrt(jnp.where(total > 1, total, 1))
                parts.append(self._of_peaks("peak_root_skip", peaks.ids, open_) / root)
        return functools.reduce(jnp.add, [part for part in parts if part is not None])

    @hk.transparent
    def _of_peaks(
        self,
        name: str,
        ids: Int[Array, "cells peaks"],
        open_: Bool[Array, "cells peaks"] | Float[Array, "cells peaks"],
    ) -> Float[Array, "cells classes"]:
        """The weights of the peaks that are open, summed."""
        assert self.encoder.peaks is not None, "peaks are read by a path of them"
        shape = (self.encoder.peaks.num_peaks, self.config.num_classes)
        weights = hk.get_parameter(name, shape, init=jnp.zeros)
        taken = jnp.take(weights, ids, 0)
        return jnp.einsum("cpk,cp->ck", taken, open_.astype(taken.dtype))

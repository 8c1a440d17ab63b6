"""Gradient × input of logits of cell types, summed over the cells of each type."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64, Int, Int64

from scmultimodal.modules import peak_dials, token_arrays, value_dials
from scmultimodal.schemas.batches import Array, CellBatch
from scmultimodal.schemas.modality import Modality
from scmultimodal.weights import export
from scmultimodal.workflows import trained


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """What the model reads of cells.

    Attributes:
        genes: modalities by values of genes.
        peaks: whether open peaks too.
    """

    genes: tuple[Modality, ...]
    peaks: bool

    @classmethod
    def to(cls, model: export.StoredModel, modalities: Sequence[Modality]) -> "Shown":
        """What a model reads of cells that have these modalities."""
        encoder = model.config.encoder
        by_peak = Modality.ATAC in modalities and encoder.peaks is not None
        left_out = by_peak and encoder.atac_path == "peak"
        genes = tuple(m for m in modalities if m is Modality.RNA or not left_out)
        return cls(genes=genes, peaks=by_peak)


class OfBatch(NamedTuple):
    """Sums over the cells of a batch."""

    cells: Int[Array, " classes"]
    """How many are of each type."""
    genes: Float[Array, "classes values"]
    """Of the genes of each modality shown, one after the other."""
    peaks: Float[Array, "classes peaks"]
    """Of all peaks that the model knows; none where none is read."""
    opened: Int[Array, " peaks"]
    """In how many cells each is open."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sums:
    """The same over all cells."""

    cells: Int64[np.ndarray, " classes"]
    genes: Float64[np.ndarray, "classes values"]
    peaks: Float64[np.ndarray, "classes peaks"]
    opened: Int64[np.ndarray, " peaks"]

    @classmethod
    def of(cls, model: export.StoredModel, shown: Shown) -> "Sums":
        """Of no cell."""
        classes = len(model.config.classes)
        peaks = model.peaks.num_peaks if shown.peaks and model.peaks else 0
        values = len(shown.genes) * model.vocabulary.num_genes
        return cls(
            cells=np.zeros(classes, np.int64),
            genes=np.zeros((classes, values)),
            peaks=np.zeros((classes, peaks)),
            opened=np.zeros(peaks, np.int64),
        )

    def add(self, found: OfBatch) -> None:
        """Counts the cells of a batch in."""
        for name, values in found._asdict().items():
            total = getattr(self, name)
            total += np.asarray(values)


def function(
    model: export.StoredModel,
    shown: Shown,
    types: Int[np.ndarray, " cells"] | None,
) -> Callable[[CellBatch], OfBatch]:
    """batch -> what its genes and peaks add to the logits of its cells' types.

    The logit of a cell's type less the mean of all types' logits: what all have in
    common tells no type.

    Args:
        model: a classifier.
        shown: what it reads of the cells.
        types: class of each cell of the source; None takes what the model says.
    """
    logits_of = trained.logits_function(model)
    encoder, classes = model.config.encoder, len(model.config.classes)

    def chosen(dials: "_Dials", batch: CellBatch) -> tuple[Array, Array]:
        with contextlib.ExitStack() as turned:
            fades = encoder.tokens != "all"
            turned.enter_context(value_dials.dialled(dials.genes, tokens_fade=fades))
            if dials.peaks is not None:
                turned.enter_context(peak_dials.dialled(dials.peaks))
            logits = logits_of(batch)
        which = logits.argmax(1)
        if types is not None:
            which = jnp.asarray(types)[batch.cell_index]
        centred = logits - logits.mean(1, keepdims=True)
        return jnp.take_along_axis(centred, which[:, None], 1).sum(), which

    def sums(batch: CellBatch) -> OfBatch:
        gradients, which = jax.grad(chosen, has_aux=True)(_ones(shown, batch), batch)
        nothing = jnp.zeros((len(batch.row), 0))
        by_gene = [
            _by_gene(gradients.genes[m.value], batch, encoder.num_genes)
            for m in shown.genes
        ]
        genes = jnp.concatenate([nothing, *by_gene], 1)
        genes = jnp.where(batch.cell_mask[:, None], genes, 0)
        return OfBatch(
            jnp.zeros(classes, jnp.int32).at[which].add(batch.cell_mask),
            jnp.zeros((classes, genes.shape[1])).at[which].add(genes),
            *_by_peak(gradients.peaks, which, batch, model),
        )

    return sums


class _Dials(NamedTuple):
    """On values of genes by modality, and on peaks."""

    genes: dict[str, Float[Array, "cells tokens"]]
    peaks: Float[Array, "cells peaks"] | None


def _ones(shown: Shown, batch: CellBatch) -> _Dials:
    """Nothing is changed."""
    genes = {m.value: jnp.ones(getattr(batch, m).shape) for m in shown.genes}
    return _Dials(genes, jnp.ones(batch.peaks.mask.shape) if shown.peaks else None)


def _by_gene(
    values: Float[Array, "cells tokens"], batch: CellBatch, num_genes: int
) -> Float[Array, "cells genes"]:
    if batch.gene_ids is None:
        return values if batch.token_mask is None else values * batch.token_mask
    return token_arrays.scatter_to_genes(
        values, batch.gene_ids, batch.token_mask, num_genes
    )


def _by_peak(
    values: Float[Array, "cells tokens"] | None,
    which: Int[Array, " cells"],
    batch: CellBatch,
    model: export.StoredModel,
) -> tuple[Float[Array, "classes peaks"], Int[Array, " peaks"]]:
    """Sums of each type, and in how many cells a peak is open."""
    classes = len(model.config.classes)
    if values is None:
        return jnp.zeros((classes, 0)), jnp.zeros(0, jnp.int32)
    assert model.peaks is not None, "peaks are read"
    ids, number = batch.peaks.ids, model.peaks.num_peaks
    counted = batch.peaks.mask & batch.cell_mask[:, None]
    of_types = jnp.zeros((classes, number)).at[which[:, None], ids]
    opened = jnp.zeros(number, jnp.int32).at[ids].add(counted)
    return of_types.add(jnp.where(counted, values, 0)), opened

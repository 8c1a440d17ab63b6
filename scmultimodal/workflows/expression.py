"""A cell's expression as its open peaks tell it, of all genes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from scmultimodal.data.sampling import spread
from scmultimodal.data.store import Store
from scmultimodal.modules import cell_encoder
from scmultimodal.modules.heads import gene_query
from scmultimodal.schemas.batches import CellBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.tasks import gene_from_peaks
from scmultimodal.tasks.gene_from_peaks import GeneFromPeaksConfig
from scmultimodal.tasks.gene_values import GeneValues, GeneValuesTaskConfig
from scmultimodal.weights import export

HOW = "`scmultimodal pretrain --preset peaks` on cells with RNA and ATAC"
"""What trains models that tell genes from peaks."""
LACKS = "has nothing that tells genes from open peaks"
_CELLS = 50_000


def genes_told(
    store: Store, cells: Int[np.ndarray, " cells"], config: GeneFromPeaksConfig
) -> export.GenesTold:
    """What is to be stored of a head, and how far its answers are from the base rate.

    Of a cell's genes as many expressed as silent are drawn, each with the same chance
    within its kind: the head learns odds that are (silent / expressed genes of the
    cell) times too high. The correction is the mean of that over training cells, on
    the scale of logits.

    Args:
        store: prepared dataset.
        cells: training cells with RNA and ATAC.
        config: of the objective.
    """
    if config.num_queries is None:
        return export.GenesTold(head=config.head)
    cells = spread(cells, _CELLS)
    expressed = store.rows(Modality.RNA, cells).getnnz(axis=1)
    every = np.full(len(cells), store.num_genes)
    if (measured := store.measured(Modality.RNA)) is not None:
        every = measured.sum(1)[store.dataset_codes[cells]]
    silent = every - expressed
    # Of a cell that has genes of one kind alone none is drawn.
    drawn = (expressed > 0) & (silent > 0)
    odds = np.log(expressed[drawn] / silent[drawn])
    mean = float(odds.mean()) if drawn.any() else 0.0
    return export.GenesTold(head=config.head, log_odds=mean)


def tells_genes(config: export.ModelConfig) -> bool:
    """Whether something is told of genes from open peaks; `values` says what."""
    return config.genes_told is not None or config.values_told is not None


def is_told(model: export.StoredModel, modality: Modality) -> bool:
    """Whether a modality is to be told from open peaks: RNA, and not as counts.

    Raises:
        InputError: the model reads peaks, and tells neither.
    """
    config = model.config
    if model.tells_counts(modality) or config.encoder.peaks is None:
        return False
    tells = tells_genes(config)
    if modality is Modality.RNA and tells:
        return True
    problem = "was trained to tell RNA from open peaks, and no ATAC" if tells else LACKS
    remedy = (
        f"Give what was pre-trained by {HOW}, or fine-tuned from that by `scmultimodal "
        "finetune --task expression`, and ask for rna"
    )
    raise InputError("model", problem, remedy)


def values(model: export.StoredModel) -> str:
    """What is told of a gene, for people."""
    if (values_told := model.config.values_told) is not None:
        depth = f"{values_told.depth:,.10g}"
        return f"log1p of counts of {depth}, where the gene is expressed"
    head = _told(model).head
    if head.num_bins == 2:
        return "probability of expression"
    return f"expected bin of expression, 0 to {head.num_bins - 1}"


def function(
    model: export.StoredModel,
) -> Callable[[CellBatch], Float[Array, "cells genes"]]:
    """batch -> the probability of expression of every gene, or its expected bin.

    Or its value where it is expressed, of a model that was fine-tuned to tell that.
    Where the head is told a cell's batch, the mean over all of its batches.
    """
    if model.config.values_told is not None:
        return _values(model, model.config.values_told)
    told, num_genes = _told(model), model.vocabulary.num_genes
    encoder = cell_encoder.build_encoder(model.config.encoder)
    head = gene_query.build_gene_query_head(told.head, num_genes)
    batches = jnp.arange(told.head.num_batches or 1)

    def tell(batch: CellBatch) -> Float[Array, "cells genes"]:
        visible = gene_from_peaks.peaks_alone(batch)
        cells = encoder.apply(model.params, model.network_state, None, visible)[0].cells
        number = cells.shape[0]

        def ask(genes: Array, code: Array) -> Float[Array, "cells asked"]:
            asked = jnp.broadcast_to(genes, (number, len(genes)))
            codes = jnp.full(number, code)
            logits = head.apply(model.params, None, cells, asked, codes)
            return _expected(logits, told.log_odds)

        return gene_query.of_all_genes(
            lambda genes: jax.lax.map(lambda code: ask(genes, code), batches).mean(0),
            num_genes,
        )

    return tell


def _values(
    model: export.StoredModel, told: export.ValuesTold
) -> Callable[[CellBatch], Float[Array, "cells genes"]]:
    """batch -> the value of every gene."""
    task = GeneValues(
        GeneValuesTaskConfig(encoder=model.config.encoder, head=told.head)
    )
    return lambda batch: task.predict(model.params, model.network_state, batch)


def _expected(
    logits: Float[Array, "cells genes bins"], log_odds: float
) -> Float[Array, "cells genes"]:
    """Mean bin, with all but the silent one as rare as they are."""
    chances = jax.nn.softmax(logits.at[..., 1:].add(log_odds))
    return chances @ jnp.arange(logits.shape[-1], dtype=chances.dtype)


def _told(model: export.StoredModel) -> export.GenesTold:
    assert model.config.genes_told is not None, "asked where something is told"
    return model.config.genes_told

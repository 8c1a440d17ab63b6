"""What a training leaves behind: a stored model, and what it computes."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import sparse

from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.peak_tokens import PeakRows, PeakTokenConfig
from scmultimodal.data.shards import ShardedMatrix
from scmultimodal.data.sources import ArraySource, CellSource
from scmultimodal.data.store import Store
from scmultimodal.modules import cell_encoder
from scmultimodal.schemas.batches import CellBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.tasks.cell_type import CellTypeClassification, CellTypeConfig
from scmultimodal.tasks.count_splitting import CountSplitting, CountSplittingConfig
from scmultimodal.training import hosts
from scmultimodal.weights import export
from scmultimodal.workflows import expression, inference, peak_path

REFERENCE_CELLS = 4
PEAKS = "peaks"

Tree = export.Tree


def builder_for(source: CellSource, config: export.ModelConfig) -> BatchBuilder:
    """Makes batches as the model was trained on them."""
    return BatchBuilder(
        source,
        config.encoder.num_genes,
        tokens=config.encoder.tokens,
        buckets=config.buckets,
        feature_order=config.feature_order,
        atac_path=config.encoder.atac_path,
        peaks=config.peak_tokens or PeakTokenConfig(),
    )


def regime_of(modalities: tuple[Modality, ...]) -> Regime:
    """The batches that show all of these modalities."""
    return Regime.MULTIOME if len(modalities) == 2 else Regime(modalities[0].value)


def check_genes(store: Store, model: export.StoredModel) -> None:
    """Checks that the genes of a dataset are those of a model, in their order.

    Raises:
        InputError: they are others.
    """
    if not np.array_equal(store.vocabulary.gene_ids, model.vocabulary.gene_ids):
        raise InputError(
            store.path,
            "has other genes than the model, or in another order",
            "Prepare it with --vocabulary and the model",
        )


def take_trunk(fresh: Tree, trained: Tree) -> Tree:
    """Replaces the encoder's entries by the trained ones; heads stay fresh."""
    return {
        module: trained[module] if module.startswith("cell_encoder/") else leaves
        for module, leaves in fresh.items()
    }


def embed_function(
    model: export.StoredModel,
) -> Callable[[CellBatch], Float[Array, "cells dim"]]:
    """batch -> the cells' vectors."""
    encoder = cell_encoder.build_encoder(model.config.encoder)

    def embed(batch: CellBatch) -> Float[Array, "cells dim"]:
        return encoder.apply(model.params, model.network_state, None, batch)[0].cells

    return embed


def approximation_errors_function(
    model: export.StoredModel,
) -> Callable[[CellBatch], dict[str, Float[Array, " layers"]]]:
    """batch -> how far FAVOR+ is from softmax attention, by modality and layer.

    Raises:
        InputError: the model has no layer of FAVOR+.
    """
    path = model.config.encoder.path
    if path.attention != "favor" or not path.num_layers:
        raise InputError(
            "model",
            f"has {path.num_layers} layers of {path.attention} attention",
            "name one trained with --path.attention favor",
        )
    errors = cell_encoder.build_approximation_errors(model.config.encoder)
    return lambda batch: errors.apply(model.params, model.network_state, None, batch)[0]


def logits_function(
    model: export.StoredModel,
) -> Callable[[CellBatch], Float[Array, "cells classes"]]:
    """batch -> logits of the model's cell types."""
    task = CellTypeClassification(
        CellTypeConfig(encoder=model.config.encoder, head=model.config.head)
    )
    return lambda batch: task.predict(model.params, model.network_state, batch)


def shares_function(
    model: export.StoredModel, modality: Modality
) -> Callable[[CellBatch], Float[Array, "cells genes"]]:
    """batch -> the share that each gene is expected to have of a modality's counts.

    Raises:
        InputError: the model was not trained to tell counts.
    """
    if not model.tells_counts(modality):
        raise InputError(
            "model",
            f"was not trained to tell counts of {modality} from a cell's vector",
            "pre-train by `scmultimodal pretrain --preset best`, on cells that have it",
        )
    task = CountSplitting(
        CountSplittingConfig(encoder=model.config.encoder, decoder=model.config.decoder)
    )

    def shares(batch: CellBatch) -> Float[Array, "cells genes"]:
        found = task.predict(model.params, model.network_state, batch, (modality,))
        return jnp.exp(found[modality])

    return shares


def save(
    folder: Path,
    store: Store,
    config: export.ModelConfig,
    params: Tree,
    network_state: Tree,
) -> export.StoredModel:
    """Exports a trained model, with what it makes of a few training cells."""
    bins = _reference_input(store, config)
    model = export.StoredModel(
        config=config,
        vocabulary=store.vocabulary,
        params=params,
        network_state=network_state,
        reference=bins,
        peaks=peak_path.known_peaks(store, config.encoder),
    )
    model = dataclasses.replace(model, reference=bins | outputs(model, bins))
    if hosts.is_main():
        export.save(model, folder)
    return model


def outputs(
    model: export.StoredModel, reference: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What a model makes of the cells in a reference.

    Embedding, logits of cell types, and expression as open peaks tell it.
    """
    source = reference_source(model, reference)
    builder = builder_for(source, model.config)
    regime, cells = regime_of(source.modalities), np.arange(source.num_cells)
    functions = {"embedding": embed_function(model)}
    if model.config.head is not None:
        functions["logits"] = logits_function(model)
    if expression.tells_genes(model.config):
        functions["expression"] = expression.function(model)
    return {
        name: inference.over_cells(f, builder, cells, regime, batch_size=len(cells))
        for name, f in functions.items()
    }


def reference_source(
    model: export.StoredModel, reference: Mapping[str, np.ndarray]
) -> ArraySource:
    """The cells in a reference."""
    bins = {m: reference.get(m) for m in ("rna", "atac")}
    peaks = None
    if model.peaks is not None:
        opened = sparse.csr_matrix(reference[PEAKS])
        matrix = ShardedMatrix.in_memory(PEAKS, opened)
        peaks = PeakRows(matrix=matrix, vocabulary=model.peaks)
    return ArraySource(
        **{m: None if b is None else sparse.csr_matrix(b) for m, b in bins.items()},
        peaks=peaks,
    )


def _reference_input(store: Store, config: export.ModelConfig) -> dict[str, np.ndarray]:
    cells = store.split("train")
    for modality in config.modalities:
        cells = cells[store.present(modality)[cells]]
    cells = cells[:REFERENCE_CELLS]
    found = {m: store.rows(m, cells).toarray() for m in config.modalities}
    if config.encoder.peaks is not None:
        found[PEAKS] = store.peak_matrix().dense(cells)
    return found

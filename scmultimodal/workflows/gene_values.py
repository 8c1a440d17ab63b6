"""Fine-tuning of a model that reads peaks: how much of a gene does a cell have."""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int64

from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.rna_values import RnaValues
from scmultimodal.data.sampling import EpochSampler, Share, sequential_batches, spread
from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.evaluation import gene_values as scoring
from scmultimodal.modules.heads import gene_value
from scmultimodal.modules.heads.gene_query import GeneQueryConfig
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import CellBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.tasks.gene_values import GeneValues, GeneValuesTaskConfig
from scmultimodal.training import loop
from scmultimodal.training.optimizers import OptimizerConfig, shorten_warmup
from scmultimodal.weights import export
from scmultimodal.workflows import (
    expression,
    peak_path,
    pretrain_batches,
    provenance,
    trained,
)
from scmultimodal.workflows.gene_values_config import GeneValuesConfig

_LINE_CELLS = 50_000
_QUERIES = re.compile(r"(gene|query|norm|hidden|hidden_cell|hidden_query)")
"""Parts of the head that pre-training taught; what is past them told a bin."""


def run(
    store: Store,
    start: export.StoredModel,
    config: GeneValuesConfig,
    out: Path,
    *,
    from_scratch: bool = False,
) -> export.StoredModel:
    """Trains on the training cells that have RNA and ATAC; validates likewise.

    Args:
        store: prepared dataset with the peaks of the model.
        start: model whose trunk is taken, and what it asks about genes by; its shape
            alone with `from_scratch`.
        config: the numbers.
        out: folder for metrics, checkpoints and `model/`.
        from_scratch: begins with a fresh trunk: the control of pre-training.

    Raises:
        InputError: a model that reads no peaks, or other ones; cells without both.
    """
    check_start(start)
    trained.check_genes(store, start)
    peak_path.check_peaks(store, start)
    cells = {part: cells_of(store, part) for part in ("train", "validation")}
    builder = builder_for(store, start, config)
    task = _task(start, config, builder)
    lengths = builder.lengths(Regime.ATAC)
    sampler = EpochSampler(
        cells["train"], config.batch_size, seed=config.seed, lengths=lengths
    )
    example = builder.build(sampler.batch(0), Regime.ATAC)
    fresh = jax.jit(task.init)(jax.random.PRNGKey(config.seed), example)
    params, network_state = jax.device_get(fresh)
    if from_scratch:
        network_state = peak_path.with_dna_of(network_state, start.network_state)
    else:
        params = _with_queries(trained.take_trunk(params, start.params), start.params)
        network_state = trained.take_trunk(network_state, start.network_state)
    params = _with_line(params, builder, cells["train"])
    shown = builder.values.rows(cells["validation"]).getnnz(axis=0)
    judged = shown >= scoring.MIN_CELLS
    steps = max(config.epochs * sampler.batches_per_epoch, config.min_steps)
    every = max(steps // config.epochs, sampler.batches_per_epoch)
    result = loop.fit(
        task,
        train_batches=lambda step, share: builder.build(
            sampler.batch(step), Regime.ATAC, step=step, share=share
        ),
        validation_batches=lambda share: _validation(
            builder, cells["validation"], share
        ),
        config=loop.LoopConfig(
            num_steps=steps,
            seed=config.seed,
            evaluate_every=every,
            checkpoint_every=every,
            keep_best="mse",
            best_is="min",
            resume=config.resume,
        ),
        folder=out,
        optimizer=_optimizer(config, steps),
        initial=(params, network_state),
        run_config={
            "gene_values": configs.to_json(config),
            "from_scratch": from_scratch,
            "vocabulary": store.vocabulary.digest(),
            "peaks": peak_path.peaks_of(store).digest(),
        },
        running=config.running,
        derive=lambda means: {
            "mse": means["loss"],
            "gene_pearson": scoring.gene_pearson(means, judged),
        },
        describe=f"fine-tune expression{' from scratch' if from_scratch else ''}",
    )
    facts = provenance.of_model(store, stage="fine-tuned", best_step=result.best_step)
    return trained.save(
        out / "model",
        store,
        dataclasses.replace(
            start.config,
            encoder=task.config.encoder,
            head=None,
            classes=(),
            decoder=None,
            genes_told=None,
            values_told=export.ValuesTold(
                head=task.config.head, depth=builder.values.depth
            ),
            modalities=(Modality.ATAC.value,),
            provenance=facts,
        ),
        result.state.params,
        result.state.network_state,
    )


def check_start(model: export.StoredModel) -> None:
    """Raises InputError where a model reads no peaks, or was taken on already."""
    if model.peaks is None:
        raise InputError(
            "model",
            "reads gene-level ATAC and no peaks, which values are told from",
            f"Give one of {expression.HOW}",
        )
    if model.config.values_told is not None:
        raise InputError(
            "model",
            "was fine-tuned to tell values, and what pre-training asked by is gone",
            "Give the pre-trained one",
        )


def cells_of(store: Store, part: str) -> Int64[np.ndarray, " cells"]:
    """Cells of a split with RNA and ATAC.

    Raises:
        InputError: there is none.
    """
    cells = store.split(part)
    both = store.present(Modality.RNA)[cells] & store.present(Modality.ATAC)[cells]
    if not both.any():
        raise InputError(
            store.path,
            f"has no {part} cell with RNA and ATAC",
            "Give paired cells, and more of them",
        )
    return cells[both]


def builder_for(
    store: Store, start: export.StoredModel, config: GeneValuesConfig
) -> BatchBuilder:
    """Makes batches of peaks alone, and of the values that are to be told."""
    return dataclasses.replace(
        trained.builder_for(StoreSource(store), of_peaks_alone(start.config)),
        batches=pretrain_batches.batch_codes(store) if config.tell_batch else None,
        values=RnaValues.at_median_depth(store),
    )


def of_peaks_alone(config: export.ModelConfig) -> export.ModelConfig:
    """The trunk of peaks, without the gene-level ATAC that a model may read beside."""
    encoder = dataclasses.replace(config.encoder, atac_path="peak")
    return dataclasses.replace(config, encoder=encoder)


def _task(
    start: export.StoredModel, config: GeneValuesConfig, builder: BatchBuilder
) -> GeneValues:
    told, codes = start.config.genes_told, builder.batches
    head = dataclasses.replace(
        GeneQueryConfig() if told is None else told.head,
        num_bins=1,
        num_batches=None if codes is None else int(codes.max()) + 1,
    )
    return GeneValues(
        GeneValuesTaskConfig(
            encoder=of_peaks_alone(start.config).encoder,
            head=head,
            num_queries=config.num_queries,
            peak_dropout=config.peak_dropout,
        )
    )


def _with_queries(params: export.Tree, taught: export.Tree) -> export.Tree:
    """Asks about genes as pre-training did, where it did."""
    before, after = "gene_query_head/", f"{gene_value.NAME}/gene_query_head/"
    taken = {
        after + name.removeprefix(before): leaves
        for name, leaves in taught.items()
        if name.startswith(before) and _QUERIES.fullmatch(name.removeprefix(before))
    }
    return {**params, **taken}


def _with_line(
    params: export.Tree, builder: BatchBuilder, cells: Int64[np.ndarray, " cells"]
) -> export.Tree:
    """Begins as what is simple: a gene's mean, and the open peaks of the cell."""
    assert builder.values is not None, "the builder tells values"
    cells = spread(cells, _LINE_CELLS)
    shown = builder.lengths(Regime.ATAC)[cells]
    line = scoring.Line.fit(builder.values.rows(cells), shown)
    begun = {
        "offset": jnp.asarray(line.offset),
        "depth_scale": jnp.asarray(line.depth_scale, jnp.float32),
    }
    return {**params, gene_value.NAME: begun}


def _optimizer(config: GeneValuesConfig, steps: int) -> OptimizerConfig:
    whole = shorten_warmup(config.optimizer, steps)
    if not config.frozen:
        return whole
    rates = ((r"cell_encoder/.*", 0.0), (r".*", 1.0))
    return dataclasses.replace(whole, rates=rates)


def _validation(
    builder: BatchBuilder, cells: Int64[np.ndarray, " cells"], share: Share
) -> Iterable[CellBatch]:
    lengths = builder.lengths(Regime.ATAC)
    for rows in sequential_batches(cells, 256, lengths=lengths):
        yield builder.build(rows, Regime.ATAC, share=share)

"""Further training of a model that reads peaks, by which batches leave its vectors.

What tells expression is told the batch of a cell (EpiFoundation), so that the vector
need not know it; an adversary drives what it knows all the same out of it.
"""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from jaxtyping import Int64

from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.sampling import EpochSampler, Share, sequential_batches
from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.modules.heads.gene_query import GeneQueryConfig
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import CellBatch
from scmultimodal.schemas.errors import check_rules
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.tasks.batch_adversary import BatchAdversary, BatchAdversaryConfig
from scmultimodal.tasks.combined import Combined
from scmultimodal.tasks.gene_from_peaks import GeneFromPeaks
from scmultimodal.tasks.task import Task
from scmultimodal.training import loop
from scmultimodal.training.config import RunningConfig
from scmultimodal.training.optimizers import OptimizerConfig, shorten_warmup
from scmultimodal.weights import export
from scmultimodal.workflows import (
    expression,
    gene_values,
    peak_path,
    pretrain_batches,
    provenance,
    trained,
)
from scmultimodal.workflows.peak_path import GeneFromPeaksOptions

_OF_BATCHES = re.compile(r"gene_query_head/batch$|adversary_")
"""Modules that know batches by their numbers in other data."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchCorrectionConfig:
    """How batches leave the vectors.

    Attributes:
        adversary: strength of the gradient that keeps a cell's batch (`obs["batch"]`)
            out of its vector; 0 leaves that to telling it to what answers.
        num_queries: genes that a cell is asked about in a step; None asks about all.
        peak_dropout: share of the open peaks hidden in training.
        steps: updates in all.
        batch_size: cells of a batch over all devices.
        evaluate_every: steps between validations; None validates at the end.
        resume: "auto" goes on where the folder has a checkpoint.
        seed: of new parameters, batches, queries and dropout.
        optimizer: AdamW; the warm-up takes at most a quarter of the steps.
        running: how it runs; changes nothing that is learned, but for rounding.
    """

    adversary: float = 1.0
    num_queries: int | None = 256
    peak_dropout: float = 0.3
    steps: int = 200
    batch_size: int = 128
    evaluate_every: int | None = None
    resume: Literal["auto", "never"] = "auto"
    seed: int = 0
    optimizer: OptimizerConfig = dataclasses.field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=1e-3, warmup_steps=30, weight_decay=1e-2
        )
    )
    running: RunningConfig = dataclasses.field(default_factory=RunningConfig)

    def __post_init__(self):
        """Raises InputError for values out of range."""
        rules = {
            "adversary": (self.adversary >= 0, "0 or more"),
            "num_queries": (self.num_queries is None or self.num_queries > 1, "2 on"),
            "peak_dropout": (0 <= self.peak_dropout < 1, "0 to below 1"),
            "steps": (self.steps > 0, "1 on"),
            "batch_size": (self.batch_size > 0, "1 on"),
        }
        check_rules(self, rules)


def run(
    store: Store, start: export.StoredModel, config: BatchCorrectionConfig, out: Path
) -> export.StoredModel:
    """Goes on with pre-training on the training cells that have RNA and ATAC.

    Writes metrics, checkpoints and `model/` into `out`. The model reads ATAC alone.

    Args:
        store: prepared dataset with batches, and with the peaks of the model.
        start: model to go on from, with what tells genes where it has that.
        config: the numbers.
        out: the folder.

    Raises:
        InputError: a model that reads no peaks, or other ones; cells without both, or
            of one batch.
    """
    gene_values.check_start(start)
    trained.check_genes(store, start)
    peak_path.check_peaks(store, start)
    codes = pretrain_batches.batch_codes(store)
    alone = gene_values.of_peaks_alone(start.config)
    builder = dataclasses.replace(
        trained.builder_for(StoreSource(store, codes), alone), batches=codes
    )
    genes = _genes(store, alone, config, num_batches=int(codes.max()) + 1)
    task = _with_adversary(genes, config)
    cells = {p: gene_values.cells_of(store, p) for p in ("train", "validation")}
    sampler = EpochSampler(
        cells["train"],
        config.batch_size,
        seed=config.seed,
        lengths=builder.lengths(Regime.MULTIOME),
    )
    example = builder.build(sampler.batch(0), Regime.MULTIOME, with_labels=True)
    fresh = jax.jit(task.init)(jax.random.PRNGKey(config.seed), example)
    params, network_state = jax.device_get(fresh)
    result = loop.fit(
        task,
        train_batches=lambda step, share: builder.build(
            sampler.batch(step),
            Regime.MULTIOME,
            step=step,
            with_labels=True,
            share=share,
        ),
        validation_batches=lambda share: _validation(
            builder, cells["validation"], share
        ),
        config=loop.LoopConfig(
            num_steps=config.steps,
            seed=config.seed,
            evaluate_every=config.evaluate_every,
            resume=config.resume,
        ),
        folder=out,
        optimizer=shorten_warmup(config.optimizer, config.steps),
        initial=(
            _taken(params, start.params),
            trained.take_trunk(network_state, start.network_state),
        ),
        run_config={
            "batch_correction": configs.to_json(config),
            "vocabulary": store.vocabulary.digest(),
            "peaks": peak_path.peaks_of(store).digest(),
        },
        running=config.running,
        describe="correct batches",
    )
    return trained.save(
        out / "model",
        store,
        dataclasses.replace(
            alone,
            head=None,
            classes=(),
            decoder=None,
            values_told=None,
            genes_told=expression.genes_told(store, cells["train"], genes.config),
            modalities=(Modality.ATAC.value,),
            provenance=provenance.of_model(
                store, stage="batch-corrected", steps=config.steps
            ),
        ),
        result.state.params,
        result.state.network_state,
    )


def _genes(
    store: Store,
    alone: export.ModelConfig,
    config: BatchCorrectionConfig,
    *,
    num_batches: int,
) -> GeneFromPeaks:
    """Telling expression, as pre-training did, with the batch known."""
    told = alone.genes_told
    options = GeneFromPeaksOptions(
        weight=1.0,
        head=GeneQueryConfig() if told is None else told.head,
        num_queries=config.num_queries,
        peak_dropout=config.peak_dropout,
    )
    return peak_path.task(store, alone.encoder, options, num_batches=num_batches)


def _with_adversary(genes: GeneFromPeaks, config: BatchCorrectionConfig) -> Task:
    number = genes.config.head.num_batches
    if not config.adversary or number is None:
        return genes
    adversary = BatchAdversary(
        BatchAdversaryConfig(
            encoder=genes.config.encoder,
            num_batches=number,
            strength=config.adversary,
            peaks_alone=True,
        )
    )
    return Combined({"gene_from_peaks": (genes, 1.0), "adversary": (adversary, 1.0)})


def _taken(fresh: export.Tree, taught: export.Tree) -> export.Tree:
    """All that pre-training taught, but for batches: those of other data are others."""
    return {
        module: taught[module]
        if module in taught and not _OF_BATCHES.match(module)
        else leaves
        for module, leaves in fresh.items()
    }


def _validation(
    builder: BatchBuilder, cells: Int64[np.ndarray, " cells"], share: Share
) -> Iterable[CellBatch]:
    lengths = builder.lengths(Regime.MULTIOME)
    for rows in sequential_batches(cells, 256, lengths=lengths):
        yield builder.build(rows, Regime.MULTIOME, with_labels=True, share=share)

"""Fine-tuning of an encoder of DNA by ranking regions, and what it then says."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float32, Integer

from scmultimodal.data.region_loading import RegionBatchBuilder
from scmultimodal.data.region_store import RegionStore
from scmultimodal.data.sampling import (
    EpochSampler,
    Share,
    sequential_batches,
)
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import RegionBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.tasks.region_ranking import RegionRanking, RegionRankingConfig
from scmultimodal.training import hosts, loop, parallel
from scmultimodal.training.optimizers import OptimizerConfig, shorten_warmup
from scmultimodal.weights import genome_model
from scmultimodal.weights.genome_model import GenomeModelConfig, StoredGenomeModel
from scmultimodal.workflows import dry_run, genome_inference, provenance
from scmultimodal.workflows.ranking_config import RankingConfig

SCORED_AT_ONCE = 4_096
"""Sequences that are turned and kept in memory together."""


def run(
    store: RegionStore,
    config: RankingConfig,
    out: Path,
    *,
    start: StoredGenomeModel | None = None,
    train: Integer[np.ndarray, " shown"] | None = None,
    validation: Integer[np.ndarray, " judged"] | None = None,
    describe: str = "rank",
) -> StoredGenomeModel:
    """Trains encoder and head to order the regions of spans.

    Writes metrics, checkpoints and `model/` into `out`.

    Args:
        store: prepared spans.
        config: the numbers.
        out: the run folder.
        start: whose encoder to start from; None starts afresh. The head is always new,
            so that heads are compared on equal terms.
        train: rows of the store; None takes its training spans.
        validation: rows of the store; None takes its validation spans.
        describe: what the progress bar says.

    Raises:
        InputError: no span to train on, or another vocabulary than the encoder's.
    """
    train = store.split("train") if train is None else train
    validation = store.split("validation") if validation is None else validation
    if not len(train):
        raise InputError(store.path, "has no training span", "prepare more spans")
    builder = make_builder(store, config, start)
    task = make_task(config, start)
    sampler = EpochSampler(train, config.batch_size, seed=config.seed)
    result = loop.fit(
        task,
        train_batches=lambda step, share: builder.build(
            sampler.batch(step), step=step, share=share
        ),
        validation_batches=(
            (lambda share: in_order(builder, validation, config.batch_size, share))
            if len(validation)
            else None
        ),
        config=loop.LoopConfig(
            num_steps=config.steps,
            seed=config.seed,
            evaluate_every=config.evaluate_every,
            checkpoint_every=config.checkpoint_every,
            keep_best=config.keep_best if len(validation) else None,
            resume=config.resume,
        ),
        folder=out,
        optimizer=optimizer_of(config, task.config.encoder.num_layers),
        initial=_initial(task, builder, train, config, start),
        run_config={
            "ranking": configs.to_json(config),
            "spans": {
                name: store.manifest["files"][name]
                for name in ("tokens.npy", "values.npy")
            },
            "train": provenance.digest(train),
            "validation": provenance.digest(validation),
            "start": None
            if start is None
            else provenance.digest(*jax.tree.leaves(start.params)),
        },
        running=config.running,
        describe=describe,
    )
    model = genome_inference.with_reference(
        GenomeModelConfig(
            encoder=task.config.encoder,
            tokens=builder.tokenizer.version,
            k=builder.tokenizer.k,
            scorer=config.scorer,
            num_tokens=builder.num_tokens,
            turning=config.turning,
            provenance={
                **provenance.of_code(),
                "stage": "ranked",
                "spans": store.manifest["provenance"],
                "start": None if start is None else start.config.provenance,
            },
        ),
        jax.device_get(result.state.params),
    )
    if hosts.is_main():
        genome_model.save(model, out / "model")
    return model


def plan(
    store: RegionStore,
    config: RankingConfig,
    *,
    start: StoredGenomeModel | None = None,
) -> dry_run.Plan:
    """What `run` on the training spans would take; nothing is started or written."""
    train = store.split("train")
    if not len(train):
        raise InputError(store.path, "has no training span", "prepare more spans")
    task = make_task(config, start)
    return dry_run.plan(
        task,
        make_builder(store, config, start).build(
            np.resize(train, config.batch_size),
            step=0,
            share=parallel.share_of_host(),
        ),
        optimizer=optimizer_of(config, task.config.encoder.num_layers),
        running=config.running,
        steps=config.steps,
        steps_per_epoch=len(train) / config.batch_size,
    )


def make_task(config: RankingConfig, start: StoredGenomeModel | None) -> RegionRanking:
    """The objective. An encoder that is started from is computed as `shape` says."""
    encoder = config.shape
    if start is not None:
        encoder = dataclasses.replace(
            start.config.encoder, dtype=encoder.dtype, remat=encoder.remat
        )
    return RegionRanking(
        RegionRankingConfig(
            encoder=encoder,
            scorer=config.scorer,
            loss=config.loss,
            labels=config.labels,
            l2=config.l2,
        )
    )


def make_builder(
    store: RegionStore, config: RankingConfig, start: StoredGenomeModel | None
) -> RegionBatchBuilder:
    """Makes batches of prepared spans, for a vocabulary that the encoder knows.

    Raises:
        InputError: the spans have other tokens than the encoder.
    """
    tokenizer = store.tokenizer
    encoder = config.shape if start is None else start.config.encoder
    if encoder.vocabulary_size != tokenizer.vocabulary_size:
        raise InputError(
            store.path,
            f"has {tokenizer.vocabulary_size} tokens, and the encoder "
            f"{encoder.vocabulary_size}",
            "prepare the spans with the vocabulary of the encoder",
        )
    return RegionBatchBuilder(store, tokenizer, config.turning, seed=config.seed)


def in_order(
    builder: RegionBatchBuilder,
    spans: Integer[np.ndarray, " spans"],
    batch_size: int,
    share: Share,
) -> Iterable[RegionBatch]:
    """All spans once, in the first view: the part of each batch that is asked for."""
    for rows in sequential_batches(spans, batch_size):
        yield builder.build(rows, share=share)


def optimizer_of(config: RankingConfig, num_layers: int) -> OptimizerConfig:
    """The optimiser, with the rates of a frozen encoder or of one layer by layer."""
    optimizer = shorten_warmup(config.optimizer, config.steps)
    if config.encoder == "frozen":
        rates = (("nucleotide_transformer/.*", 0.0), (".*", 1.0))
    elif config.layer_decay < 1:
        layers = (
            (
                f"nucleotide_transformer/layer_{i}/.*",
                config.layer_decay ** (num_layers - i),
            )
            for i in range(num_layers)
        )
        below = config.layer_decay ** (num_layers + 1)
        rates = (*layers, ("nucleotide_transformer/.*embedding.*", below), (".*", 1.0))
    else:
        return optimizer
    return dataclasses.replace(optimizer, rates=rates)


def scores(
    model: StoredGenomeModel,
    builder: RegionBatchBuilder,
    spans: Integer[np.ndarray, " spans"],
    *,
    batch_size: int = 192,
) -> Float32[np.ndarray, "spans regions"]:
    """Scores of spans, the mean over every view that the builder has of them."""
    different, where = builder.store.sequences(spans)
    found = np.zeros(len(different), np.float32)
    for first in range(0, len(different), SCORED_AT_ONCE):
        part = slice(first, first + SCORED_AT_ONCE)
        views = [
            genome_inference.score(model, ids, batch_size=batch_size)
            for ids in builder.views(different[part])
        ]
        found[part] = np.mean(views, axis=0)
    return found[where]


def _initial(
    task: RegionRanking,
    builder: RegionBatchBuilder,
    spans: Integer[np.ndarray, " spans"],
    config: RankingConfig,
    start: StoredGenomeModel | None,
) -> tuple[genome_model.Tree, genome_model.Tree]:
    """Fresh parameters, the encoder of `start` in its place."""
    example = builder.build(spans[:1])
    fresh = jax.jit(task.init)(jax.random.PRNGKey(config.seed), example)
    params, network_state = jax.device_get(fresh)
    if start is not None:
        taken = {name: start.params[name] for name in params if _of_encoder(name)}
        params = {**params, **taken}
    return params, network_state


def _of_encoder(module: str) -> bool:
    return module.split("/")[0] == "nucleotide_transformer"

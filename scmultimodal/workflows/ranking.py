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
from scmultimodal.modules.heads import accessibility
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import RegionBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.tasks.region_ranking import RegionRanking, RegionRankingConfig
from scmultimodal.training import hosts, loop, parallel
from scmultimodal.training.optimizers import OptimizerConfig, shorten_warmup
from scmultimodal.weights import genome_model
from scmultimodal.weights.folder import Tree
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
        start: whose encoder to start from; None starts afresh. The head is new, so
            that heads are compared on equal terms, but where cell types are added.
        train: rows of the store; None takes its training spans.
        validation: rows of the store; None takes its validation spans.
        describe: what the progress bar says.

    Raises:
        InputError: no span to train on, another vocabulary than the encoder's, or cell
            types to add that the model has, or to a model without any.
    """
    train = store.split("train") if train is None else train
    validation = store.split("validation") if validation is None else validation
    if not len(train):
        raise InputError(store.path, "has no training span", "prepare more spans")
    cell_types = cell_types_of(store, config, start)
    builder = make_builder(store, config, start, cell_types)
    task = make_task(config, start, cell_types)
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
        optimizer=optimizer_of(
            config, task.config.encoder.num_layers, start, cell_types
        ),
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
            scorer=task.config.scorer,
            num_tokens=builder.num_tokens,
            cell_types=cell_types,
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
    cell_types = cell_types_of(store, config, start)
    task = make_task(config, start, cell_types)
    return dry_run.plan(
        task,
        make_builder(store, config, start, cell_types).build(
            np.resize(train, config.batch_size),
            step=0,
            share=parallel.share_of_host(),
        ),
        optimizer=optimizer_of(
            config, task.config.encoder.num_layers, start, cell_types
        ),
        running=config.running,
        steps=config.steps,
        steps_per_epoch=len(train) / config.batch_size,
    )


def cell_types_of(
    store: RegionStore, config: RankingConfig, start: StoredGenomeModel | None
) -> tuple[str, ...]:
    """Names of the scorer's outputs; none where one score is for all.

    Raises:
        InputError: cell types are to be added, and the model has them, or has none.
    """
    if config.outputs == "shared":
        return ()
    if config.outputs == "per_cell_type":
        return store.samples
    if start is None or not start.config.cell_types:
        raise InputError(
            "outputs",
            "is 'added', and there is no model with cell types to add to",
            "Start from one that was trained with --outputs per_cell_type",
        )
    # What is shown must stay as it was, or scores of the old would not.
    turned = start.config.turning
    if config.turning != turned:
        raise InputError(
            "turning",
            f"is {config.turning}, and the model was trained with {turned}",
            "Give the same --turning flags",
        )
    prepared = start.config.turner.prepared_tokens
    if store.manifest["num_tokens"] != prepared:
        raise InputError(
            store.path,
            f"has {store.manifest['num_tokens']} tokens a region, and the head of the "
            f"model reads {prepared}",
            f"Prepare the spans with --num-tokens {prepared}",
        )
    if known := sorted(set(store.samples) & set(start.config.cell_types)):
        raise InputError(
            store.path,
            f"has {known[0]!r}, which the model knows already",
            "Prepare spans of new cell types alone, or name them otherwise",
        )
    return (*start.config.cell_types, *store.samples)


def make_task(
    config: RankingConfig,
    start: StoredGenomeModel | None,
    cell_types: tuple[str, ...] = (),
) -> RegionRanking:
    """The objective. An encoder that is started from is computed as `shape` says."""
    encoder = config.shape
    if start is not None:
        encoder = dataclasses.replace(
            start.config.encoder, dtype=encoder.dtype, remat=encoder.remat
        )
    scorer = config.scorer
    if config.outputs == "added" and start is not None and start.config.scorer:
        scorer = start.config.scorer
    scorer = dataclasses.replace(scorer, outputs=len(cell_types) or None)
    return RegionRanking(
        RegionRankingConfig(
            encoder=encoder,
            scorer=scorer,
            loss=config.loss,
            labels=config.labels,
            l2=config.l2,
        )
    )


def make_builder(
    store: RegionStore,
    config: RankingConfig,
    start: StoredGenomeModel | None,
    cell_types: tuple[str, ...] = (),
) -> RegionBatchBuilder:
    """Makes batches of prepared spans, for a vocabulary that the encoder knows.

    Spans are of the outputs of their cell types, where these are given.

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
    outputs = [cell_types.index(name) for name in store.samples] if cell_types else None
    return RegionBatchBuilder(
        store, tokenizer, config.turning, seed=config.seed, outputs=outputs
    )


def in_order(
    builder: RegionBatchBuilder,
    spans: Integer[np.ndarray, " spans"],
    batch_size: int,
    share: Share,
) -> Iterable[RegionBatch]:
    """All spans once, in the first view: the part of each batch that is asked for."""
    for rows in sequential_batches(spans, batch_size):
        yield builder.build(rows, share=share)


def optimizer_of(
    config: RankingConfig,
    num_layers: int,
    start: StoredGenomeModel | None = None,
    cell_types: tuple[str, ...] = (),
) -> OptimizerConfig:
    """The optimiser, with the rates of what is frozen, or of layer by layer."""
    optimizer = shorten_warmup(config.optimizer, config.steps)
    if config.outputs == "added":
        known = 0 if start is None else len(start.config.cell_types)
        new = (accessibility.output_name(i) for i in range(known, len(cell_types)))
        added = ((f"{accessibility.NAME}/{name}/.*", 1.0) for name in new)
        rates = (*added, (".*", 0.0))
    elif config.encoder == "frozen":
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
    """Scores of spans, the mean over every view that the builder has of them.

    Where the model has a score for each cell type, spans have that of theirs.

    Raises:
        InputError: a cell type that the model does not know.
    """
    different, where = builder.store.sequences(spans)
    outputs = _outputs(model, builder.store)[builder.store.spans.sample_index[spans]]
    found = np.zeros((len(different), model.config.scorer.outputs or 1), np.float32)
    for first in range(0, len(different), SCORED_AT_ONCE):
        part = slice(first, first + SCORED_AT_ONCE)
        views = [
            genome_inference.score(model, ids, batch_size=batch_size)
            for ids in builder.views(different[part])
        ]
        found[part] = np.mean(views, axis=0)
    return found[where, outputs[:, None]]


def _outputs(
    model: StoredGenomeModel, store: RegionStore
) -> Integer[np.ndarray, " samples"]:
    """The model's output for each sample of a store."""
    known = model.config.cell_types
    if not known:
        return np.zeros(len(store.samples), np.int64)
    if missing := [name for name in store.samples if name not in known]:
        raise InputError(
            store.path,
            f"has {missing[0]!r}, which the model does not know",
            f"It knows {', '.join(known[:5])}; train --outputs added for further ones",
        )
    return np.array([known.index(name) for name in store.samples], np.int64)


def _initial(
    task: RegionRanking,
    builder: RegionBatchBuilder,
    spans: Integer[np.ndarray, " spans"],
    config: RankingConfig,
    start: StoredGenomeModel | None,
) -> tuple[Tree, Tree]:
    """Fresh parameters, what is taken of `start` in its place."""
    example = builder.build(spans[:1])
    fresh = jax.jit(task.init)(jax.random.PRNGKey(config.seed), example)
    params, network_state = jax.device_get(fresh)
    if start is not None:
        whole = config.outputs == "added"
        taken = {
            name: start.params[name]
            for name in params
            if name in start.params and (whole or _of_encoder(name))
        }
        params = {**params, **taken}
    return params, network_state


def _of_encoder(module: str) -> bool:
    return module.split("/")[0] == "nucleotide_transformer"

"""Mixed-modality pre-training on the training cells of a prepared dataset."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.sampling import spread
from scmultimodal.data.store import Store
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.tasks.task import Task
from scmultimodal.training import loop, parallel
from scmultimodal.training.optimizers import shorten_warmup
from scmultimodal.weights import export
from scmultimodal.workflows import (
    dry_run,
    expression,
    peak_path,
    pretrain_batches,
    pretrain_tasks,
    provenance,
    trained,
)
from scmultimodal.workflows.pretrain_config import PretrainConfig

_PROFILE_CELLS = 10_000


def run(store: Store, config: PretrainConfig, out: Path) -> export.StoredModel:
    """Pre-trains on the training cells; validates on the validation cells.

    Writes metrics, checkpoints and `model/` into `out`.
    """
    task = pretrain_tasks.make_task(store, config)
    builder = pretrain_batches.make_builder(store, config)
    result = loop.fit(
        task,
        train_batches=pretrain_batches.mixed_batches(store, builder, config),
        validation_batches=pretrain_batches.validation_batches(store, builder, config),
        config=loop.LoopConfig(
            num_steps=config.steps,
            seed=config.seed,
            evaluate_every=config.evaluate_every,
            checkpoint_every=config.checkpoint_every,
            resume=config.resume,
        ),
        folder=out,
        optimizer=shorten_warmup(config.optimizer, config.steps),
        initial=initial(task, store, builder, config),
        run_config={
            "pretrain": written(config),
            "vocabulary": store.vocabulary.digest(),
        },
        running=config.running,
        describe="pre-train",
    )
    state = result.state
    return trained.save(
        out / "model",
        store,
        _model_config(store, config, stage="pre-trained", steps=config.steps),
        state.params,
        state.network_state,
    )


def written(config: PretrainConfig) -> dict[str, Any]:
    """The numbers that a resume compares; of a file not where it lies, but what it is.

    Raises:
        InputError: the file is not there.
    """
    numbers, dna = configs.to_json(config), config.peaks.dna
    if dna is not None:
        if not dna.is_file():
            raise InputError(dna, "is no file", "Make it with `encode-peaks`")
        numbers["peaks"]["dna"] = provenance.of_file(dna)["sha256"]
    return numbers


def untrained(store: Store, config: PretrainConfig) -> export.StoredModel:
    """The model that `run` starts from: what a classifier from scratch is shaped by."""
    task = pretrain_tasks.make_task(store, config)
    fresh = initial(task, store, pretrain_batches.make_builder(store, config), config)
    params, network_state = jax.device_get(fresh)
    return export.StoredModel(
        config=_model_config(store, config, stage="untrained"),
        vocabulary=store.vocabulary,
        params=params,
        network_state=network_state,
        peaks=peak_path.known_peaks(
            store, pretrain_tasks.encoder_config(store, config)
        ),
    )


def _model_config(
    store: Store, config: PretrainConfig, **facts: Any
) -> export.ModelConfig:
    return export.ModelConfig(
        encoder=pretrain_tasks.encoder_config(store, config),
        decoder=config.decoder if config.count_weight else None,
        genes_told=_genes_told(store, config),
        modalities=tuple(
            m.value for m in pretrain_batches.modalities_of(store, config)
        ),
        feature_order=config.feature_order,
        buckets=config.buckets,
        peak_tokens=None if config.atac_path == "gene" else config.peaks.tokens,
        provenance=provenance.of_model(store, **facts),
    )


def _genes_told(store: Store, config: PretrainConfig) -> export.GenesTold | None:
    """What was trained to tell genes from peaks; None where no cell shows both."""
    paired = pretrain_batches.cells_to_train_on(store, config).get(Regime.MULTIOME)
    if not config.gene_from_peaks.weight or paired is None:
        return None
    told = pretrain_tasks.gene_from_peaks(store, config).config
    return expression.genes_told(store, paired, told)


def plan(store: Store, config: PretrainConfig) -> dry_run.Plan:
    """What the training would take; nothing is started and nothing is written.

    The step is that of a batch of cells that have all modalities, with as many tokens
    as a batch may have.
    """
    builder = pretrain_batches.make_builder(store, config)
    cells = pretrain_batches.cells_to_train_on(store, config)
    regime = max(cells, key=lambda regime: len(regime.modalities))
    chosen = cells[regime]
    chosen = chosen[np.argsort(-builder.lengths(regime)[chosen], kind="stable")]
    example = builder.build(
        np.resize(chosen, config.batch_size),
        regime,
        share=parallel.share_of_host(),
        with_labels=config.with_labels,
    )
    paths = np.mean([len(regime.modalities) for regime in cells])
    return dry_run.plan(
        pretrain_tasks.make_task(store, config),
        example,
        optimizer=shorten_warmup(config.optimizer, config.steps),
        running=config.running,
        steps=config.steps,
        average=float(paths) / len(regime.modalities),
        steps_per_epoch=sum(map(len, cells.values())) / config.batch_size,
    )


def initial(
    task: Task,
    store: Store,
    builder: BatchBuilder,
    config: PretrainConfig,
) -> tuple[Any, Any]:
    """Fresh parameters of every path and head that the dataset can train.

    The first batch may show one modality alone, so they are declared with a batch of
    a cell that shows all.
    """
    modalities = pretrain_batches.modalities_of(store, config)
    regime = trained.regime_of(modalities)
    cells = store.split("train")
    batch = builder.build(cells[:1], regime)
    params, state = jax.jit(task.init)(jax.random.PRNGKey(config.seed), batch)
    if config.count_weight:
        params = _with_mean_profile(params, store, modalities, cells)
    if config.gene_from_peaks.weight and config.gene_from_peaks.loadings:
        params = peak_path.with_loadings(params, store, config.gene_from_peaks)
    return params, peak_path.with_dna(state, store, config.peaks)


def _with_mean_profile(
    params: Any, store: Store, modalities: Iterable[Modality], cells: np.ndarray
) -> Any:
    """Begins the decoder at the mean of training cells: it learns what differs."""
    params = dict(params)
    for modality in modalities:
        if f"count_decoder/{modality}_genes" not in params:  # ATAC, by peaks alone.
            continue
        has = spread(cells[store.present(modality)[cells]], _PROFILE_CELLS)
        sums = np.asarray(store.rows(modality, has).sum(0, dtype=np.float64)).ravel()
        name = f"count_decoder/{modality}_genes"
        shares = np.log((sums + 1) / (sums + 1).sum())
        params[name] = {**params[name], "b": jnp.asarray(shares, jnp.float32)}
    return params

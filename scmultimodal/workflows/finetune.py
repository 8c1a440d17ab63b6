"""Cell-type fine-tuning of a pre-trained model, or training from scratch."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import jax

from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.sampling import EpochSampler, Share, sequential_batches
from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import CellBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.tasks.cell_type import CellTypeClassification, CellTypeConfig
from scmultimodal.training import loop
from scmultimodal.weights import export
from scmultimodal.workflows import (
    finetune_cells,
    finetune_rates,
    finetune_skip,
    peak_path,
    provenance,
    trained,
)
from scmultimodal.workflows.finetune_config import FinetuneConfig


def run(
    store: Store,
    start: export.StoredModel,
    config: FinetuneConfig,
    regime: Regime,
    out: Path,
    *,
    from_scratch: bool = False,
) -> export.StoredModel:
    """Trains the classifier on the labelled training cells that have the modalities.

    Args:
        store: prepared dataset with labels.
        start: model whose trunk is taken; its shape alone with `from_scratch`.
        config: the numbers.
        regime: the modalities that the classifier sees.
        out: folder for metrics, checkpoints and `model/`.
        from_scratch: begins with a fresh trunk: the control of pre-training.
    """
    trained.check_genes(store, start)
    peak_path.check_peaks(store, start)
    finetune_skip.check_paired(start, config, regime)
    _check_thinning(store, config)
    task = _task(store, start, config)
    encoder = start.config.encoder
    cells, labels = finetune_cells.shown(store, regime, config, encoder)
    builder = trained.builder_for(StoreSource(store, labels), start.config)
    lengths = builder.lengths(regime)
    sampler = EpochSampler(cells, config.batch_size, seed=config.seed, lengths=lengths)
    example = builder.build(sampler.batch(0), regime, with_labels=True)
    fresh = jax.jit(task.init)(jax.random.PRNGKey(config.seed), example)
    params, network_state = jax.device_get(fresh)
    if not from_scratch:
        params = trained.take_trunk(params, start.params)
        network_state = trained.take_trunk(network_state, start.network_state)
    else:
        network_state = peak_path.with_dna_of(network_state, start.network_state)
    if config.naive_bayes:
        read = finetune_cells.read_counts(store, regime, cells, encoder)
        params = finetune_skip.with_naive_bayes(
            params, read, labels[cells], len(store.label_names), config.naive_bayes
        )
    if config.paired:
        params = finetune_skip.with_paired(params, store, cells, labels, config)
    steps = max(config.epochs * sampler.batches_per_epoch, config.min_steps)
    every = max(steps // config.epochs, sampler.batches_per_epoch)
    result = loop.fit(
        task,
        train_batches=lambda step, share: builder.build(
            sampler.batch(step), regime, step=step, with_labels=True, share=share
        ),
        validation_batches=lambda share: _validation(
            store, builder, regime, config, share
        ),
        config=loop.LoopConfig(
            num_steps=steps,
            seed=config.seed,
            evaluate_every=every,
            checkpoint_every=every,
            keep_best="accuracy",
            resume=config.resume,
        ),
        folder=out,
        optimizer=finetune_rates.optimizer(config, steps, encoder, regime.modalities),
        initial=(params, network_state),
        run_config={
            "finetune": configs.to_json(config),
            "regime": regime,
            "from_scratch": from_scratch,
            "vocabulary": store.vocabulary.digest(),
            **({} if start.peaks is None else {"peaks": start.peaks.digest()}),
        },
        running=config.running,
        describe=f"fine-tune {regime}{' from scratch' if from_scratch else ''}",
    )
    return trained.save(
        out / "model",
        store,
        dataclasses.replace(
            _of_what_is_shown(start.config, regime),
            head=task.config.head,
            decoder=None,
            genes_told=None,
            values_told=None,
            classes=store.label_names,
            modalities=tuple(m.value for m in regime.modalities),
            provenance=provenance.of_model(
                store, stage="fine-tuned", best_step=result.best_step
            ),
        ),
        result.state.params,
        result.state.network_state,
    )


def _of_what_is_shown(config: export.ModelConfig, regime: Regime) -> export.ModelConfig:
    """Without the path of peaks where no ATAC is shown: nothing of it was taken on."""
    if Modality.ATAC in regime.modalities:
        return config
    encoder = dataclasses.replace(
        config.encoder, atac_path="gene", peaks=None, peak_joint="mean"
    )
    return dataclasses.replace(config, encoder=encoder, peak_tokens=None)


def _task(
    store: Store, start: export.StoredModel, config: FinetuneConfig
) -> CellTypeClassification:
    reads = "tokens" if start.config.encoder.peaks is None else "vector"
    if len(store.label_names) < 2:
        known = ", ".join(store.label_names) or "none"
        raise InputError(
            store.path,
            f"has cells of fewer than two types ({known})",
            "Give more cells, or a --label with more types",
        )
    head = CellTypeHeadConfig(
        num_classes=len(store.label_names),
        hidden=config.hidden,
        dropout=config.dropout,
        silent_genes=config.silent_genes,
        # A vector is read whole: it has no tokens that could weigh.
        by_value=config.by_value and reads == "tokens",
        skip=config.skip,
        root_skip=bool(config.paired),
        reads=reads,
    )
    return CellTypeClassification(
        CellTypeConfig(
            encoder=start.config.encoder,
            head=head,
            token_dropout=config.token_dropout,
            thinning=config.thinning,
            cell_vector_weight=config.cell_vector_weight,
        )
    )


def _check_thinning(store: Store, config: FinetuneConfig) -> None:
    strategy = store.vocabulary.recipe["strategy"]
    if config.thinning and strategy != "counts":
        raise InputError(
            store.path,
            f"has bins by the strategy {strategy!r}, and thinning is {config.thinning}",
            "prepare it with --recipe.strategy counts, or give --finetune.thinning 0",
        )


def _validation(
    store: Store,
    builder: BatchBuilder,
    regime: Regime,
    config: FinetuneConfig,
    share: Share,
) -> Iterable[CellBatch]:
    lengths = builder.lengths(regime)
    cells = finetune_cells.cells_of(
        store, "validation", regime, without=config.without_types
    )
    for rows in sequential_batches(cells, 256, lengths=lengths):
        yield builder.build(rows, regime, with_labels=True, share=share)

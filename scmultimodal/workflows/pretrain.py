"""Mixed-modality pre-training on the training cells of a prepared dataset."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from scmultimodal.data.loading import BatchBuilder, FeatureOrder
from scmultimodal.data.mixing import Pattern
from scmultimodal.data.sampling import (
    WHOLE,
    EpochSampler,
    Share,
    WeightedSampler,
    sequential_batches,
)
from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.modules.performer import PerformerConfig
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import CellBatch, Tokens
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.tasks.masked_reconstruction import (
    MaskedReconstruction,
    MaskedReconstructionConfig,
)
from scmultimodal.training import loop, parallel
from scmultimodal.training.config import RunningConfig
from scmultimodal.training.optimizers import OptimizerConfig, shorten_warmup
from scmultimodal.weights import export
from scmultimodal.workflows import dry_run, provenance, trained


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Pre-training; defaults are the study's (SPEC 2.3, 2.4).

    Attributes:
        path: shape of each of the two paths.
        tokens: "all" genes; the union of a cell's "nonzero" ones; or these beside
            "static_zeros", the silent genes as all cells share them.
        feature_order: of the genes, where tokens are all genes.
        buckets: numbers of tokens that a batch may be padded to; fewer compile faster,
            more pad less. None takes a ladder with two rungs an octave.
        mask_share: of the non-zero values, the share to predict.
        replaced_share: of those, the share that becomes the mask value.
        mixing: "round_robin" over RNA-only, ATAC-only and multiome batches, or their
            weights.
        dataset_weights: share of each dataset in a batch, where it has cells of its
            kind; None takes cells as there are. A small one comes round more often.
        batch_size: cells of a batch over all devices; a batch is of one kind.
        steps: updates in all.
        evaluate_every: steps between validations.
        checkpoint_every: steps between checkpoints; None saves at the end.
        resume: "auto" goes on where the folder has a checkpoint.
        seed: of parameters, batches and masks.
        optimizer: AdamW; the warm-up takes at most a quarter of the steps.
        running: how it runs; changes nothing that is learned, but for rounding.
    """

    path: PerformerConfig = dataclasses.field(default_factory=PerformerConfig)
    tokens: Tokens = "all"
    feature_order: FeatureOrder = "fixed"
    buckets: tuple[int, ...] | None = None
    mask_share: float = 0.15
    replaced_share: float = 0.9
    mixing: Literal["round_robin"] | Mapping[Regime, float] = "round_robin"
    dataset_weights: Mapping[str, float] | None = None
    batch_size: int = 256
    steps: int = 10_000
    evaluate_every: int | None = None
    checkpoint_every: int | None = None
    resume: Literal["auto", "never"] = "auto"
    seed: int = 0
    optimizer: OptimizerConfig = dataclasses.field(
        default_factory=lambda: OptimizerConfig(warmup_steps=500)
    )
    running: RunningConfig = dataclasses.field(default_factory=RunningConfig)


def run(store: Store, config: PretrainConfig, out: Path) -> export.StoredModel:
    """Pre-trains on the training cells; validates on the validation cells.

    Writes metrics, checkpoints and `model/` into `out`.
    """
    task = MaskedReconstruction(task_config(store, config))
    builder = make_builder(store, config)
    result = loop.fit(
        task,
        train_batches=mixed_batches(store, builder, config),
        validation_batches=_validation(store, builder, config),
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
            "pretrain": configs.to_json(config),
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


def untrained(store: Store, config: PretrainConfig) -> export.StoredModel:
    """The model that `run` starts from: what a classifier from scratch is shaped by."""
    task = MaskedReconstruction(task_config(store, config))
    fresh = initial(task, store, make_builder(store, config), config)
    params, network_state = jax.device_get(fresh)
    return export.StoredModel(
        config=_model_config(store, config, stage="untrained"),
        vocabulary=store.vocabulary,
        params=params,
        network_state=network_state,
    )


def _model_config(
    store: Store, config: PretrainConfig, **facts: Any
) -> export.ModelConfig:
    return export.ModelConfig(
        encoder=task_config(store, config).encoder,
        modalities=tuple(store.modalities),
        feature_order=config.feature_order,
        buckets=config.buckets,
        provenance=provenance.of_model(store, **facts),
    )


def plan(store: Store, config: PretrainConfig) -> dry_run.Plan:
    """What the training would take; nothing is started and nothing is written.

    The step is that of a batch of cells that have all modalities, with as many tokens
    as a batch may have.
    """
    builder = make_builder(store, config)
    cells = regimes_of(store, "train")
    if not cells:
        raise InputError(store.path, "has no training cell", "prepare more cells")
    regime = max(cells, key=lambda regime: len(regime.modalities))
    chosen = cells[regime]
    chosen = chosen[np.argsort(-builder.lengths(regime)[chosen], kind="stable")]
    example = builder.build(
        np.resize(chosen, config.batch_size),
        regime,
        share=parallel.share_of_host(),
    )
    paths = np.mean([len(regime.modalities) for regime in cells])
    return dry_run.plan(
        MaskedReconstruction(task_config(store, config)),
        example,
        optimizer=shorten_warmup(config.optimizer, config.steps),
        running=config.running,
        steps=config.steps,
        average=float(paths) / len(regime.modalities),
        steps_per_epoch=sum(map(len, cells.values())) / config.batch_size,
    )


def task_config(store: Store, config: PretrainConfig) -> MaskedReconstructionConfig:
    """The objective, for the vocabulary of a dataset."""
    return MaskedReconstructionConfig(
        encoder=CellEncoderConfig(
            num_genes=store.num_genes,
            num_bins=store.vocabulary.recipe["num_bins"],
            tokens=config.tokens,
            path=config.path,
        ),
        mask_share=config.mask_share,
        replaced_share=config.replaced_share,
    )


def make_builder(store: Store, config: PretrainConfig) -> BatchBuilder:
    """Makes batches of a prepared dataset."""
    return BatchBuilder(
        StoreSource(store),
        store.num_genes,
        tokens=config.tokens,
        feature_order=config.feature_order,
        buckets=config.buckets,
        seed=config.seed,
    )


def regimes_of(store: Store, split: str) -> dict[Regime, np.ndarray]:
    """The cells of a split that can serve each kind of batch."""
    cells = store.split(split)
    has = {m: store.present(m)[cells] for m in Modality}
    chosen = {
        Regime.RNA: has[Modality.RNA],
        Regime.ATAC: has[Modality.ATAC],
        Regime.MULTIOME: has[Modality.RNA] & has[Modality.ATAC],
    }
    return {regime: cells[mask] for regime, mask in chosen.items() if mask.any()}


def mixed_batches(
    store: Store, builder: BatchBuilder, config: PretrainConfig
) -> Callable[..., CellBatch]:
    """(step, share) -> batch: RNA-only, ATAC-only and multiome batches in turn."""
    cells = regimes_of(store, "train")
    if not cells:
        raise InputError(store.path, "has no training cell", "prepare more cells")
    pattern = Pattern(tuple(cells), config.mixing)
    samplers = {
        regime: _sampler(store, chosen, config, builder.lengths(regime), number)
        for number, (regime, chosen) in enumerate(cells.items())
    }

    def batch(step: int, share: Share = WHOLE) -> CellBatch:
        regime, turn = pattern.plan(step)
        cells = samplers[regime].batch(turn)
        return builder.build(cells, regime, step=step, share=share)

    return batch


def _sampler(
    store: Store,
    cells: np.ndarray,
    config: PretrainConfig,
    lengths: np.ndarray | None,
    number: int,
) -> EpochSampler | WeightedSampler:
    """Of one kind of batch."""
    seed = config.seed + number
    if config.dataset_weights is None:
        return EpochSampler(cells, config.batch_size, seed=seed, lengths=lengths)
    weights, names = config.dataset_weights, store.dataset_names
    if set(weights) != set(names) or not all(w > 0 for w in weights.values()):
        raise InputError(
            store.path,
            f"dataset_weights are {dict(weights)}, and its datasets {list(names)}",
            "Give each dataset of a store of several a weight above 0",
        )
    codes = store.dataset_codes[cells]
    groups = {name: cells[codes == code] for code, name in enumerate(names)}
    groups = {name: chosen for name, chosen in groups.items() if len(chosen)}
    return WeightedSampler(
        list(groups.values()),
        [weights[name] for name in groups],
        config.batch_size,
        seed=seed,
    )


def initial(
    task: MaskedReconstruction,
    store: Store,
    builder: BatchBuilder,
    config: PretrainConfig,
) -> tuple[Any, Any]:
    """Fresh parameters of every path and head that the dataset can train.

    The first batch may show one modality alone, so they are declared with a batch of
    a cell that shows all.
    """
    regime = (
        Regime.MULTIOME if len(store.modalities) == 2 else Regime(store.modalities[0])
    )
    batch = builder.build(store.split("train")[:1], regime)
    return jax.jit(task.init)(jax.random.PRNGKey(config.seed), batch)


def _validation(
    store: Store, builder: BatchBuilder, config: PretrainConfig
) -> loop.ValidationBatches | None:
    cells = regimes_of(store, "validation")

    def batches(share: Share) -> Iterable[CellBatch]:
        for regime, chosen in cells.items():
            lengths = builder.lengths(regime)
            for rows in sequential_batches(chosen, config.batch_size, lengths=lengths):
                yield builder.build(rows, regime, share=share)

    return batches if cells else None

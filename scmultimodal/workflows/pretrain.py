"""Mixed-modality pre-training on the training cells of a prepared dataset."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

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
from scmultimodal.modules.cell_encoder import CellEncoderConfig, Joint, PeakJoint
from scmultimodal.modules.heads.counts import CountDecoderConfig
from scmultimodal.modules.performer import PerformerConfig
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import AtacPath, CellBatch, Tokens
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.tasks.batch_adversary import BatchAdversary, BatchAdversaryConfig
from scmultimodal.tasks.combined import Combined
from scmultimodal.tasks.contrastive import Contrastive, ContrastiveConfig
from scmultimodal.tasks.count_splitting import CountSplitting, CountSplittingConfig
from scmultimodal.tasks.gene_from_peaks import GeneFromPeaks
from scmultimodal.tasks.masked_reconstruction import (
    MaskedReconstruction,
    MaskedReconstructionConfig,
)
from scmultimodal.tasks.task import Task
from scmultimodal.training import loop, parallel
from scmultimodal.training.config import RunningConfig
from scmultimodal.training.optimizers import OptimizerConfig, shorten_warmup
from scmultimodal.weights import export
from scmultimodal.workflows import (
    dry_run,
    expression,
    peak_path,
    provenance,
    trained,
)
from scmultimodal.workflows.peak_path import GeneFromPeaksOptions, PeakPathConfig

_PROFILE_CELLS = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Pre-training; defaults are the study's (SPEC 2.3, 2.4).

    Attributes:
        path: shape of each of the two paths.
        joint: how the outputs of the two paths become one; see `CellEncoderConfig`.
        depth: tells tokens how much is seen of their cell; see there.
        tokens: "all" genes; the union of a cell's "nonzero" ones; or these beside
            "static_zeros", the silent genes as all cells share them.
        feature_order: of the genes, where tokens are all genes.
        buckets: numbers of tokens that a batch may be padded to; fewer compile faster,
            more pad less. None takes a ladder with two rungs an octave.
        mask_share: of the non-zero values, the share to predict.
        replaced_share: of those, the share that becomes the mask value.
        mask_weight: of the loss of masked bins.
        count_weight: of the loss of counts that the encoder did not see, told from the
            cell's vector; above 0 it needs bins by the strategy "counts".
        kept_share: of those counts, the share that it does see.
        contrastive_weight: of the loss of telling which RNA belongs to which ATAC
            profile, by the vectors of each path alone, among the cells of a batch that
            are on one device: more devices make it easier.
        temperature: that its cosines are divided by.
        modality_dropout: of a cell with both modalities, how often one is not shown.
        adversary: strength of a gradient that keeps a cell's batch (`obs["batch"]`) out
            of its vector; 0 lets it be.
        decoder: what tells counts from the cell's vector.
        atac_path: whether ATAC is encoded by values of genes, by the open peaks
            themselves, or by both.
        peaks: the path of peaks, where there is one.
        peak_joint: how genes and peaks become one; see `CellEncoderConfig`.
        gene_from_peaks: telling expression from peaks; its weight, and what is asked.
        mixing: "round_robin" over RNA-only, ATAC-only and multiome batches, or the
            weights of those that there are to be; a modality that is in none of them
            has no path in the model.
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
    joint: Joint = "mean"
    depth: bool = False
    tokens: Tokens = "all"
    feature_order: FeatureOrder = "fixed"
    buckets: tuple[int, ...] | None = None
    mask_share: float = 0.15
    replaced_share: float = 0.9
    mask_weight: float = 1.0
    count_weight: float = 0.0
    kept_share: float = 0.5
    modality_dropout: float = 0.5
    contrastive_weight: float = 0.0
    temperature: float = 0.1
    adversary: float = 0.0
    decoder: CountDecoderConfig = dataclasses.field(default_factory=CountDecoderConfig)
    atac_path: AtacPath = "gene"
    peaks: PeakPathConfig = dataclasses.field(default_factory=PeakPathConfig)
    peak_joint: PeakJoint = "mean"
    gene_from_peaks: GeneFromPeaksOptions = dataclasses.field(
        default_factory=GeneFromPeaksOptions
    )
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

    def __post_init__(self):
        """Raises InputError where nothing is to be learned."""
        names = ("mask_weight", "count_weight", "contrastive_weight")
        weights = {name: getattr(self, name) for name in names}
        weights["gene_from_peaks.weight"] = self.gene_from_peaks.weight
        if min(weights.values()) < 0 or not any(weights.values()):
            raise InputError(
                "weights", f"are {weights}", "Give one above 0, and none below"
            )
        if self.adversary < 0:
            raise InputError("adversary", f"is {self.adversary}", "Give 0 or more")
        if self.gene_from_peaks.weight and self.atac_path == "gene":
            raise InputError(
                "gene_from_peaks.weight",
                f"is {self.gene_from_peaks.weight}, and atac_path is 'gene'",
                "Give --atac-path peak or both",
            )
        if self.adversary and self.gene_from_peaks.cell_type_weight:
            raise InputError(
                "adversary",
                "takes the place of the types that gene_from_peaks.cell_type_weight "
                "asks for",
                "Give one of them 0",
            )

    @property
    def sees_peaks_alone(self) -> bool:
        """Whether no objective shows the encoder a gene."""
        return not (self.mask_weight or self.count_weight or self.contrastive_weight)

    @property
    def with_labels(self) -> bool:
        """Whether some objective asks for the labels of cells."""
        return bool(self.adversary or self.gene_from_peaks.cell_type_weight)


def run(store: Store, config: PretrainConfig, out: Path) -> export.StoredModel:
    """Pre-trains on the training cells; validates on the validation cells.

    Writes metrics, checkpoints and `model/` into `out`.
    """
    task = make_task(store, config)
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
    task = make_task(store, config)
    fresh = initial(task, store, make_builder(store, config), config)
    params, network_state = jax.device_get(fresh)
    return export.StoredModel(
        config=_model_config(store, config, stage="untrained"),
        vocabulary=store.vocabulary,
        params=params,
        network_state=network_state,
        peaks=peak_path.known_peaks(store, encoder_config(store, config)),
    )


def _model_config(
    store: Store, config: PretrainConfig, **facts: Any
) -> export.ModelConfig:
    return export.ModelConfig(
        encoder=encoder_config(store, config),
        decoder=config.decoder if config.count_weight else None,
        genes_told=_genes_told(store, config),
        modalities=tuple(m.value for m in _modalities(store, config)),
        feature_order=config.feature_order,
        buckets=config.buckets,
        peak_tokens=None if config.atac_path == "gene" else config.peaks.tokens,
        provenance=provenance.of_model(store, **facts),
    )


def _genes_told(store: Store, config: PretrainConfig) -> export.GenesTold | None:
    """What was trained to tell genes from peaks; None where no cell shows both."""
    paired = _to_train_on(store, config).get(Regime.MULTIOME)
    if not config.gene_from_peaks.weight or paired is None:
        return None
    told = gene_from_peaks(store, config).config
    return expression.genes_told(store, paired, told)


def plan(store: Store, config: PretrainConfig) -> dry_run.Plan:
    """What the training would take; nothing is started and nothing is written.

    The step is that of a batch of cells that have all modalities, with as many tokens
    as a batch may have.
    """
    builder = make_builder(store, config)
    cells = _to_train_on(store, config)
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
        make_task(store, config),
        example,
        optimizer=shorten_warmup(config.optimizer, config.steps),
        running=config.running,
        steps=config.steps,
        average=float(paths) / len(regime.modalities),
        steps_per_epoch=sum(map(len, cells.values())) / config.batch_size,
    )


def make_task(store: Store, config: PretrainConfig) -> Task:
    """The objective, or the weighted sum of several, for a dataset's vocabulary.

    Raises:
        InputError: counts are to be split, and the dataset's bins are none.
    """
    makers = {
        "masked": (masked_bins, config.mask_weight),
        "counts": (_count_splitting, config.count_weight),
        "contrastive": (_contrastive, config.contrastive_weight),
        "gene_from_peaks": (gene_from_peaks, config.gene_from_peaks.weight),
    }
    asked = {n: (make, weight) for n, (make, weight) in makers.items() if weight}
    tasks = {n: (make(store, config), weight) for n, (make, weight) in asked.items()}
    if config.adversary:
        tasks["adversary"] = (_adversary(store, config), 1.0)
    if len(tasks) == 1:
        return next(iter(tasks.values()))[0]
    return Combined(tasks)


def _count_splitting(store: Store, config: PretrainConfig) -> CountSplitting:
    strategy = store.vocabulary.recipe["strategy"]
    if strategy != "counts":
        raise InputError(
            store.path,
            f"has bins by the strategy {strategy!r}, and count_weight is "
            f"{config.count_weight}",
            "prepare it with the strategy counts, or take another preset or "
            "--count-weight 0",
        )
    return CountSplitting(
        CountSplittingConfig(
            encoder=encoder_config(store, config),
            decoder=config.decoder,
            kept_share=config.kept_share,
            modality_dropout=config.modality_dropout,
        )
    )


def _contrastive(store: Store, config: PretrainConfig) -> Contrastive:
    return Contrastive(
        ContrastiveConfig(
            encoder=encoder_config(store, config), temperature=config.temperature
        )
    )


def _adversary(store: Store, config: PretrainConfig) -> BatchAdversary:
    return BatchAdversary(
        BatchAdversaryConfig(
            encoder=encoder_config(store, config),
            num_batches=int(_batches(store).max()) + 1,
            strength=config.adversary,
        )
    )


def _batches(store: Store) -> np.ndarray:
    """Code of each cell's batch; −1 where it is not known.

    Raises:
        InputError: the dataset tells no batches, or only one.
    """
    names = store.obs.get("batch", None)
    if names is None or names.nunique() < 2:
        raise InputError(
            store.path,
            "tells no batches, or one, and adversary is above 0",
            "prepare it with --batch COLUMN, or give --adversary 0",
        )
    return pd.factorize(names, sort=True)[0].astype(np.int32)


def masked_bins(store: Store, config: PretrainConfig) -> MaskedReconstruction:
    """The study's objective."""
    return MaskedReconstruction(
        MaskedReconstructionConfig(
            encoder=encoder_config(store, config),
            mask_share=config.mask_share,
            replaced_share=config.replaced_share,
        )
    )


def gene_from_peaks(store: Store, config: PretrainConfig) -> GeneFromPeaks:
    """EpiFoundation's objective; see `peak_path.task`."""
    options = config.gene_from_peaks
    num_batches = int(_batches(store).max()) + 1 if options.tell_batch else None
    return peak_path.task(
        store, encoder_config(store, config), options, num_batches=num_batches
    )


def encoder_config(store: Store, config: PretrainConfig) -> CellEncoderConfig:
    """Shape of the trunk, for the vocabulary of a dataset."""
    by_gene = config.atac_path == "gene"
    return CellEncoderConfig(
        num_genes=store.num_genes,
        num_bins=store.vocabulary.recipe["num_bins"],
        tokens=config.tokens,
        path=config.path,
        joint=config.joint,
        depth=config.depth,
        atac_path=config.atac_path,
        peaks=None if by_gene else peak_path.encoder_config(store, config.peaks),
        peak_joint=config.peak_joint,
    )


def make_builder(store: Store, config: PretrainConfig) -> BatchBuilder:
    """Makes batches of a prepared dataset."""
    return BatchBuilder(
        StoreSource(store, _batches(store) if config.adversary else None),
        store.num_genes,
        tokens=config.tokens,
        feature_order=config.feature_order,
        buckets=config.buckets,
        seed=config.seed,
        atac_path=config.atac_path,
        peaks=config.peaks.tokens,
        batches=_batches(store) if config.gene_from_peaks.tell_batch else None,
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


def _mixed(
    store: Store, split: str, config: PretrainConfig
) -> dict[Regime, np.ndarray]:
    """The cells of each kind of batch that the mixing names."""
    cells = regimes_of(store, split)
    if config.sees_peaks_alone:
        cells.pop(Regime.RNA, None)
    if config.mixing != "round_robin":
        cells = {r: chosen for r, chosen in cells.items() if r in config.mixing}
    return cells


def _to_train_on(store: Store, config: PretrainConfig) -> dict[Regime, np.ndarray]:
    cells = _mixed(store, "train", config)
    if not cells:
        raise InputError(
            store.path,
            "has no training cell to show",
            "prepare more cells, or mix others",
        )
    return cells


def _modalities(store: Store, config: PretrainConfig) -> tuple[Modality, ...]:
    """Those that some kind of batch shows."""
    shown = {m for regime in _to_train_on(store, config) for m in regime.modalities}
    if config.sees_peaks_alone:
        shown &= {Modality.ATAC}
    return tuple(m for m in store.modalities if m in shown)


def mixed_batches(
    store: Store, builder: BatchBuilder, config: PretrainConfig
) -> Callable[..., CellBatch]:
    """(step, share) -> batch: RNA-only, ATAC-only and multiome batches in turn."""
    cells = _to_train_on(store, config)
    pattern = Pattern(tuple(cells), config.mixing)
    samplers = {
        regime: _sampler(store, chosen, config, builder.lengths(regime), number)
        for number, (regime, chosen) in enumerate(cells.items())
    }

    def batch(step: int, share: Share = WHOLE) -> CellBatch:
        regime, turn = pattern.plan(step)
        cells = samplers[regime].batch(turn)
        return builder.build(
            cells, regime, step=step, share=share, with_labels=config.with_labels
        )

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
    task: Task,
    store: Store,
    builder: BatchBuilder,
    config: PretrainConfig,
) -> tuple[Any, Any]:
    """Fresh parameters of every path and head that the dataset can train.

    The first batch may show one modality alone, so they are declared with a batch of
    a cell that shows all.
    """
    modalities = _modalities(store, config)
    regime = trained.regime_of(modalities)
    cells = store.split("train")
    batch = builder.build(cells[:1], regime)
    params, state = jax.jit(task.init)(jax.random.PRNGKey(config.seed), batch)
    if config.count_weight:
        params = _with_mean_profile(params, store, modalities, cells)
    if config.gene_from_peaks.weight and config.gene_from_peaks.loadings:
        params = peak_path.with_loadings(params, store, config.gene_from_peaks)
    return params, state


def _with_mean_profile(
    params: Any, store: Store, modalities: Iterable[Modality], cells: np.ndarray
) -> Any:
    """Begins the decoder at the mean of training cells: it learns what differs."""
    params = dict(params)
    for modality in modalities:
        if f"count_decoder/{modality}_genes" not in params:  # ATAC, by peaks alone.
            continue
        has = cells[store.present(modality)[cells]][:_PROFILE_CELLS]
        sums = np.asarray(store.rows(modality, has).sum(0, dtype=np.float64)).ravel()
        name = f"count_decoder/{modality}_genes"
        shares = np.log((sums + 1) / (sums + 1).sum())
        params[name] = {**params[name], "b": jnp.asarray(shares, jnp.float32)}
    return params


def _validation(
    store: Store, builder: BatchBuilder, config: PretrainConfig
) -> loop.ValidationBatches | None:
    cells = _mixed(store, "validation", config)

    def batches(share: Share) -> Iterable[CellBatch]:
        for regime, chosen in cells.items():
            lengths = builder.lengths(regime)
            for rows in sequential_batches(chosen, config.batch_size, lengths=lengths):
                yield builder.build(
                    rows, regime, share=share, with_labels=config.with_labels
                )

    return batches if cells else None

"""Cell-type fine-tuning of a pre-trained model, or training from scratch."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from scipy import sparse

from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.sampling import EpochSampler, Share, sequential_batches
from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.evaluation import few_shot, naive_bayes, paired
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import CellBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.tasks.cell_type import CellTypeClassification, CellTypeConfig
from scmultimodal.training import loop
from scmultimodal.training.config import RunningConfig
from scmultimodal.training.optimizers import OptimizerConfig, shorten_warmup
from scmultimodal.weights import export
from scmultimodal.workflows import peak_path, provenance, trained


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Fine-tuning; defaults are the study's (SPEC 2.5).

    Attributes:
        hidden: widths of the head's hidden layers.
        dropout: rate in the head.
        silent_genes: whether the head reads silent genes where they are tokens.
        token_dropout: share of a cell's values hidden in training.
        thinning: share of a cell's single counts hidden in training; needs bins that
            are counts.
        by_value: the head weighs what a token says by its value.
        skip: adds a linear map of the value bins to the logits, and of the open peaks.
        naive_bayes: that map begins as so much of naive Bayes' log-likelihoods.
        paired: of a model that reads peaks, a further linear map of them begins as so
            much of what they tell of types by the RNA of training cells that have
            both (`evaluation.paired`).
        cell_vector_weight: of a second loss, that the cell's vector alone tells types.
        labels_per_type: training cells of each type whose label is shown; None shows
            all.
        self_training: shows training cells without a label too, with the type that
            naive Bayes gives them by expectation maximisation (`naive_bayes.fit_em`).
        without_types: types whose cells are not shown in training or validation, to
            see what becomes of a type that was not learned.
        epochs: passes over the training cells; the best on validation is kept.
        min_steps: updates at least: as many more passes as that takes.
        batch_size: cells of a batch over all devices.
        frozen: trains the head alone.
        layer_decay: each layer of the encoder learns at so much of the rate of the one
            above it, the embeddings below the first; the top one at the full rate.
        head_rate: of the head, as a share of the learning rate.
        resume: "auto" goes on where the folder has a checkpoint.
        seed: of the head, of batches and of dropout.
        optimizer: AdamW.
        running: how it runs; changes nothing that is learned, but for rounding.
    """

    hidden: tuple[int, ...] = (512, 100)
    dropout: float = 0.0
    silent_genes: bool = True
    token_dropout: float = 0.0
    thinning: float = 0.0
    by_value: bool = False
    skip: bool = False
    naive_bayes: float = 0.0
    paired: float = 0.0
    cell_vector_weight: float = 0.0
    labels_per_type: int | None = None
    self_training: bool = False
    without_types: tuple[str, ...] = ()
    epochs: int = 20
    min_steps: int = 0
    batch_size: int = 256
    frozen: bool = False
    layer_decay: float = 1.0
    head_rate: float = 1.0
    resume: Literal["auto", "never"] = "auto"
    seed: int = 0
    optimizer: OptimizerConfig = dataclasses.field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-4, warmup_steps=50)
    )
    running: RunningConfig = dataclasses.field(default_factory=RunningConfig)

    def __post_init__(self):
        """Raises InputError for values out of range."""
        if not 0 <= self.thinning < 1:
            raise InputError("thinning", f"is {self.thinning}", "Give 0 up to below 1")
        if self.paired < 0:
            raise InputError("paired", f"is {self.paired}", "Give 0 or more")
        for name in ("layer_decay", "head_rate"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise InputError(name, f"is {value}", "Give a share above 0, up to 1")
        if self.naive_bayes < 0 or (self.naive_bayes and not self.skip):
            raise InputError(
                "naive_bayes",
                f"is {self.naive_bayes}, skip is {self.skip}",
                "Give 0 or more, and with more than 0 the skip that it begins",
            )


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
    peak_path.check_peaks(store, start)
    _check_paired(start, config, regime)
    task = CellTypeClassification(
        CellTypeConfig(
            encoder=start.config.encoder,
            head=CellTypeHeadConfig(
                num_classes=len(store.label_names),
                hidden=config.hidden,
                dropout=config.dropout,
                silent_genes=config.silent_genes,
                by_value=config.by_value,
                skip=config.skip,
                root_skip=bool(config.paired),
                reads="tokens" if start.config.encoder.peaks is None else "vector",
            ),
            token_dropout=config.token_dropout,
            thinning=config.thinning,
            cell_vector_weight=config.cell_vector_weight,
        )
    )
    _check_thinning(store, config)
    cells, labels = _shown(store, regime, config, start.config.encoder)
    builder = trained.builder_for(StoreSource(store, labels), start.config)
    sampler = EpochSampler(
        cells,
        config.batch_size,
        seed=config.seed,
        lengths=builder.lengths(regime),
    )
    example = builder.build(sampler.batch(0), regime, with_labels=True)
    fresh = jax.jit(task.init)(jax.random.PRNGKey(config.seed), example)
    params, network_state = jax.device_get(fresh)
    if not from_scratch:
        params = trained.take_trunk(params, start.params)
        network_state = trained.take_trunk(network_state, start.network_state)
    if config.naive_bayes:
        params = _with_naive_bayes(
            params,
            _read_counts(store, regime, cells, start.config.encoder),
            labels[cells],
            len(store.label_names),
            config.naive_bayes,
        )
    if config.paired:
        params = _with_paired(params, store, cells, labels, config)
    steps = max(config.epochs * sampler.batches_per_epoch, config.min_steps)
    every = max(steps // config.epochs, sampler.batches_per_epoch)
    optimizer = _optimizer(config, steps, start.config.encoder, regime.modalities)
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
        optimizer=optimizer,
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
            start.config,
            head=task.config.head,
            decoder=None,
            genes_told=None,
            classes=store.label_names,
            modalities=tuple(m.value for m in regime.modalities),
            provenance=provenance.of_model(
                store, stage="fine-tuned", best_step=result.best_step
            ),
        ),
        result.state.params,
        result.state.network_state,
    )


def _check_thinning(store: Store, config: FinetuneConfig) -> None:
    strategy = store.vocabulary.recipe["strategy"]
    if config.thinning and strategy != "counts":
        raise InputError(
            store.path,
            f"has bins by the strategy {strategy!r}, and thinning is {config.thinning}",
            "prepare it with --recipe.strategy counts, or give --finetune.thinning 0",
        )


def cells_of(
    store: Store, split: str, regime: Regime, *, without: Collection[str] = ()
) -> np.ndarray:
    """Labelled cells of a split that have all modalities of a regime.

    Args:
        store: prepared dataset with labels.
        split: "train", "validation" or "test".
        regime: the modalities.
        without: types that are left out.

    Raises:
        InputError: there is none, or a type is none of the dataset's.
    """
    if unknown := set(without) - set(store.label_names):
        raise InputError(
            store.path,
            f"has no type {min(unknown)!r}",
            f"name some of {', '.join(store.label_names)}",
        )
    cells = store.split(split)
    keep = store.labels[cells] >= 0
    keep &= ~np.isin(np.array(store.label_names)[store.labels[cells]], list(without))
    for modality in regime.modalities:
        keep &= store.present(modality)[cells]
    if not keep.any():
        raise InputError(
            store.path,
            f"has no labelled {split} cell with {regime}",
            "choose another --modality or give more cells",
        )
    return cells[keep]


def labelled_cells(store: Store, regime: Regime, per_type: int | None) -> np.ndarray:
    """The training cells whose label is shown, however often it is asked."""
    return _choose(store, cells_of(store, "train", regime), per_type)


def _choose(store: Store, cells: np.ndarray, per_type: int | None) -> np.ndarray:
    return few_shot.choose(store.labels, cells, per_type, seed=0)


def _shown(
    store: Store, regime: Regime, config: FinetuneConfig, encoder: CellEncoderConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The cells to train on, and the label that each cell of the store is to have."""
    cells = cells_of(store, "train", regime, without=config.without_types)
    known = _choose(store, cells, config.labels_per_type)
    if not config.self_training:
        return known, store.labels
    cells = _with_unlabelled(store, regime, cells)
    read = _read_counts(store, regime, cells, encoder)
    joint = sparse.hstack(list(read.values()), "csr")
    shown = np.where(np.isin(cells, known), store.labels[cells], -1)
    model = naive_bayes.fit_em(joint, shown, len(store.label_names))
    labels = store.labels.copy()
    labels[cells] = np.where(shown < 0, model.predict(joint).argmax(1), shown)
    return cells, labels


def _with_unlabelled(store: Store, regime: Regime, cells: np.ndarray) -> np.ndarray:
    """Training cells, and those of which no label is known."""
    others = store.split("train")
    others = others[store.labels[others] < 0]
    has = [store.present(modality)[others] for modality in regime.modalities]
    return np.sort(np.concatenate([cells, others[np.all(has, axis=0)]]))


def _read_counts(
    store: Store,
    regime: Regime,
    cells: np.ndarray,
    encoder: CellEncoderConfig,
) -> dict[str, sparse.csr_matrix]:
    """What a classifier reads of cells, by the name of its part of the skip."""
    found = {m.value: m for m in regime.modalities}
    if encoder.atac_path == "peak":
        found.pop("atac", None)
    counts = {name: store.rows(modality, cells) for name, modality in found.items()}
    if encoder.peaks is not None and "atac" in regime.modalities:
        counts["peak"] = store.peak_matrix().rows(cells, "bins")
    return counts


def _with_naive_bayes(
    params: export.Tree,
    counts: Mapping[str, sparse.csr_matrix],
    labels: np.ndarray,
    num_classes: int,
    share: float,
) -> export.Tree:
    """Begins the skip as a share of what multinomial naive Bayes says of the bins."""
    head = dict(params["cell_type_head"])
    for name, values in counts.items():
        log_likelihoods = naive_bayes.log_likelihoods(values, labels, num_classes)
        head[f"{name}_skip"] = np.float32(share) * log_likelihoods
    return {**params, "cell_type_head": head}


def _check_paired(
    start: export.StoredModel, config: FinetuneConfig, regime: Regime
) -> None:
    if config.paired and (start.peaks is None or regime is Regime.RNA):
        raise InputError(
            "paired",
            f"is {config.paired}, and the classifier reads no peaks",
            "Give 0, or a model with --atac-path peak and cells with ATAC",
        )


def _with_paired(
    params: export.Tree,
    store: Store,
    cells: np.ndarray,
    labels: np.ndarray,
    config: FinetuneConfig,
) -> export.Tree:
    """Begins a map of the peaks as what cells with both modalities teach about them."""
    both = cells[
        store.present(Modality.RNA)[cells] & store.present(Modality.ATAC)[cells]
    ]
    if not (labels[both] >= 0).any():
        raise InputError(
            store.path,
            f"has no labelled training cell with both, and paired is {config.paired}",
            "Give --paired 0, or more cells",
        )
    weights = paired.peak_weights(
        store.peak_matrix().rows(both, "bins"),
        store.rows(Modality.RNA, both, "counts"),
        labels[both],
        len(store.label_names),
        paired.PairedConfig(seed=config.seed),
    )
    head = dict(params["cell_type_head"])
    head["peak_root_skip"] = np.float32(config.paired) * weights
    return {**params, "cell_type_head": head}


def _optimizer(
    config: FinetuneConfig,
    steps: int,
    encoder: CellEncoderConfig,
    modalities: Collection[str],
) -> OptimizerConfig:
    optimizer = shorten_warmup(config.optimizer, steps)
    rates: list[tuple[str, float]] = []
    if config.frozen:
        rates = [(r"cell_encoder/.*", 0.0)]
    elif config.layer_decay != 1:
        rates = _decayed(config.layer_decay, encoder, modalities)
    if config.head_rate != 1:
        rates += [(r"cell_type_head/.*", config.head_rate)]
    if not rates:
        return optimizer
    return dataclasses.replace(optimizer, rates=(*rates, (r".*", 1.0)))


def _decayed(
    decay: float, encoder: CellEncoderConfig, modalities: Collection[str]
) -> list[tuple[str, float]]:
    """Rates of the layers of each path, the top one's whole, and of what is below.

    A regex that decides nothing is refused: those of paths that are not there are not.
    """
    paths = [("cell_encoder/", r"cell_encoder/.*_(embedding|depth).*", encoder.path)]
    if encoder.peaks is not None:
        if encoder.atac_path == "peak" and "rna" not in modalities:
            paths = []
        own = "cell_encoder/peak_encoder/"
        paths.insert(0, (own, rf"{own}(peak|chrom|dna).*", encoder.peaks.path))
    rates: list[tuple[str, float]] = []
    for within, embeddings, path in paths:
        top = path.num_layers - 1
        rates += [
            (rf"{within}.*layer_{layer}/.*", decay ** (top - layer))
            for layer in range(path.num_layers)
        ]
        rates += [(embeddings, decay**path.num_layers)] if path.num_layers else []
    return rates


def _validation(
    store: Store,
    builder: BatchBuilder,
    regime: Regime,
    config: FinetuneConfig,
    share: Share,
) -> Iterable[CellBatch]:
    lengths = builder.lengths(regime)
    cells = cells_of(store, "validation", regime, without=config.without_types)
    for rows in sequential_batches(cells, 256, lengths=lengths):
        yield builder.build(rows, regime, with_labels=True, share=share)

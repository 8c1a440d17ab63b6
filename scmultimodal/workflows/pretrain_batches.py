"""The batches of pre-training: RNA-only, ATAC-only and multiome ones in turn."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from scmultimodal.data.loading import BatchBuilder
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
from scmultimodal.schemas.batches import CellBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.training import loop
from scmultimodal.workflows.pretrain_config import PretrainConfig


def make_builder(store: Store, config: PretrainConfig) -> BatchBuilder:
    """Makes batches of a prepared dataset."""
    return BatchBuilder(
        StoreSource(store, batch_codes(store) if config.adversary else None),
        store.num_genes,
        tokens=config.tokens,
        feature_order=config.feature_order,
        buckets=config.buckets,
        seed=config.seed,
        atac_path=config.atac_path,
        peaks=config.peaks.tokens,
        batches=batch_codes(store) if config.gene_from_peaks.tell_batch else None,
    )


def batch_codes(store: Store) -> np.ndarray:
    """Code of each cell's batch; −1 where it is not known.

    Raises:
        InputError: the dataset tells no batches, or only one.
    """
    names = store.obs.get("batch", None)
    if names is None or names.nunique() < 2:
        raise InputError(
            store.path,
            "tells no batches, or one, and the adversary or tell_batch asks for them",
            "prepare it with --batch COLUMN, or leave adversary and tell_batch off",
        )
    return pd.factorize(names, sort=True)[0].astype(np.int32)


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


def cells_to_train_on(store: Store, config: PretrainConfig) -> dict[Regime, np.ndarray]:
    cells = _mixed(store, "train", config)
    if not cells:
        raise InputError(
            store.path,
            "has no training cell to show",
            "prepare more cells, or mix others",
        )
    return cells


def modalities_of(store: Store, config: PretrainConfig) -> tuple[Modality, ...]:
    """Those that some kind of batch shows."""
    shown = {
        m for regime in cells_to_train_on(store, config) for m in regime.modalities
    }
    if config.sees_peaks_alone:
        shown &= {Modality.ATAC}
    return tuple(m for m in store.modalities if m in shown)


def mixed_batches(
    store: Store, builder: BatchBuilder, config: PretrainConfig
) -> Callable[..., CellBatch]:
    """(step, share) -> batch: RNA-only, ATAC-only and multiome batches in turn."""
    cells = cells_to_train_on(store, config)
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


def validation_batches(
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

"""What the maps past the trunk begin as: what is simple of the training cells."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy import sparse

from scmultimodal.data.store import Store
from scmultimodal.evaluation import naive_bayes, paired
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.weights import export
from scmultimodal.workflows.finetune_config import FinetuneConfig


def with_naive_bayes(
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


def for_cells(
    config: FinetuneConfig, store: Store, start: export.StoredModel, regime: Regime
) -> FinetuneConfig:
    """The same, or without what pairs teach where there is nothing of it to learn.

    Says so where the classifier would have read peaks.
    """
    if not config.paired:
        return config
    alone = dataclasses.replace(config, paired=0.0)
    if start.peaks is None or regime is Regime.RNA:
        return alone
    labels = store.labels[_both(store, store.split("train"))]
    if paired.can_learn(labels, paired.PairedConfig()):
        return config
    print(
        f"too few to learn from pairs: of the labelled training cells "
        f"{(labels >= 0).sum():,}, of {len(np.unique(labels[labels >= 0]))} types, "
        "have RNA and ATAC"
    )
    return alone


def check_paired(
    start: export.StoredModel, config: FinetuneConfig, regime: Regime
) -> None:
    """Raises InputError where peaks are to be learned from and none is read."""
    if config.paired and (start.peaks is None or regime is Regime.RNA):
        raise InputError(
            "paired",
            f"is {config.paired}, and the classifier reads no peaks",
            "Give 0, or a model with --atac-path peak and cells with ATAC",
        )


def with_paired(
    params: export.Tree,
    store: Store,
    cells: np.ndarray,
    labels: np.ndarray,
    config: FinetuneConfig,
) -> export.Tree:
    """Begins a map of the peaks as what cells with both modalities teach about them."""
    both, numbers = _both(store, cells), paired.PairedConfig(seed=config.seed)
    if not paired.can_learn(labels[both], numbers):
        raise InputError(
            store.path,
            f"has {(labels[both] >= 0).sum()} labelled training cells with both, and "
            f"paired is {config.paired}: {2 * numbers.folds} are needed, of two types",
            "Give --finetune.paired 0, or more cells",
        )
    weights = paired.peak_weights(
        store.peak_matrix().rows(both, "bins"),
        store.rows(Modality.RNA, both, "counts"),
        labels[both],
        len(store.label_names),
        numbers,
    )
    head = dict(params["cell_type_head"])
    head["peak_root_skip"] = np.float32(config.paired) * weights
    return {**params, "cell_type_head": head}


def _both(store: Store, cells: np.ndarray) -> np.ndarray:
    """Those that have RNA and ATAC."""
    rna, atac = (store.present(m)[cells] for m in (Modality.RNA, Modality.ATAC))
    return cells[rna & atac]

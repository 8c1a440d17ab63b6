"""What the maps past the trunk begin as: what is simple of the training cells."""

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

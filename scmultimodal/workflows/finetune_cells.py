"""The cells that a classifier is taught and judged by, and their labels."""

from collections.abc import Collection

import numpy as np
from scipy import sparse

from scmultimodal.data.store import Store
from scmultimodal.evaluation import few_shot, naive_bayes
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows.finetune_config import FinetuneConfig


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


def shown(
    store: Store, regime: Regime, config: FinetuneConfig, encoder: CellEncoderConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The cells to train on, and the label that each cell of the store is to have."""
    cells = cells_of(store, "train", regime, without=config.without_types)
    known = _choose(store, cells, config.labels_per_type)
    if not config.self_training:
        return known, store.labels
    cells = _with_unlabelled(store, regime, cells)
    read = read_counts(store, regime, cells, encoder)
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


def read_counts(
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

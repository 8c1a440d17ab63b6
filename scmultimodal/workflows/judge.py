"""Trained classifiers beside simple baselines, on the same test cells."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.evaluation import baselines, classification
from scmultimodal.evaluation.split_indices import SplitIndices
from scmultimodal.evaluation.summary import Result
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.weights import export
from scmultimodal.workflows import finetune, inference, trained


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one regime came to.

    Attributes:
        results: scores on the test cells, ours first.
        predictions: by model, the class of each test cell.
        labels: the true class of each test cell.
        cells: the test cells.
        notes: by model, what validation chose.
    """

    results: tuple[Result, ...]
    predictions: Mapping[str, Int[np.ndarray, " cells"]]
    labels: Int[np.ndarray, " cells"]
    cells: Int[np.ndarray, " cells"]
    notes: Mapping[str, str]


def run(
    store: Store,
    regime: Regime,
    models: Mapping[str, export.StoredModel],
    *,
    seed: int,
) -> Judgement:
    """Scores models and baselines on the test cells of a regime.

    Args:
        store: prepared dataset with labels and a split.
        regime: the modalities that all of them see.
        models: our classifiers by name.
        seed: of the baselines.
    """
    cells = finetune.cells_of(store, "test", regime)
    labels = store.labels[cells]
    num_classes = len(store.label_names)
    predictions = {
        name: predict(store, model, regime, cells).argmax(1)
        for name, model in models.items()
    }
    notes = dict.fromkeys(models, "best epoch by validation accuracy")
    for result in baseline_results(store, regime, seed=seed):
        predictions[result.name] = result.predictions
        notes[result.name] = f"{result.parameter} = {result.value:.3g} by validation"
    scores = {
        name: classification.score(labels, predicted, num_classes)
        for name, predicted in predictions.items()
    }
    return Judgement(
        results=tuple(
            Result(model=name, modality=regime, scores=s) for name, s in scores.items()
        ),
        predictions=predictions,
        labels=labels,
        cells=cells,
        notes=notes,
    )


def predict(
    store: Store,
    model: export.StoredModel,
    regime: Regime,
    cells: Int[np.ndarray, " cells"],
) -> Float[np.ndarray, "cells classes"]:
    """Logits of a classifier."""
    builder = trained.builder_for(StoreSource(store), model.config)
    return inference.over_cells(
        trained.logits_function(model), builder, cells, regime, describe="predict"
    )


def embed(
    store: Store,
    model: export.StoredModel,
    regime: Regime,
    cells: Int[np.ndarray, " cells"],
) -> Float[np.ndarray, "cells dim"]:
    """Vectors of cells."""
    builder = trained.builder_for(StoreSource(store), model.config)
    return inference.over_cells(
        trained.embed_function(model), builder, cells, regime, describe="embed"
    )


def baseline_results(
    store: Store, regime: Regime, *, seed: int
) -> list[baselines.BaselineResult]:
    """Logistic regression on values and on components, and naive Bayes."""
    parts = {s: finetune.cells_of(store, s, regime) for s in ("train", "validation")}
    parts["test"] = finetune.cells_of(store, "test", regime)
    cells = np.concatenate(list(parts.values()))
    bounds = np.cumsum([0, *map(len, parts.values())])
    split = SplitIndices(
        **{
            name: np.arange(start, stop)
            for name, start, stop in zip(parts, bounds, bounds[1:], strict=False)
        }
    )
    labels = store.labels[cells]
    counts = [_values(store, m, cells) for m in regime.modalities]
    return baselines.compare(
        counts, labels, split, num_classes=len(store.label_names), seed=seed
    )


def _values(
    store: Store, modality: Modality, cells: Int[np.ndarray, " cells"]
) -> sparse.csr_matrix:
    """Counts of RNA, or gene-level ATAC values."""
    counts = store.rows(modality, cells, "counts").astype(np.float32)
    if modality is Modality.ATAC:
        counts.data *= np.float32(store.vocabulary.atac_unit)
    return counts

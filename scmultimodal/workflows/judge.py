"""Trained classifiers beside simple baselines, on the same test cells."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse, special

from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.evaluation import baselines, classification
from scmultimodal.evaluation.depth import Sparse
from scmultimodal.evaluation.split_indices import SplitIndices
from scmultimodal.evaluation.summary import Result
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.weights import export
from scmultimodal.workflows import finetune_cells, inference, trained


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one regime came to.

    Attributes:
        results: scores on the test cells, ours first.
        predictions: by model, the class of each test cell.
        probabilities: by model, those of all classes.
        labels: the true class of each test cell.
        cells: the test cells.
        notes: by model, what validation chose.
    """

    results: tuple[Result, ...]
    predictions: Mapping[str, Int[np.ndarray, " cells"]]
    probabilities: Mapping[str, Float[np.ndarray, "cells classes"]]
    labels: Int[np.ndarray, " cells"]
    cells: Int[np.ndarray, " cells"]
    notes: Mapping[str, str]


def run(
    store: Store,
    regime: Regime,
    models: Mapping[str, export.StoredModel],
    *,
    seed: int,
    with_baselines: bool = True,
) -> Judgement:
    """Scores models and baselines on the test cells of a regime.

    Args:
        store: prepared dataset with labels and a split.
        regime: the modalities that all of them see.
        models: our classifiers by name.
        seed: of the baselines.
        with_baselines: fits and scores them too.
    """
    cells = finetune_cells.cells_of(store, "test", regime)
    labels = store.labels[cells]
    num_classes = len(store.label_names)
    probabilities = {
        name: special.softmax(predict(store, model, regime, cells), axis=1)
        for name, model in models.items()
    }
    notes = dict.fromkeys(models, "best epoch by validation accuracy")
    simple = baseline_results(store, regime, seed=seed) if with_baselines else ()
    for result in simple:
        probabilities[result.name] = result.probabilities
        notes[result.name] = f"{result.parameter} = {result.value:.3g} by validation"
    predictions = {name: found.argmax(1) for name, found in probabilities.items()}
    scores = {
        name: classification.score(labels, predicted, num_classes)
        for name, predicted in predictions.items()
    }
    return Judgement(
        results=tuple(
            Result(model=name, modality=regime, scores=s) for name, s in scores.items()
        ),
        predictions=predictions,
        probabilities=probabilities,
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
    """What is simple, on the gene-aligned counts: see `baselines.compare`."""
    cells, split = _split_of(store, regime)
    counts = [values(store, m, cells) for m in regime.modalities]
    return baselines.compare(
        counts,
        store.labels[cells],
        split,
        num_classes=len(store.label_names),
        seed=seed,
    )


def peak_results(
    store: Store, peaks: Sparse, *, seed: int
) -> list[baselines.BaselineResult]:
    """What is simple, on the peaks themselves: see `baselines.compare_peaks`.

    Args:
        store: prepared dataset with labels and a split.
        peaks: fragments [cells of the store, peaks].
        seed: of the baselines.
    """
    cells, split = _split_of(store, Regime.ATAC)
    return baselines.compare_peaks(
        peaks[cells],
        store.labels[cells],
        split,
        num_classes=len(store.label_names),
        seed=seed,
    )


def _split_of(
    store: Store, regime: Regime
) -> tuple[Int[np.ndarray, " cells"], SplitIndices]:
    """The labelled cells of a regime, part after part, and where the parts are."""
    names = ("train", "validation", "test")
    parts = [finetune_cells.cells_of(store, name, regime) for name in names]
    bounds = np.cumsum([0, *map(len, parts)])
    rows = map(np.arange, bounds[:-1], bounds[1:])
    return np.concatenate(parts), SplitIndices(**dict(zip(names, rows, strict=True)))


def values(
    store: Store, modality: Modality, cells: Int[np.ndarray, " cells"]
) -> sparse.csr_matrix:
    """Counts of RNA, or gene-level ATAC values, [cells, genes]."""
    counts = store.rows(modality, cells, "counts").astype(np.float32)
    if modality is Modality.ATAC:
        counts.data *= np.float32(store.vocabulary.atac_unit)
    return counts

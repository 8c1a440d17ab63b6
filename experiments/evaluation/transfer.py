"""From one modality to the other: types that were labelled on RNA, found by ATAC alone.

Labels are known of the RNA of training cells; test cells show gene-level ATAC. Ours
has seen both modalities of training cells together, without labels. So has canonical
correlation, the simple way to bring two modalities together. Logistic regression has
seen RNA, and takes gene activity for it, as it is or each gene standardised within its
modality. What ATAC itself can tell, with labels, stands below as the ceiling.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.evaluation import classifiers, vectors
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job
from experiments.evaluation.tables import SCORES, Entry, Section
from scmultimodal.data.store import Store
from scmultimodal.evaluation import alignment, baselines, classification
from scmultimodal.evaluation.depth import log1p_at_median_depth
from scmultimodal.evaluation.features import svd_components
from scmultimodal.evaluation.split_indices import SplitIndices
from scmultimodal.schemas import configs
from scmultimodal.schemas.modality import MODALITIES, Modality, Regime
from scmultimodal.workflows import finetune_cells, judge
from scmultimodal.workflows.presets import ALIGNED

PARTS = ("validation", "test")
OURS = ("frozen_nearest_neighbours", "frozen_logistic_regression")
COMPONENTS, CORRELATED = 50, 20

Pair = tuple[Float[np.ndarray, "cells dim"], Float[np.ndarray, "cells dim"]]
"""Vectors of RNA and of ATAC, in one space."""


def entries(case: Case, folder: Path) -> list[Entry]:
    """Ours, and what is simple."""
    own = job(case, folder)
    names = (
        *OURS,
        "canonical_correlation",
        "logistic_regression",
        "standardised_logistic_regression",
        "naive_bayes_with_labels",
    )
    return [
        Entry(row={"model": name}, job=own, within=("test", name)) for name in names
    ]


def job(case: Case, folder: Path) -> Job:
    """All of them, by one pre-training on cells with both modalities."""
    start = classifiers.pretraining(case, ALIGNED, folder)
    needs = [
        vectors.frozen(one, ALIGNED, folder, start=start)
        for one in (case.of(Regime.RNA), case.of(Regime.ATAC))
    ]

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(ALIGNED.recipe, folder)
        rna, atac = map(vectors.read, needed)
        return judge_all(store, (rna, atac), seed=case.seed)

    return Job(
        section="transfer",
        settings={
            **case.settings(),
            "penalties": "chosen on the RNA of validation cells",
            "components": COMPONENTS,
            "correlated": CORRELATED,
        },
        compute=compute,
        needs=needs,
    )


def judge_all(store: Store, ours: Pair, *, seed: int) -> dict[str, Any]:
    """By part and model: how well types, and partners, are found."""
    parts = [
        finetune_cells.cells_of(store, p, Regime.MULTIOME) for p in ("train", *PARTS)
    ]
    chosen = np.concatenate(parts)
    bounds = np.cumsum([0, *map(len, parts)])
    train, *rest = map(np.arange, bounds[:-1], bounds[1:])
    split = SplitIndices(train=train, **dict(zip(PARTS, rest, strict=True)))
    labels, number = store.labels[chosen], len(store.label_names)
    known = {"num_classes": number}
    counts = {m: judge.values(store, m, chosen) for m in MODALITIES}
    scaled = {m: log1p_at_median_depth(counts[m], train) for m in MODALITIES}
    rna, atac = (scaled[m].toarray() for m in MODALITIES)
    own = _standard((ours[0][chosen], ours[1][chosen]), train)
    pairs = {
        OURS[1]: own,
        "logistic_regression": (rna, atac),
        "standardised_logistic_regression": _standard((rna, atac), train),
    }
    said = {
        name: _by_regression(pair, labels, split, number, seed)
        for name, pair in pairs.items()
    }
    variates = _standard(_correlated(scaled, train, seed), train)
    spaces = {OURS[0]: own, "canonical_correlation": variates}
    for name, (reference, query) in spaces.items():
        said[name] = alignment.transfer_labels(
            reference[train], labels[train], query, **known
        )
    ceiling = baselines.naive_bayes(counts[Modality.ATAC], labels, split, **known)
    by_labels = {
        "validation": ceiling.validation_probabilities,
        "test": ceiling.probabilities,
    }
    found: dict[str, dict[str, Any]] = {}
    for part, rows in zip(PARTS, rest, strict=True):
        calls = {name: chances[rows].argmax(1) for name, chances in said.items()}
        calls["naive_bayes_with_labels"] = by_labels[part].argmax(1)
        found[part] = {
            name: configs.to_json(classification.score(labels[rows], called, number))
            for name, called in calls.items()
        }
        for name, pair in spaces.items():
            distances = alignment.foscttm(*(vectors[rows] for vectors in pair))
            found[part][name]["foscttm"] = float(distances.mean())
    return found


def _by_regression(
    pair: Pair, labels: np.ndarray, split: SplitIndices, number: int, seed: int
) -> Float[np.ndarray, "cells classes"]:
    """Taught on RNA, its penalty chosen by the RNA of validation cells."""
    reference, query = pair
    chosen = baselines.logistic_regression(
        reference, labels, split, num_classes=number, seed=seed
    )
    return alignment.transfer_by_regression(
        reference[split.train],
        labels[split.train],
        query,
        num_classes=number,
        penalty=chosen.value,
    )


def _correlated(scaled: Any, train: np.ndarray, seed: int) -> Pair:
    """Canonical variates of components of each modality, fitted on training cells."""
    parts = [
        svd_components(scaled[m], train, num_components=COMPONENTS, seed=seed)
        for m in MODALITIES
    ]
    return alignment.canonical_variates(*parts, train, number=CORRELATED)


def _standard(pair: Pair, train: np.ndarray) -> Pair:
    """Each feature standardised within its modality, over training cells."""
    rna, atac = (
        (vectors - vectors[train].mean(0)) / (vectors[train].std(0) + 1e-6)
        for vectors in pair
    )
    return rna, atac


SECTION = Section(
    about="types of ATAC cells, labelled on RNA",
    entries=entries,
    regimes=(Regime.MULTIOME,),
    metrics={**SCORES, "foscttm": "FOSCTTM"},
    keys=("set", "model"),
    references=("standardised_logistic_regression", "canonical_correlation"),
)

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
from scmultimodal.evaluation.features import log1p_at_median_depth, svd_components
from scmultimodal.evaluation.split_indices import SplitIndices
from scmultimodal.schemas import configs
from scmultimodal.schemas.modality import MODALITIES, Modality, Regime
from scmultimodal.workflows import finetune, judge
from scmultimodal.workflows.presets import ALIGNED

PARTS = ("validation", "test")
OURS = ("frozen_nearest_neighbours", "frozen_logistic_regression")
COMPONENTS, CORRELATED = 50, 20
PENALTY = 0.1
"""C of logistic regression on vectors: no labelled ATAC cell is there to choose it."""

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
            "penalty": PENALTY,
            "components": COMPONENTS,
            "correlated": CORRELATED,
        },
        compute=compute,
        needs=needs,
    )


def judge_all(store: Store, ours: Pair, *, seed: int) -> dict[str, Any]:
    """By part and model: how well types, and partners, are found."""
    cells = {
        part: finetune.cells_of(store, part, Regime.MULTIOME)
        for part in ("train", *PARTS)
    }
    train, labels, number = cells["train"], store.labels, len(store.label_names)
    ours = _standard(ours, train)
    everyone = np.arange(store.num_cells)
    counts = {m: judge.values(store, m, everyone) for m in MODALITIES}
    scaled = {m: log1p_at_median_depth(counts[m], train) for m in MODALITIES}
    variates = _correlated(scaled, train, seed)
    split, known = SplitIndices(**cells), {"num_classes": number}
    chosen = baselines.logistic_regression(
        scaled[Modality.RNA], labels, split, **known, seed=seed
    )
    ceiling = baselines.naive_bayes(counts[Modality.ATAC], labels, split, **known)
    rna, atac = (scaled[m].toarray() for m in MODALITIES)
    pairs = {
        OURS[1]: (ours, PENALTY),
        "logistic_regression": ((rna, atac), chosen.value),
        "standardised_logistic_regression": (
            _standard((rna, atac), train),
            chosen.value / 100,
        ),
    }
    said = {
        name: alignment.transfer_by_regression(
            reference[train], labels[train], query, penalty=penalty, **known
        )
        for name, ((reference, query), penalty) in pairs.items()
    }
    spaces = {OURS[0]: ours, "canonical_correlation": _standard(variates, train)}
    for name, (reference, query) in spaces.items():
        said[name] = alignment.transfer_labels(
            reference[train], labels[train], query, **known
        )
    found: dict[str, dict[str, Any]] = {}
    for part, rows in cells.items():
        if part == "train":
            continue
        calls = {name: chances[rows].argmax(1) for name, chances in said.items()}
        by_labels = {
            "validation": ceiling.validation_probabilities,
            "test": ceiling.probabilities,
        }
        calls["naive_bayes_with_labels"] = by_labels[part].argmax(1)
        found[part] = {
            name: configs.to_json(classification.score(labels[rows], called, number))
            for name, called in calls.items()
        }
        for name, pair in spaces.items():
            distances = alignment.foscttm(*(vectors[rows] for vectors in pair))
            found[part][name]["foscttm"] = float(distances.mean())
    return found


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

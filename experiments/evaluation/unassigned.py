"""Unassigned: what becomes of cells of types that a classifier has never seen.

A tenth of the types, at least one, are left out of training and validation. Cells that
are called with less than a probability are refused; the threshold is the one that calls
most validation cells with nine in ten right. Test cells of the types left out should be
refused, those of known types called.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from scipy import special

from experiments.evaluation import jobs, sets
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job, NothingToJudgeError
from experiments.evaluation.tables import Entry, Section
from scmultimodal.data.store import Store
from scmultimodal.evaluation import baselines, calibration
from scmultimodal.evaluation.depth import log1p_at_median_depth
from scmultimodal.evaluation.split_indices import SplitIndices
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows import finetune, finetune_cells, judge, pretrain
from scmultimodal.workflows.presets import BEST

MODELS = ("best", "logistic_regression", "naive_bayes")
MIN_CELLS = 50
"""Training cells of a type that may be left out."""
ACCURACY = 0.9
Chances = Float[np.ndarray, "cells classes"]


def entries(case: Case, folder: Path) -> list[Entry]:
    """All models without the same types."""
    own = _job(case, folder)
    return [Entry(row={"model": m}, job=own, within=(m,)) for m in MODELS]


def left_out(store: Store, regime: Regime, *, seed: int) -> tuple[str, ...]:
    """The types that are not shown: other ones for another seed.

    Raises:
        NothingToJudgeError: none is large enough.
    """
    cells = finetune_cells.cells_of(store, "train", regime)
    sizes = np.bincount(store.labels[cells], minlength=len(store.label_names))
    large = [
        name
        for name, size in zip(store.label_names, sizes, strict=True)
        if size >= MIN_CELLS and name != sets.MIXED
    ]
    if not large:
        raise NothingToJudgeError(f"no type has {MIN_CELLS} training cells")
    number = max(1, len(store.label_names) // 10)
    return tuple(sorted(np.random.default_rng(seed).permutation(large)[:number]))


def _job(case: Case, folder: Path) -> Job:
    config = dataclasses.replace(BEST.finetune, seed=case.seed)

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(BEST.recipe, folder)
        without = left_out(store, case.regime, seed=case.seed)
        shape = dataclasses.replace(BEST.pretrain, seed=case.seed)
        model = finetune.run(
            store,
            pretrain.untrained(store, shape),
            dataclasses.replace(config, without_types=without),
            case.regime,
            place,
            from_scratch=True,
        )
        cells = {
            part: finetune_cells.cells_of(store, part, case.regime, without=without)
            for part in ("train", "validation")
        } | {"test": finetune_cells.cells_of(store, "test", case.regime)}
        logits = {
            part: judge.predict(store, model, case.regime, cells[part])
            for part in ("validation", "test")
        }
        said = {"best": {p: special.softmax(v, axis=1) for p, v in logits.items()}}
        for result in _simple(store, case, cells):
            said[result.name] = {
                "validation": result.validation_probabilities,
                "test": result.probabilities,
            }
        unknown = np.isin(
            np.array(store.label_names)[store.labels[cells["test"]]], without
        )
        labels = {part: store.labels[rows] for part, rows in cells.items()}
        return {
            name: scores(chances, labels, unknown) for name, chances in said.items()
        } | {"left_out": list(without)}

    return Job(
        section="unassigned",
        settings={
            **case.settings(),
            "recipe": jobs.numbers(BEST.recipe),
            "shape": jobs.numbers(BEST.pretrain),
            "finetune": jobs.numbers(config),
            "accuracy": ACCURACY,
            "min_cells": MIN_CELLS,
        },
        compute=compute,
    )


def _simple(
    store: Store, case: Case, cells: dict[str, np.ndarray]
) -> list[baselines.BaselineResult]:
    (modality,) = case.regime.modalities
    counts = judge.values(store, modality, np.arange(store.num_cells))
    known = {
        "labels": store.labels,
        "split": SplitIndices(**cells),
        "num_classes": len(store.label_names),
    }
    return [
        baselines.logistic_regression(
            log1p_at_median_depth(counts, cells["train"]), **known, seed=case.seed
        ),
        baselines.naive_bayes(counts, **known),
    ]


def scores(
    chances: dict[str, Chances],
    labels: dict[str, Integer[np.ndarray, " _"]],
    unknown: np.ndarray,
) -> dict[str, float]:
    """How well the cells of types left out are told, and what refusing them costs.

    Args:
        chances: probabilities of validation and of test cells.
        labels: their types.
        unknown: test cells of a type left out.
    """
    threshold = calibration.choose_threshold(
        chances["validation"], labels["validation"], accuracy=ACCURACY
    ).threshold
    known = calibration.refuse(
        chances["test"][~unknown], labels["test"][~unknown], threshold
    )
    strange = calibration.refuse(
        chances["test"][unknown], labels["test"][unknown], threshold
    )
    return {
        "auroc": calibration.novelty_auroc(chances["test"], unknown),
        "refused": 1 - strange.assigned,
        "called": known.assigned,
        "accuracy": known.accuracy,
    }


SECTION = Section(
    about="types left out of training: their cells told by low confidence (AUROC) and "
    "refused; cells of known types called, and right; gains over logistic regression",
    entries=entries,
    regimes=(Regime.RNA,),
    metrics={
        "auroc": "AUROC",
        "refused": "unknown refused",
        "called": "known called",
        "accuracy": "right",
    },
    keys=("set", "model"),
    references=("logistic_regression",),
)

"""Jobs that leave the vectors of all cells of a set: ours, frozen, and components."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import sparse

from experiments.evaluation import jobs
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job
from scmultimodal.data.store import Store
from scmultimodal.evaluation.depth import log1p_at_median_depth
from scmultimodal.evaluation.features import svd_components
from scmultimodal.weights import export
from scmultimodal.workflows import judge
from scmultimodal.workflows.presets import Preset

FILE = "vectors.npy"


def frozen(case: Case, preset: Preset, folder: Path, *, start: Job) -> Job:
    """Of a pre-trained model that has seen no label."""

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(preset.recipe, folder)
        model, cells = export.load(needed[0]), _cells(store, case)
        return _keep(place, store, cells, judge.embed(store, model, case.regime, cells))

    return Job(
        section="vectors",
        settings={**case.settings(), "kind": "frozen"},
        compute=compute,
        needs=(start,),
    )


def components(case: Case, preset: Preset, folder: Path, *, number: int = 50) -> Job:
    """Of log1p values, or of both modalities' side by side: what PCA and LSI give."""

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(preset.recipe, folder)
        cells = _cells(store, case)
        train = np.flatnonzero(np.isin(cells, store.split("train")))
        scaled = [
            log1p_at_median_depth(judge.values(store, modality, cells), train)
            for modality in case.regime.modalities
        ]
        joint = sparse.hstack(scaled, format="csr")
        found = svd_components(joint, train, num_components=number, seed=case.seed)
        return _keep(place, store, cells, found)

    return Job(
        section="vectors",
        settings={
            **case.settings(),
            "kind": f"{number} components",
            "recipe": jobs.numbers(preset.recipe),
        },
        compute=compute,
    )


def read(place: Path) -> Float[np.ndarray, "cells dim"]:
    """Of every cell of the set; NaN where it lacks what they are made of."""
    return np.load(place / FILE, allow_pickle=False)


def _cells(store: Store, case: Case) -> np.ndarray:
    has = [store.present(modality) for modality in case.regime.modalities]
    return np.flatnonzero(np.all(has, axis=0))


def _keep(
    place: Path, store: Store, cells: np.ndarray, found: np.ndarray
) -> dict[str, Any]:
    vectors = np.full((store.num_cells, found.shape[1]), np.nan, np.float32)
    vectors[cells] = found
    np.save(place / FILE, vectors)
    return {"cells": len(cells), "width": found.shape[1]}

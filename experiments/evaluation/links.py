"""In-silico perturbation: which gene's RNA falls where a gene's chromatin is closed.

The link that is known is that of a gene to itself: on simulated cells it is planted, on
others it is what a gene's own peaks are there for. Each closed gene ranks the RNA of
all, by what the model expects of test cells before and after; beside it the plain
correlation of a gene's ATAC with the RNA of all over training cells.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import sparse

from experiments.evaluation import classifiers
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job, NothingToJudgeError
from experiments.evaluation.tables import Entry, Section
from experiments.evaluation.variants import vary
from scmultimodal.data.sources import ArraySource
from scmultimodal.data.store import Store
from scmultimodal.evaluation import perturbation as links
from scmultimodal.evaluation.depth import log1p_at_median_depth
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.weights import export
from scmultimodal.workflows import (
    finetune_cells,
    judge,
    perturbation,
    pretrain,
)
from scmultimodal.workflows.perturbation_changes import PerturbationConfig
from scmultimodal.workflows.presets import ALIGNED

GENES, CELLS = 200, 500
"""At most so many genes are closed, in so many cells."""
MODELS = ("best", "untrained", "correlation")
PRESET = vary(ALIGNED, {"pretrain.decoder.by_token": True})


def entries(case: Case, folder: Path) -> list[Entry]:
    """Ours, the same untrained, and correlation."""
    own = _job(case, folder)
    return [Entry(row={"model": m}, job=own, within=(m,)) for m in MODELS]


def _job(case: Case, folder: Path) -> Job:
    start = classifiers.pretraining(case, PRESET, folder)
    config = dataclasses.replace(PRESET.pretrain, seed=case.seed)

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(PRESET.recipe, folder)
        genes = _chosen(store, seed=case.seed)
        if not len(genes):
            raise NothingToJudgeError("no gene is shown in both modalities")
        found = {
            "best": _closed(store, export.load(needed[0]), genes, seed=case.seed),
            "untrained": _closed(
                store, pretrain.untrained(store, config), genes, seed=case.seed
            ),
            "correlation": _correlation(store, genes),
        }
        judged = np.all([np.isfinite(e).all(1) for e in found.values()], axis=0)
        found = {name: effects[judged] for name, effects in found.items()}
        own = genes[judged][:, None] == np.arange(store.num_genes)
        return {
            name: dataclasses.asdict(links.link_recovery(effects, own))
            for name, effects in found.items()
        }

    return Job(
        section="links",
        settings={**case.settings(), "genes": GENES, "cells": CELLS},
        compute=compute,
        needs=(start,),
    )


def _chosen(store: Store, *, seed: int) -> np.ndarray:
    """Genes that one in a hundred training cells shows, in both modalities."""
    cells = finetune_cells.cells_of(store, "train", Regime.MULTIOME)
    shown = [
        np.asarray((store.rows(m, cells) > 0).mean(0)).ravel() >= 0.01
        for m in Regime.MULTIOME.modalities
    ]
    genes = np.flatnonzero(np.all(shown, axis=0))
    return np.sort(np.random.default_rng(seed).permutation(genes)[:GENES])


def _closed(
    store: Store, model: export.StoredModel, genes: np.ndarray, *, seed: int
) -> Float[np.ndarray, "perturbed genes"]:
    """Minus the log fold change of the RNA that is expected of cells by their ATAC."""
    cells = finetune_cells.cells_of(store, "test", Regime.MULTIOME)
    cells = np.sort(np.random.default_rng(seed).permutation(cells)[:CELLS])
    source = ArraySource(None, store.rows(Modality.ATAC, cells))
    found = perturbation.run(
        model,
        source,
        Regime.ATAC,
        genes,
        PerturbationConfig(kind="close"),
        cell_names=[str(cell) for cell in cells],
    )
    assert found.effects is not None, "it was trained to tell counts"
    return -np.asarray(found.effects.layers["rna"])


def _correlation(
    store: Store, genes: np.ndarray
) -> Float[np.ndarray, "perturbed genes"]:
    """Pearson of the ATAC of some genes with the RNA of all, over training cells."""
    cells = finetune_cells.cells_of(store, "train", Regime.MULTIOME)
    everyone = np.arange(len(cells))
    rna, atac = (
        log1p_at_median_depth(judge.values(store, m, cells), everyone)
        for m in Regime.MULTIOME.modalities
    )
    first, second = _standard(atac[:, genes]), _standard(rna)
    return (first.T @ second / len(cells)).astype(np.float32)


def _standard(values: sparse.csr_matrix) -> Float[np.ndarray, "cells genes"]:
    dense = values.toarray().astype(np.float64)
    return (dense - dense.mean(0)) / (dense.std(0) + 1e-9)


SECTION = Section(
    about="a gene's chromatin closed in silico: does its own RNA fall most? gains over "
    "correlation",
    entries=entries,
    regimes=(Regime.MULTIOME,),
    metrics={
        "auroc": "AUROC",
        "average_precision": "average precision",
        "top": "first",
    },
    keys=("set", "model"),
    references=("correlation",),
)

"""Batches out of the vectors of a pre-trained model that reads open peaks.

    python -m experiments.train cell_model.batch_correction --out runs/corrected \\
        --model runs/peaks/seed_0/pretrain --data.dataset runs/peaks/seed_0/data

Pre-training goes on: expression is told from peaks, by a head that is told the cell's
batch (EpiFoundation), against an adversary (`--adversary 0` leaves it out). The vectors
of test cells are scored before and after by scib-metrics (extra `integration`), where
cells have types. Expected on mouse cortex, split 0: a total of .459 before and .455
after; the adversary finds no batch that could be taken out.
"""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from experiments.cell_model.data import DataConfig
from experiments.study import CellStudyConfig
from scmultimodal.data import atomic
from scmultimodal.data.store import Store
from scmultimodal.evaluation import text_table
from scmultimodal.evaluation.depth import log1p_at_median_depth
from scmultimodal.evaluation.features import svd_components
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.weights import export
from scmultimodal.workflows import (
    batch_correction,
    curves,
    finetune_cells,
    judge,
    provenance,
)
from scmultimodal.workflows.batch_correction import BatchCorrectionConfig
from scmultimodal.workflows.presets import PresetName

COMPONENTS = 50
SCORES = ("biology", "batches", "total")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(CellStudyConfig):
    """All numbers of a correction."""

    model: Path
    """Run folder or exported model that reads open peaks."""
    data: DataConfig
    """Which cells: what `prepare` made, by the model's genes and peaks."""
    score: bool = True
    """Score vectors before and after."""
    batch_correction: Annotated[BatchCorrectionConfig, tyro.conf.arg(name="")]
    """The training."""


def default(preset: PresetName) -> Study:
    """The same numbers for every preset."""
    return Study(
        out=tyro.MISSING,
        preset=preset,
        model=tyro.MISSING,
        data=DataConfig(dataset=tyro.MISSING),
        batch_correction=BatchCorrectionConfig(),
    )


def run(study: Study) -> None:
    """Trains on, and scores the vectors of test cells before and after."""
    start = export.load(study.model)
    digest = provenance.digest(*jax.tree.leaves(start.params))
    written = configs.to_json(study) | {"start_sha256": digest}
    resume = study.batch_correction.resume == "auto"
    provenance.check_config(study.out, written, resume=resume)
    store = _open(study)
    remedy = "Give the data of its pre-training"
    provenance.check_split(store, start.config.provenance, remedy=remedy)
    if study.score:
        _require_scores(store)
    provenance.write_config(study.out, written)
    model = batch_correction.run(store, start, study.batch_correction, study.out)
    curves.draw(study.out, {"correction": study.out})
    print(f"model   {study.out / 'model'}")
    if not study.score:
        return
    found = _scores(store, {"pre-trained": start, "corrected": model})
    path = study.out / "summary.json"
    atomic.write_text(path, json.dumps(found, indent=1) + "\n")
    print(f"summary {path}\n\n{_format(found)}")


def _open(study: Study) -> Store:
    given = Store.find(study.data.dataset)
    if given is None:
        raise InputError(
            study.data.dataset,
            "is no prepared dataset",
            f"Prepare it: scmultimodal prepare --vocabulary {study.model}",
        )
    return Store.open(given)


def _require_scores(store: Store) -> None:
    """Raises InputError before the training where vectors could not be scored."""
    from scmultimodal.evaluation import integration  # noqa: F401

    if not (store.labels[store.split("test")] >= 0).any():
        problem = "has no test cell with a type, by which vectors are scored"
        raise InputError(store.path, problem, "Prepare it with --label, or --no-score")


def _scores(store: Store, models: dict[str, export.StoredModel]) -> dict[str, Any]:
    """By name, components of the peaks too."""
    from scmultimodal.evaluation import integration

    rows = finetune_cells.cells_of(store, "test", Regime.ATAC)
    rows = rows[store.labels[rows] >= 0]
    vectors = {n: judge.embed(store, m, Regime.ATAC, rows) for n, m in models.items()}
    vectors = {n: (v - v.mean(0)) / (v.std(0) + 1e-6) for n, v in vectors.items()}
    peaks = store.peak_matrix().rows(np.arange(store.num_cells), "counts")
    train = finetune_cells.cells_of(store, "train", Regime.ATAC)
    scaled = log1p_at_median_depth(peaks.astype(np.float32), train)
    components = svd_components(scaled, train, num_components=COMPONENTS, seed=0)[rows]
    batches = np.unique(store.obs["batch"].to_numpy()[rows], return_inverse=True)[1]
    vectors["components"] = components
    found = integration.score(vectors, store.labels[rows], batches, before=components)
    return {name: configs.to_json(one) for name, one in found.items()}


def _format(found: dict[str, Any]) -> str:
    rows = [["vectors", *SCORES]]
    rows += [[n, *(f"{of[s]:.3f}" for s in SCORES)] for n, of in found.items()]
    return text_table.aligned(rows, ruled=True)

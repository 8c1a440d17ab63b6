"""Run folders without a training, by the writers that the workflows use."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scmultimodal.evaluation import ranking_summary, segmentation, summary
from scmultimodal.evaluation.classification import (
    class_table,
    confusion_matrix,
    score,
)
from scmultimodal.genome.elements import ELEMENTS
from scmultimodal.schemas import configs
from scmultimodal.schemas.modality import Modality
from scmultimodal.training.metrics import MetricsWriter
from scmultimodal.workflows import (
    explanation_files,
    genome_presets,
    judged,
    perturbation_results,
    presets,
    provenance,
)
from scmultimodal.workflows.importance_tables import GeneImportance, Importance
from tests import builders

TYPES = ("Ast", "Micro", "Oligo")
MODELS = ("scmultimodal", "scmultimodal_from_scratch", "logistic_regression")
LABELS = np.repeat(np.arange(3), 20)
SMALL = presets.SMALL
GENOME = genome_presets.GENOME_PRESETS["small"]


def cell_types(
    folder: Path,
    *,
    right: int = 30,
    cells: str = "a" * 64,
    simulated: bool = False,
    types: tuple[str, ...] = TYPES,
    **numbers: Any,
) -> Path:
    """A cell-type run on RNA and ATAC, of 60 test cells.

    Args:
        folder: to make.
        right: cells of whose type the fine-tuned model is right; it takes the others
            for the next type. From scratch it is right of 10 fewer, logistic regression
            of 40.
        cells: sha256 of the test cells.
        simulated: whether the cells are made up.
        types: names of the three types.
        **numbers: of the configuration, for example `seed`.
    """
    config = presets.cell_types(SMALL, label="cell_type", **numbers)
    command = {"command": f"scmultimodal finetune --out {folder.name}", "data": "mine"}
    provenance.write_config(folder, command | configs.to_json(config))
    predictions = {
        model: np.where(np.arange(60) % 60 < share, LABELS, (LABELS + 1) % 3)
        for model, share in zip(MODELS, (right, right - 10, 40), strict=True)
    }
    results = [
        summary.Result(model=model, modality=regime, scores=score(LABELS, found, 3))
        for regime in ("rna", "atac")
        for model, found in predictions.items()
    ]
    summary.write_summary(
        folder / "summary.json",
        dataset="mine",
        seed=0,
        split={"train": 210, "validation": 30, "test": 60},
        left_out={},
        results=results,
        simulated=simulated,
    )
    by_class = {
        model: class_table(LABELS, found, types)[list(judged.BY_TYPE)].to_dict("index")
        for model, found in predictions.items()
    }
    confusion = {
        model: confusion_matrix(LABELS, found, 3).tolist()
        for model, found in predictions.items()
    }
    facts = {"examples": 60, "sha256": cells, "by_class": by_class}
    facts |= {"classes": list(types), "confusion": confusion}
    judged.write(folder, {"rna": facts, "atac": facts})
    curve(folder / "pretrain", loss=[3.0, 2.5])
    curve(folder / "finetune" / "rna", accuracy=[0.2, 0.5, 0.4], loss=[1.0, 0.8, 0.9])
    return folder


def ranking(folder: Path, *, head: str = "linear", seed: int = 0) -> Path:
    """A run of region ranking, judged on 12 test spans."""
    numbers = {"head": head, "ranking": configs.to_json(GENOME.ranking)}
    provenance.write_config(folder, numbers)
    rng = np.random.default_rng(seed)
    values = rng.random((12, 3))
    rankers = {
        f"{head}, trained": values + rng.normal(0, 0.3, (12, 3)),
        "gc": rng.random((12, 3)),
        "ridge on 5-mers": rng.random((12, 3)),
    }
    results = ranking_summary.judge(rankers, values, np.arange(12), over=("gc",))
    _write(folder, {"test": [result.as_row() for result in results]})
    judged.write(folder, {"test": {"examples": 12, "sha256": "b" * 64}})
    curve(folder, loss=[1.0, 0.9], full_order=[0.2, 0.4])
    return folder


def segmented(folder: Path, *, seed: int = 0) -> Path:
    """A run of segmentation that judged all elements but the last."""
    provenance.write_config(
        folder, {"segmentation": configs.to_json(GENOME.segmentation), "labels": {}}
    )
    rng = np.random.default_rng(seed)

    def rows() -> list[dict[str, Any]]:
        confusion = rng.integers(1, 9, (len(ELEMENTS), 4)).astype(float)
        confusion[-1, [0, 2]] = 0
        counts = rng.integers(1, 9, (len(ELEMENTS), 2, 5)).astype(float)
        counts[-1, 1] = 0
        return segmentation.as_rows(segmentation.judge(confusion, counts))

    _write(folder, {"validation": rows(), "test": rows(), "test, baseline": rows()})
    part = {"examples": 900, "sha256": "c" * 64}
    judged.write(folder, {"validation": part, "test": part})
    curve(folder, loss=[0.3, 0.2], mcc=[0.0, 0.1])
    return folder


def pretraining(folder: Path, *, losses: tuple[float, ...] = (3.0, 2.0)) -> Path:
    """A pre-training of cells, which has metrics alone."""
    provenance.write_config(folder, {"pretrain": configs.to_json(SMALL.pretrain)})
    judged.write(folder, {"validation": {"examples": 30, "sha256": "d" * 64}})
    curve(folder, loss=list(losses))
    return folder


def perturbed(
    folder: Path, *, change: str = "delete RNA", decodes: bool = True
) -> Path:
    """What `perturb` leaves of Gene0 to Gene2, of which no cell has the last.

    Gene0 moves its two cells by 1 and 3, Gene1 its one by 5; the RNA of Gene4 then
    rises most, its ATAC falls most.

    Args:
        folder: to make.
        change: what it calls the change.
        decodes: whether the model tells counts.
    """
    effects = np.zeros((2, 3, 6), np.float32)
    effects[:, :2, 4] = [[2.0], [-3.0]]
    effects[0, 0, 0] = 9  # What was itself changed is left out.
    found = perturbation_results.build(
        builders.gene_vocabulary(6),
        [np.array([gene]) for gene in range(3)],
        changed=Modality.RNA,
        group=np.array([0, 0, 1]),
        cell_names=np.array(["a", "b", "a"]),
        shifts=np.array([[0.1, 1], [0.3, 3], [0.0004, 5]], np.float32),
        effects=dict(zip(Modality, effects, strict=True)) if decodes else {},
    )
    facts = provenance.of_code() | {"command": "scmultimodal perturb", "files": []}
    found.write(folder, facts | {"change": change, "cells": 1_234})
    return folder


def explained(
    folder: Path, *, types: bool = True, simulated: bool = False, strongest: int = 0
) -> Path:
    """What `explain` leaves of three types and six genes.

    Args:
        folder: to make.
        types: whether it was asked by what types are told, or for neighbours alone.
        simulated: whether the cells are made up.
        strongest: the gene that speaks most for the first type, by RNA.
    """
    vocabulary = builders.gene_vocabulary(6)
    index = pd.MultiIndex.from_product(
        [["rna", "atac"], vocabulary.gene_ids], names=["modality", "gene_id"]
    )
    table = pd.DataFrame(0.0, index=index, columns=list(TYPES[:2]))
    table.iloc[strongest, 0], table.iloc[1, 0], table.iloc[8, 1] = 0.5, 0.25, 0.125
    table[TYPES[2]] = np.nan
    table.insert(0, "symbol", np.tile(vocabulary.symbols, 2))
    near = pd.DataFrame(
        {
            "gene_id": "x",
            "symbol": "Gene3",
            "rank": [1, 2],
            "neighbour_id": "x",
            "neighbour": ["Gene4", "Gene5"],
            "cosine": [0.875, 0.5],
        }
    )
    cells = pd.Series([20, 10, 0], index=list(TYPES), name="cells")
    folder.mkdir(parents=True)
    facts = provenance.of_code() | {"command": "scmultimodal explain", "files": []}
    explanation_files.write(
        folder,
        Importance(
            genes=GeneImportance(table=table, cells=cells) if types else None,
            peaks=None,
        ),
        {"rna": near},
        facts | {"simulated": simulated},
    )
    return folder


def curve(folder: Path, **metrics: list[float]) -> None:
    """Validations at steps 10, 20, …, after as many records of training."""
    writer = MetricsWriter(folder)
    for number, values in enumerate(zip(*metrics.values(), strict=True), start=1):
        named = dict(zip(metrics, values, strict=True))
        writer.write(10 * number, "train", {**named, "grad_norm": 1.0})
        writer.write(10 * number, "validation", named)
    writer.close()


def _write(folder: Path, content: Any) -> None:
    (folder / "summary.json").write_text(json.dumps(content))

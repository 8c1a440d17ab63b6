"""RNA told from ATAC where a gene's peaks lie beyond 50 kb: by peaks, and by genes.

Gene-level ATAC has nothing of such a gene but what it shares with others. Of both paths
beside what ridge regression tells: from the same open peaks, from their counts, and
from gene-level counts. Chosen on validation cells: its penalty.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.evaluation import (
    classifiers,
    distal_links,
    expression,
    imputation,
    sets,
)
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job
from experiments.evaluation.tables import Entry, Section
from scmultimodal.data.store import Store
from scmultimodal.evaluation import imputation as scores
from scmultimodal.evaluation.depth import log1p_at_median_depth
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.weights import export
from scmultimodal.workflows import finetune_cells
from scmultimodal.workflows.presets import ALIGNED

RIDGES = ("ridge_open_peaks", "ridge_peak_counts", "ridge_gene_level")
MODELS = ("peaks", "gene_level", *RIDGES)
PARTS = ("train", "validation", "test")

Told = Float[np.ndarray, "cells genes"]


def entries(case: Case, folder: Path) -> list[Entry]:
    """Both paths, and ridge regression."""
    own = _job(case, folder)
    return [Entry(row={"model": m}, job=own, within=(m,)) for m in MODELS]


def _job(case: Case, folder: Path) -> Job:
    starts = [
        classifiers.pretraining(case, preset, folder)
        for preset in (distal_links.PRESET, ALIGNED)
    ]

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(ALIGNED.recipe, folder)
        by_peaks, by_genes = map(export.load, needed)
        links = sets.distal_cells(case.seed).uns["links"]
        far = links["gene_id"][links["distance_bp"] > distal_links.BEYOND_BP]
        return judge_all(store, by_peaks, by_genes, set(far))

    return Job(
        section="distal_expression",
        settings={
            **case.settings(),
            "beyond_bp": distal_links.BEYOND_BP,
            "depth_of": "training cells",
        },
        compute=compute,
        needs=starts,
    )


def judge_all(
    store: Store,
    by_peaks: export.StoredModel,
    by_genes: export.StoredModel,
    far: set[str],
) -> dict[str, Any]:
    """Mean Pearson over test cells of the genes of each kind.

    Args:
        store: cells with both, prepared with their peaks.
        by_peaks: pre-trained to tell genes from peaks.
        by_genes: pre-trained to tell counts, on gene-level ATAC.
        far: IDs of the genes whose peaks lie beyond 50 kb.
    """
    cells = {p: finetune_cells.cells_of(store, p, Regime.MULTIOME) for p in PARTS}
    every = np.arange(store.num_cells)
    rna = log1p_at_median_depth(store.rows("rna", every, "counts"), cells["train"])
    measured = {p: rna[rows].toarray() for p, rows in cells.items()}
    depth = imputation.median_depth(store, Modality.RNA, cells["train"])
    told = {
        "peaks": expression.told_by_peaks(store, by_peaks, cells["test"]),
        "gene_level": imputation.told_counts(
            store, by_genes, Modality.RNA, Modality.ATAC, cells["test"], depth
        ),
        **_ridges(store, cells, measured),
    }
    distal = np.isin(store.vocabulary.gene_ids.astype(str), list(far))
    found = {}
    for name, values in told.items():
        pearson = scores.score(values, measured["test"]).gene_pearson
        parts = {"distal": pearson[distal], "near": pearson[~distal]}
        found[name] = {part: float(np.nanmean(own)) for part, own in parts.items()}
    return found


def _ridges(
    store: Store, cells: Mapping[str, np.ndarray], measured: Mapping[str, np.ndarray]
) -> dict[str, Told]:
    """From all peaks or genes, as they are."""
    every = np.arange(store.num_cells)
    peaks, train = store.peak_matrix(), cells["train"]
    sources = (
        peaks.rows(every, "bins").astype(np.float32),
        log1p_at_median_depth(peaks.rows(every, "counts"), train),
        log1p_at_median_depth(store.rows("atac", every, "counts"), train),
    )
    found = {}
    for name, source in zip(RIDGES, sources, strict=True):
        own = {part: source[rows].toarray() for part, rows in cells.items()}
        found[name] = scores.ridge(
            own["train"],
            measured["train"],
            (own["validation"], measured["validation"]),
            own["test"],
        )
    return found


SECTION = Section(
    about="RNA of test cells told from their ATAC, of genes that follow peaks beyond "
    "50 kb, and of those that follow near ones; gains over the gene-level path",
    entries=entries,
    regimes=(Regime.ATAC,),
    metrics={
        "distal": "Pearson, genes of distal peaks",
        "near": "Pearson, genes of near peaks",
    },
    keys=("set", "model"),
    references=("gene_level",),
    distal=True,
)

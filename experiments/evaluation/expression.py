"""Which genes a cell expresses, told from its ATAC alone: by peaks, and by genes.

The trunk of open peaks that was pre-trained to tell expression (`PEAKS`), alone and
with the means of the types that naive Bayes on peaks finds likely; against gene-level
ATAC (`aligned`), it too with and without these types, ridge regression on components of
peaks and on all that are open, the mean of the cell's type
(as naive Bayes calls it, weighed by how likely it finds each, and as it truly is) and
the mean profile. The leak check: the peaks of another cell.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.evaluation import classifiers
from experiments.evaluation import imputation as both_ways
from experiments.evaluation.cases import Case
from experiments.evaluation.imputation import COMPONENTS
from experiments.evaluation.jobs import Job
from experiments.evaluation.tables import Entry, Section
from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.evaluation import imputation, naive_bayes
from scmultimodal.evaluation.depth import log1p_at_median_depth
from scmultimodal.evaluation.features import of_unit_length, svd_components, tf_idf
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.weights import export
from scmultimodal.workflows import expression, finetune_cells, inference, judge, trained
from scmultimodal.workflows.presets import ALIGNED, PEAKS

PARTS = ("validation", "test")
MODELS = (
    "peaks",
    "peaks_with_types",
    "gene_level",
    "gene_level_with_types",
    "ridge",
    "ridge_open_peaks",
    "mean_of_true_type",
    "mean_of_called_type",
    "mean_of_likely_types",
    "mean_profile",
    "peaks_of_another_cell",
)

Told = dict[str, Float[np.ndarray, "cells genes"]]
"""By part of the cells."""


def entries(case: Case, folder: Path) -> list[Entry]:
    """All models."""
    own = job(case, folder)
    return [
        Entry(row={"model": model}, job=own, within=("test", model)) for model in MODELS
    ]


def job(case: Case, folder: Path) -> Job:
    """All models that tell RNA from ATAC."""
    by_peaks = classifiers.pretraining(case, PEAKS, folder)
    by_gene = classifiers.pretraining(case, ALIGNED, folder)

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(PEAKS.recipe, folder, peaks=True)
        return judge_all(store, *map(export.load, needed), seed=case.seed)

    return Job(
        section="expression",
        settings={**case.settings(), "components": COMPONENTS, "models": MODELS},
        compute=compute,
        needs=(by_peaks, by_gene),
    )


def judge_all(
    store: Store,
    by_peaks: export.StoredModel,
    by_gene: export.StoredModel,
    *,
    seed: int,
) -> dict[str, Any]:
    """Means over genes, by part and model.

    Args:
        store: the cells, with their peaks.
        by_peaks: pre-trained to tell expression from open peaks.
        by_gene: pre-trained on pairs, with gene-level ATAC.
        seed: of components and of which cell is shown for which.
    """
    cells = {
        part: finetune_cells.cells_of(store, part, Regime.MULTIOME)
        for part in ("train", *PARTS)
    }
    whole = log1p_at_median_depth(
        judge.values(store, Modality.RNA, np.arange(store.num_cells)), cells["train"]
    )
    measured = {part: whole[rows].toarray() for part, rows in cells.items()}
    predicted = _simple(store, cells, measured, seed=seed)
    predicted["peaks"] = {
        part: told_by_peaks(store, by_peaks, cells[part]) for part in PARTS
    }
    depth = both_ways.median_depth(store, Modality.RNA, cells["train"])
    predicted["gene_level"] = {
        part: both_ways.told_counts(
            store, by_gene, Modality.RNA, Modality.ATAC, cells[part], depth
        )
        for part in PARTS
    }
    for name in ("peaks", "gene_level"):
        predicted[f"{name}_with_types"] = _with_types(name, predicted, measured)
    rng = np.random.default_rng(seed)
    predicted["peaks_of_another_cell"] = {
        part: rng.permutation(values) for part, values in predicted["peaks"].items()
    }
    return {
        part: {
            model: imputation.score(predicted[model][part], measured[part]).means()
            for model in MODELS
        }
        for part in PARTS
    }


def told_by_peaks(
    store: Store, model: export.StoredModel, rows: np.ndarray
) -> Float[np.ndarray, "cells genes"]:
    """The probability that each gene is expressed."""
    builder = trained.builder_for(StoreSource(store), model.config)
    told = inference.over_cells(
        expression.function(model), builder, rows, Regime.ATAC, batch_size=128
    )
    return told.astype(np.float32)


def _with_types(name: str, predicted: Mapping[str, Told], measured: Told) -> Told:
    """A model and the means of likely types, by weights of validation cells."""
    members = [predicted[name], predicted["mean_of_likely_types"]]
    return {
        part: imputation.combine(
            [member["validation"] for member in members],
            measured["validation"],
            [member[part] for member in members],
            profile=measured["train"].mean(0),
        )
        for part in PARTS
    }


def _simple(
    store: Store, cells: Mapping[str, np.ndarray], measured: Told, *, seed: int
) -> dict[str, Told]:
    """What is said without a network."""
    train, every = cells["train"], np.arange(store.num_cells)
    counts = store.peak_matrix().rows(every, "counts").astype(np.float32)
    scaled = log1p_at_median_depth(counts, train)
    components = svd_components(scaled, train, num_components=COMPONENTS, seed=seed)
    labels = store.labels
    model = naive_bayes.fit_em(counts[train], labels[train], len(store.label_names))
    chances = model.predict(counts).astype(np.float32)
    bins = store.peak_matrix().rows(every, "bins")
    opened = of_unit_length(tf_idf(bins.astype(np.float32), train))
    own, known = measured["train"], labels[train]
    held_out = (components[cells["validation"]], measured["validation"])
    truth = measured["validation"]
    both = np.concatenate([cells[part] for part in PARTS])
    by_peaks = imputation.kernel_ridge(
        opened[train], own, (opened[cells["validation"]], truth), opened[both]
    )
    ends = np.cumsum([len(cells[part]) for part in PARTS])[:-1]
    found: dict[str, Told] = {
        "ridge_open_peaks": dict(zip(PARTS, np.split(by_peaks, ends), strict=True))
    }
    for part in PARTS:
        rows = cells[part]
        said = {
            "ridge": imputation.ridge(
                components[train], own, held_out, components[rows]
            ),
            "mean_of_true_type": imputation.type_means(own, known, labels[rows]),
            "mean_of_called_type": imputation.type_means(
                own, known, chances[rows].argmax(1)
            ),
            "mean_of_likely_types": imputation.likely_means(own, known, chances[rows]),
            "mean_profile": imputation.mean_profile(own, len(rows)),
        }
        for name, values in said.items():
            found.setdefault(name, {})[part] = values
    return found


SECTION = Section(
    about="which genes test cells express, told from ATAC alone; gains over "
    "gene-level ATAC, and over ridge regression on open peaks",
    entries=entries,
    regimes=(Regime.MULTIOME,),
    metrics={"gene_pearson": "per-gene Pearson", "gene_auroc": "AUROC of detection"},
    keys=("set", "model"),
    references=("gene_level", "gene_level_with_types", "ridge_open_peaks"),
)

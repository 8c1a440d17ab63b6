"""Cross-modal imputation: one modality of test cells told from the other.

Ours, from the cell's vector, against the mean profile, the mean of the cell's type (as
naive Bayes calls it from what is shown, and as it truly is) and ridge regression on
components. The leak check: ours again, shown another cell's modality.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from experiments.evaluation import classifiers
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job
from experiments.evaluation.tables import Entry, Section
from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.evaluation import imputation, naive_bayes
from scmultimodal.evaluation.features import log1p_at_median_depth, svd_components
from scmultimodal.schemas.modality import MODALITIES, Modality, Regime
from scmultimodal.weights import export
from scmultimodal.workflows import finetune, inference, judge, trained
from scmultimodal.workflows.presets import ALIGNED

PARTS = ("validation", "test")
MODELS = (
    "best",
    "ridge",
    "mean_of_true_type",
    "mean_of_called_type",
    "mean_profile",
    "best_of_another_cell",
)
COMPONENTS = 50


def entries(case: Case, folder: Path) -> list[Entry]:
    """Both ways."""
    return [
        Entry(
            row={"told": str(told), "model": model},
            job=own,
            within=("test", model),
        )
        for told in MODALITIES
        for own in [job(case, told, folder)]
        for model in MODELS
    ]


def job(case: Case, told: Modality, folder: Path) -> Job:
    """All models that tell a modality from the other."""
    start = classifiers.pretraining(case, ALIGNED, folder)

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(ALIGNED.recipe, folder)
        return judge_all(store, export.load(needed[0]), told, seed=case.seed)

    return Job(
        section="imputation",
        settings={**case.settings(), "told": str(told), "components": COMPONENTS},
        compute=compute,
        needs=(start,),
    )


def judge_all(
    store: Store, model: export.StoredModel, told: Modality, *, seed: int
) -> dict[str, Any]:
    """Means over genes and cells, by part and model."""
    (shown,) = (m for m in MODALITIES if m != told)
    cells = {
        part: finetune.cells_of(store, part, Regime.MULTIOME)
        for part in ("train", *PARTS)
    }
    whole = log1p_at_median_depth(
        judge.values(store, told, np.arange(store.num_cells)), cells["train"]
    )
    measured = {part: whole[rows].toarray() for part, rows in cells.items()}
    depth = _median_depth(store, told, cells["train"])
    components, called = _source(store, shown, cells, seed)
    labels = store.labels[cells["train"]]
    rng = np.random.default_rng(seed)
    found = {}
    for part in PARTS:
        rows, number = cells[part], len(cells[part])
        other = rng.permutation(number)
        ours = _ours(store, model, told, shown, rows, depth)
        predicted = {
            "best": ours,
            "ridge": imputation.ridge(
                components[cells["train"]],
                measured["train"],
                (components[cells["validation"]], measured["validation"]),
                components[rows],
            ),
            "mean_of_true_type": imputation.type_means(
                measured["train"], labels, store.labels[rows]
            ),
            "mean_of_called_type": imputation.type_means(
                measured["train"], labels, called[rows]
            ),
            "mean_profile": imputation.mean_profile(measured["train"], number),
            "best_of_another_cell": ours[other],
        }
        found[part] = {
            name: imputation.score(values, measured[part]).means()
            for name, values in predicted.items()
        }
    return found


def _ours(
    store: Store,
    model: export.StoredModel,
    told: Modality,
    shown: Modality,
    rows: np.ndarray,
    depth: float,
) -> Float[np.ndarray, "cells genes"]:
    """log1p of what is expected at the median depth."""
    builder = trained.builder_for(StoreSource(store), model.config)
    shares = inference.over_cells(
        trained.shares_function(model, told), builder, rows, Regime(str(shown))
    )
    return expected_log1p(depth * shares).astype(np.float32)


def expected_log1p(rates: np.ndarray) -> np.ndarray:
    """Mean of log1p of Poisson counts: what squared errors and means are about."""
    grid = np.concatenate([np.linspace(0, 4, 401), np.geomspace(4.01, 1_000, 400)])
    counts = np.arange(2_000)
    chances = stats.poisson.pmf(counts, grid[:, None])
    return np.interp(rates, grid, chances @ np.log1p(counts))


def _median_depth(store: Store, told: Modality, train: np.ndarray) -> float:
    totals = np.asarray(judge.values(store, told, train).sum(1)).ravel()
    return float(np.median(totals[totals > 0]))


def _source(
    store: Store, shown: Modality, cells: Mapping[str, np.ndarray], seed: int
) -> tuple[Float[np.ndarray, "cells components"], np.ndarray]:
    """Of what is shown: components, and the type that naive Bayes calls each cell."""
    counts = judge.values(store, shown, np.arange(store.num_cells))
    scaled = log1p_at_median_depth(counts, cells["train"])
    components = svd_components(
        scaled, cells["train"], num_components=COMPONENTS, seed=seed
    )
    train = cells["train"]
    model = naive_bayes.fit_em(
        counts[train], store.labels[train], len(store.label_names)
    )
    return components, model.predict(counts).argmax(1)


SECTION = Section(
    about="one modality of test cells told from the other; gains over ridge",
    entries=entries,
    regimes=(Regime.MULTIOME,),
    metrics={
        "gene_pearson": "per-gene Pearson",
        "cell_pearson": "per-cell Pearson",
        "gene_auroc": "AUROC of detection",
    },
    keys=("set", "told", "model"),
    references=("ridge",),
)

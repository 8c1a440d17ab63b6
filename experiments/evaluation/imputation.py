"""Cross-modal imputation: one modality of test cells told from the other.

Ours, from the cell's vector, alone and with the means of the types that `best-ensemble`
finds likely; against the mean profile, the mean of the cell's type (as naive Bayes
calls it from what is shown, weighed by how likely it finds each, and as it truly is)
and ridge regression on components. The leak check: ours shown another cell's modality.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from experiments.evaluation import cell_types, classifiers
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job, NothingToJudgeError
from experiments.evaluation.tables import Entry, Section
from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.evaluation import imputation, naive_bayes
from scmultimodal.evaluation.depth import log1p_at_median_depth
from scmultimodal.evaluation.features import svd_components
from scmultimodal.schemas.modality import MODALITIES, Modality, Regime
from scmultimodal.weights import export
from scmultimodal.workflows import finetune_cells, inference, judge, trained
from scmultimodal.workflows.presets import ALIGNED

PARTS = ("validation", "test")
MODELS = (
    "best",
    "best_with_types",
    "ridge",
    "mean_of_true_type",
    "mean_of_called_type",
    "mean_of_likely_types",
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
    types = cell_types.together(case.of(Regime(str(_other(told)))), folder)

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(ALIGNED.recipe, folder)
        model, chances = export.load(needed[0]), classifiers.read(needed[1])
        return judge_all(store, model, chances, told, seed=case.seed)

    return Job(
        section="imputation",
        settings={**case.settings(), "told": str(told), "components": COMPONENTS},
        compute=compute,
        needs=(start, types),
    )


def judge_all(
    store: Store,
    model: export.StoredModel,
    chances: Mapping[str, classifiers.Probabilities],
    told: Modality,
    *,
    seed: int,
) -> dict[str, Any]:
    """Means over genes and cells, by part and model.

    Args:
        store: the cells.
        model: pre-trained on pairs.
        chances: of each type, by what is shown of the cells of both parts.
        told: the modality to tell from the other.
        seed: of components and of which cell is shown for which.

    Raises:
        NothingToJudgeError: some cells lack a modality.
    """
    shown = _other(told)
    cells = {
        part: finetune_cells.cells_of(store, part, Regime.MULTIOME)
        for part in ("train", *PARTS)
    }
    whole = log1p_at_median_depth(
        judge.values(store, told, np.arange(store.num_cells)), cells["train"]
    )
    measured = {part: whole[rows].toarray() for part, rows in cells.items()}
    if any(len(chances[part]) != len(cells[part]) for part in PARTS):
        raise NothingToJudgeError("some cells lack a modality")
    depth = median_depth(store, told, cells["train"])
    components, simple = _source(store, shown, cells, seed)
    labels = store.labels[cells["train"]]
    rng = np.random.default_rng(seed)
    ours = {p: told_counts(store, model, told, shown, cells[p], depth) for p in PARTS}
    typed = {
        p: imputation.likely_means(
            measured["train"], labels, chances[p].astype(np.float32)
        )
        for p in PARTS
    }
    found = {}
    for part in PARTS:
        rows, number = cells[part], len(cells[part])
        other = rng.permutation(number)
        predicted = {
            "best": ours[part],
            "best_with_types": imputation.combine(
                [ours["validation"], typed["validation"]],
                measured["validation"],
                [ours[part], typed[part]],
                profile=measured["train"].mean(0),
            ),
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
                measured["train"], labels, simple[rows].argmax(1)
            ),
            "mean_of_likely_types": imputation.likely_means(
                measured["train"], labels, simple[rows]
            ),
            "mean_profile": imputation.mean_profile(measured["train"], number),
            "best_of_another_cell": ours[part][other],
        }
        found[part] = {
            name: imputation.score(values, measured[part]).means()
            for name, values in predicted.items()
        }
    return found


def _other(modality: Modality) -> Modality:
    (other,) = (m for m in MODALITIES if m != modality)
    return other


def told_counts(
    store: Store,
    model: export.StoredModel,
    told: Modality,
    shown: Modality,
    rows: np.ndarray,
    depth: float,
) -> Float[np.ndarray, "cells genes"]:
    """log1p of what is expected of a modality at a depth, told from what is shown."""
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


def median_depth(store: Store, told: Modality, train: np.ndarray) -> float:
    """Counts of a training cell."""
    totals = np.asarray(judge.values(store, told, train).sum(1)).ravel()
    return float(np.median(totals[totals > 0]))


def _source(
    store: Store, shown: Modality, cells: Mapping[str, np.ndarray], seed: int
) -> tuple[Float[np.ndarray, "cells components"], Float[np.ndarray, "cells classes"]]:
    """Of what is shown: components, and the types by naive Bayes."""
    counts = judge.values(store, shown, np.arange(store.num_cells))
    scaled = log1p_at_median_depth(counts, cells["train"])
    components = svd_components(
        scaled, cells["train"], num_components=COMPONENTS, seed=seed
    )
    train = cells["train"]
    model = naive_bayes.fit_em(
        counts[train], store.labels[train], len(store.label_names)
    )
    return components, model.predict(counts).astype(np.float32)


SECTION = Section(
    about="one modality of test cells told from the other; gains over ridge, and over "
    "the mean of the type that naive Bayes calls",
    entries=entries,
    regimes=(Regime.MULTIOME,),
    metrics={
        "gene_pearson": "per-gene Pearson",
        "cell_pearson": "per-cell Pearson",
        "gene_auroc": "AUROC of detection",
    },
    keys=("set", "told", "model"),
    references=("ridge", "mean_of_called_type"),
)

"""How well vectors of cells keep types together and batches mixed (scib-metrics)."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float, Integer

from scmultimodal.evaluation import extra
from scmultimodal.schemas.errors import InputError

with extra.required("integration"):
    import harmonypy
    from scib_metrics.benchmark import Benchmarker

MIN_CELLS = 100
"""Least cells to score: neighbourhoods are of up to 90."""
_BEFORE = "before"
_COLUMNS = {
    "Bio conservation": "biology",
    "Batch correction": "batches",
    "Total": "total",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class IntegrationScores:
    """Of one embedding; each is within 0…1, and more is better.

    Attributes:
        biology: mean of the scores that ask whether types stay apart.
        batches: mean of those that ask whether batches of a type mix.
        total: .6 of the first and .4 of the second, as scib weighs them.
        metrics: all scores by their names in scib-metrics.
    """

    biology: float
    batches: float
    total: float
    metrics: Mapping[str, float]


def score(
    vectors: Mapping[str, Float[np.ndarray, "cells _"]],
    labels: Integer[np.ndarray, " cells"],
    batches: Integer[np.ndarray, " cells"],
    *,
    before: Float[np.ndarray, "cells _"],
) -> dict[str, IntegrationScores]:
    """Scores embeddings of the same cells side by side.

    Source: Luecken et al. 2022, doi:10.1038/s41592-021-01336-8.

    Args:
        vectors: embeddings by name.
        labels: type of each cell.
        batches: batch of each.
        before: components of the cells as measured, that correction is told by.

    Raises:
        InputError: there are too few cells, or a single batch or type.
    """
    kinds = {"types": len(np.unique(labels)), "batches": len(np.unique(batches))}
    if len(labels) < MIN_CELLS or min(kinds.values()) < 2:
        raise InputError(
            "cells",
            f"there are {len(labels)} of {kinds['types']} types in "
            f"{kinds['batches']} batches",
            f"Give {MIN_CELLS} or more, of two or more types and batches",
        )
    cells = AnnData(
        obs=pd.DataFrame(
            {
                "label": pd.Categorical([f"type {i}" for i in labels]),
                "batch": pd.Categorical([f"batch {i}" for i in batches]),
            },
            index=[str(i) for i in range(len(labels))],
        )
    )
    for name, found in {**vectors, _BEFORE: before}.items():
        cells.obsm[name] = found.astype(np.float32)
    benchmark = Benchmarker(
        cells,
        batch_key="batch",
        label_key="label",
        embedding_obsm_keys=list(vectors),
        pre_integrated_embedding_obsm_key=_BEFORE,
        n_jobs=1,
        progress_bar=False,
    )
    benchmark.benchmark()
    table = benchmark.get_results(min_max_scale=False)
    return {name: _scores(table.loc[name]) for name in vectors}


def _scores(row: pd.Series) -> IntegrationScores:
    metrics = {str(name): float(value) for name, value in row.items()}
    means = {short: metrics.pop(name) for name, short in _COLUMNS.items()}
    return IntegrationScores(**means, metrics=metrics)


def harmony(
    components: Float[np.ndarray, "cells dim"],
    batches: Integer[np.ndarray, " cells"],
    *,
    seed: int = 0,
) -> Float[np.ndarray, "cells dim"]:
    """Components with their batches brought together by Harmony.

    Source: Korsunsky et al. 2019, doi:10.1038/s41592-019-0619-0.
    """
    names = pd.DataFrame({"batch": [f"batch {i}" for i in batches]})
    found = harmonypy.run_harmony(
        components.astype(np.float64),
        names,
        ["batch"],
        random_state=seed,
        verbose=False,
    )
    return np.asarray(found.Z_corr, np.float32)

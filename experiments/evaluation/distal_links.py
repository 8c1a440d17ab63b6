"""Links that are planted beyond 50 kb: does a model that reads peaks go by them?

Pairs of a peak that some training cell has open and a gene whose start is 50 to 500 kb
away, ranked by `CellModel.peak_to_gene`; beside it the same untrained, how near they
are, and the plain correlation of the peak's being open and the gene's RNA over the same
cells.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool
from mudata import MuData

from experiments.evaluation import classifiers, sets
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job
from experiments.evaluation.tables import Entry, Section
from experiments.evaluation.variants import vary
from scmultimodal.data.store import Store
from scmultimodal.evaluation import perturbation
from scmultimodal.models import CellModel
from scmultimodal.schemas.modality import Regime
from scmultimodal.weights import export
from scmultimodal.workflows import finetune_cells, pretrain
from scmultimodal.workflows.presets import PEAKS

BEYOND_BP = 50_000
"""What gene-level ATAC sees of a gene."""
MODELS = ("peaks", "peaks_untrained", "distance", "correlation")
PRESET = vary(PEAKS, {"pretrain.gene_from_peaks.loadings": 50})


def entries(case: Case, folder: Path) -> list[Entry]:
    """Ours, the same untrained, and what is simple."""
    own = _job(case, folder)
    return [Entry(row={"model": m}, job=own, within=(m,)) for m in MODELS]


def _job(case: Case, folder: Path) -> Job:
    start = classifiers.pretraining(case, PRESET, folder)
    config = dataclasses.replace(PRESET.pretrain, seed=case.seed)

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(PRESET.recipe, folder)
        fresh = pretrain.untrained(store, config)
        return judge_all(
            sets.distal_cells(case.seed), store, export.load(needed[0]), fresh
        )

    return Job(
        section="distal_links",
        settings={**case.settings(), "beyond_bp": BEYOND_BP},
        compute=compute,
        needs=(start,),
    )


def judge_all(
    data: MuData, store: Store, model: export.StoredModel, fresh: export.StoredModel
) -> dict[str, Any]:
    """How well each ranks the planted pairs above the others.

    Args:
        data: simulated cells.
        store: the same, prepared with their peaks.
        model: pre-trained on its training cells.
        fresh: the same untrained.
    """
    train = finetune_cells.cells_of(store, "train", Regime.MULTIOME)
    cells = data[store.obs.index[train]].copy()
    table, untrained = (
        CellModel(one).peak_to_gene(cells, progress=False).table
        for one in (model, fresh)
    )
    far = (table["distance_bp"] > BEYOND_BP).to_numpy()
    planted = _planted(table, data)[far]
    ranked = {
        "peaks": table["score"],
        "peaks_untrained": untrained["score"],
        "distance": -table["distance_bp"],
        # Of a peak that all cells have open there is none.
        "correlation": table["correlation"].fillna(0),
    }
    found = {n: values.to_numpy(np.float64)[far] for n, values in ranked.items()}
    return {
        name: {
            "auroc": perturbation.auroc(values, planted),
            "average_precision": perturbation.average_precision(values, planted),
            "chance": float(planted.mean()),
        }
        for name, values in found.items()
    }


def _planted(table: pd.DataFrame, data: MuData) -> Bool[np.ndarray, " pairs"]:
    """Which pairs are linked."""
    links = data.uns["links"]
    known = pd.MultiIndex.from_arrays([links["peak"], links["gene_id"]])
    start, end = table["start"].astype(str), table["end"].astype(str)
    peak = table["chrom"] + ":" + start + "-" + end
    return pd.MultiIndex.from_arrays([peak, table["gene_id"]]).isin(known)


SECTION = Section(
    about="planted links of peaks and genes, 50 to 500 kb apart: does a path of peaks "
    "go by them? gains over distance",
    entries=entries,
    regimes=(Regime.ATAC,),
    metrics={"auroc": "AUROC", "average_precision": "average precision"},
    extra=("chance",),
    keys=("set", "model"),
    references=("distance",),
    distal=True,
)

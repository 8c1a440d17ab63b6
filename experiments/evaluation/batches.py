"""Across batches: labels of some libraries or donors, cells of others.

Whole batches are held out: none of validation or test is in training.
"""

import dataclasses
from pathlib import Path

from experiments.evaluation import cell_types, classifiers
from experiments.evaluation.cases import Case
from experiments.evaluation.tables import Entry, Section
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows.presets import BEST


def entries(case: Case, folder: Path) -> list[Entry]:
    """`best` and what is simple."""
    across = dataclasses.replace(case, across_batches=True)
    simple = classifiers.simple(across, BEST, folder)
    return [
        Entry(row={"model": "best"}, job=classifiers.trained(across, BEST, folder)),
        *cell_types.rows_of(simple, cell_types.BASELINES),
    ]


SECTION = Section(
    about="cell types of batches that training has not seen; gains over logistic "
    "regression",
    entries=entries,
    regimes=(Regime.RNA, Regime.ATAC),
    references=("logistic_regression",),
    across_batches=True,
)

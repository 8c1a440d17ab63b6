"""Cell types from RNA, ATAC and both: pre-trained, from scratch, logistic regression.

    python -m experiments.train cell_model.cell_type --out runs/cell_type

SPEC 2.5 and 2.6; what `scmultimodal demo` runs, with every number as a flag. `small`
takes about twenty minutes on two CPU cores. Expected on mouse cortex, RNA: within two
points of logistic regression at the median depth; the README's table has the figures.
"""

import dataclasses
import shlex
import sys
from typing import Annotated

import tyro

from experiments.cell_model import data
from experiments.cell_model.data import DataConfig
from experiments.study import CellStudyConfig
from scmultimodal.evaluation import summary
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import cell_types, presets
from scmultimodal.workflows.cell_types import CellTypesConfig
from scmultimodal.workflows.presets import PresetName


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(CellStudyConfig):
    """All numbers of a cell-type study."""

    data: DataConfig
    """Which cells."""
    cell_types: Annotated[CellTypesConfig, tyro.conf.arg(name="")]
    """Preprocessing, pre-training, fine-tuning."""


def default(preset: PresetName) -> Study:
    """The numbers of a preset; `out` is left to the command line."""
    return Study(
        out=tyro.MISSING,
        preset=preset,
        data=DataConfig(),
        cell_types=presets.cell_types(presets.PRESETS[preset], label="cell_type"),
    )


def run(study: Study) -> None:
    """Runs all of it and prints the table."""
    if study.data.label is None:
        raise InputError("--data.label", "is None", "name the column of cell types")
    given = study.cell_types.prepare
    if (given.label, given.batch) != ("cell_type", None):
        raise InputError(
            "--prepare.label and --prepare.batch",
            "are not read by this study",
            "name the columns by --data.label and --data.batch",
        )
    cells = data.load(study.data, seed=given.seed)
    config = dataclasses.replace(
        study.cell_types,
        prepare=dataclasses.replace(
            given, label=study.data.label, batch=study.data.batch
        ),
    )
    outcome = cell_types.run(
        cells.data,
        cells.genes,
        config,
        study.out,
        name=cells.name,
        command=shlex.join(["python", "-m", "experiments.train", *sys.argv[1:]]),
        simulated=cells.simulated,
    )
    print(summary.format_table(outcome.results))

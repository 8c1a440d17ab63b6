"""Values of genes told from open peaks by a pre-trained model (EpiFoundation).

    python -m experiments.train cell_model.gene_values --out runs/values \\
        --model runs/peaks/seed_0/pretrain --data.dataset runs/peaks/seed_0/data

`scmultimodal finetune --task expression`, with every number a flag. `--preset study`
has EpiFoundation's rate and batches. Cells that are not prepared are brought to the
model's genes and peaks. Expected on test cells of mouse cortex, split 0: a squared
error of .120 and a per-gene Pearson of .449; of the gene's mean and a line in the open
peaks .128 and .473; of these and the mean of the type that naive Bayes calls .115 and
.482.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import jax
import tyro

from experiments.cell_model import data
from experiments.cell_model.data import DataConfig
from experiments.study import CellStudyConfig
from scmultimodal.data.store import Store
from scmultimodal.schemas import configs
from scmultimodal.weights import export
from scmultimodal.workflows import cell_types, gene_values_run, presets, provenance
from scmultimodal.workflows.gene_values_config import GeneValuesConfig
from scmultimodal.workflows.presets import PresetName


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(CellStudyConfig):
    """All numbers of a fine-tuning on values."""

    model: Path
    """Run folder or exported model that reads open peaks."""
    data: DataConfig
    """Which cells; those with RNA and ATAC are learned from."""
    control: bool = True
    """Also train without pre-training, as a control."""
    gene_values: Annotated[GeneValuesConfig, tyro.conf.arg(name="")]
    """The training."""


def default(preset: PresetName) -> Study:
    """The numbers of a preset; `out` and `model` are left to the command line."""
    numbers = GeneValuesConfig()
    if preset == "study":
        theirs = presets.EPIFOUNDATION.pretrain
        numbers = dataclasses.replace(
            numbers, batch_size=theirs.batch_size, optimizer=theirs.optimizer
        )
    return Study(
        out=tyro.MISSING,
        preset=preset,
        model=tyro.MISSING,
        data=DataConfig(),
        gene_values=numbers,
    )


def run(study: Study) -> None:
    """Trains on the training cells, and judges on validation and test cells."""
    start = export.load(study.model)
    gene_values_run.run(
        lambda: _cells(study, start),
        start,
        study.gene_values,
        study.out,
        from_scratch=study.control,
        written=configs.to_json(study)
        | {"start_sha256": provenance.digest(*jax.tree.leaves(start.params))},
    )


def _cells(study: Study, start: export.StoredModel) -> Store:
    given = Store.find(study.data.dataset)
    if given is not None:
        return Store.open(given)
    cells = data.load(study.data, seed=study.gene_values.seed)
    return cell_types.prepare_cells(
        cells.data,
        cells.genes,
        presets.preparation(
            presets.PEAKS,
            label=study.data.label,
            batch=study.data.batch,
            seed=study.gene_values.seed,
        ),
        study.out / "data",
        name=cells.name,
        simulated=cells.simulated,
        vocabulary=start.vocabulary,
        peaks=start.peaks,
    )

"""How far FAVOR+ of a trained model is from softmax attention (PERFORMANCE.md).

    python -m experiments.train cell_model.attention_error \\
        --model runs/pretraining --out runs/attention_error

For each modality and layer, |by FAVOR+ − by softmax| / |by softmax| of what attention
adds to the tokens of validation cells, each layer on what the layers before it gave.
FAVOR+ is a model of its own: a large number says that a model trained with it is not
one of softmax attention, not that it is a bad one.
"""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import tyro

from experiments.cell_model import data
from experiments.cell_model.data import DataConfig
from experiments.study import CellStudyConfig
from scmultimodal.data import atomic
from scmultimodal.data.sources import StoreSource
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell.recipe import RecipeConfig
from scmultimodal.weights import export
from scmultimodal.workflows import presets, pretrain_batches, provenance, trained
from scmultimodal.workflows.presets import PresetName


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(CellStudyConfig):
    """All numbers of a measurement."""

    model: Path
    """A trained model, or the run folder that has it."""
    cells: int = 64
    """Validation cells to measure on, the first."""
    seed: int = 0
    """Of the split."""
    data: DataConfig
    """Which cells; those that the model was trained on."""
    recipe: RecipeConfig
    """How counts become bins."""


def default(preset: PresetName) -> Study:
    """The numbers of a preset; `out` and `model` are left to the command line."""
    return Study(
        out=tyro.MISSING,
        model=tyro.MISSING,
        preset=preset,
        data=DataConfig(),
        recipe=presets.PRESETS[preset].recipe,
    )


def run(study: Study) -> None:
    """Measures, prints the table and writes it."""
    if study.cells < 1:
        raise InputError("--cells", f"is {study.cells}", "give 1 or more")
    model = export.load(study.model)
    errors_of = trained.approximation_errors_function(model)
    provenance.check_config(study.out, configs.to_json(study), resume=True)
    store = data.prepare(study.data, study.recipe, study.out / "data", seed=study.seed)
    if store.vocabulary.digest() != model.vocabulary.digest():
        raise InputError(
            study.model,
            "knows other genes, medians or bins than these cells were prepared with",
            "give the --data, --recipe and --seed of its training",
        )
    provenance.write_config(study.out, configs.to_json(study))
    regime = trained.regime_of(tuple(map(Modality, model.config.modalities)))
    cells = pretrain_batches.regimes_of(store, "validation").get(regime, np.arange(0))
    if not len(cells):
        raise InputError(
            store.path, f"has no validation cell with {regime}", "give more cells"
        )
    builder = trained.builder_for(StoreSource(store), model.config)
    batch = builder.build(cells[: study.cells], regime)
    errors = {
        modality: np.asarray(layers, np.float64).tolist()
        for modality, layers in jax.jit(errors_of)(batch).items()
    }
    print(format_errors(errors))
    path = study.out / "attention_error.json"
    atomic.write_text(path, json.dumps(errors, indent=1) + "\n")
    print(f"\nerrors  {path}")


def format_errors(errors: dict[str, list[float]]) -> str:
    """A row for each modality, as Markdown."""
    layers = max(map(len, errors.values()))
    lines = [
        "| relative error, layer | " + " | ".join(map(str, range(layers))) + " |",
        "|---|" + "---:|" * layers,
    ]
    for modality, values in errors.items():
        cells = " | ".join(f"{value:.3f}" for value in values)
        lines.append(f"| {modality} | {cells} |")
    return "\n".join(lines)

"""Where attention earns its place: the study's own objective, masked bins.

Without a layer of attention a masked token knows its gene and nothing of its cell:
what is above that, attention has read off the other tokens. Every model is trained on
the training cells alike; its masked bins are of the validation cells, which choose
nothing here.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.evaluation import jobs
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job
from experiments.evaluation.tables import Entry, Section
from experiments.evaluation.variants import vary
from scmultimodal.schemas.modality import MODALITIES, Regime
from scmultimodal.training.metrics import read_metrics
from scmultimodal.workflows import pretrain
from scmultimodal.workflows.presets import SMALL, Preset

LAYERS = (0, 1, 2)
STEPS = 600


def entries(case: Case, folder: Path) -> list[Entry]:
    """By the number of layers."""
    return [
        Entry(
            row={"model": _name(layers)},
            job=_masked_bins(case, _preset(case, layers), folder),
            within=(),
        )
        for layers in LAYERS
    ]


def _name(layers: int) -> str:
    return f"{layers} layers of FAVOR+" if layers != 1 else "1 layer of FAVOR+"


def _preset(case: Case, layers: int) -> Preset:
    changes = {
        "pretrain.path.num_layers": layers,
        "pretrain.mixing": {case.regime: 1.0},
        "pretrain.steps": STEPS,
        "pretrain.seed": case.seed,
    }
    return vary(SMALL, changes)


def _masked_bins(case: Case, preset: Preset, folder: Path) -> Job:
    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(preset.recipe, folder)
        pretrain.run(store, preset.pretrain, place)
        shutil.rmtree(place / "checkpoints")
        records = read_metrics(place / "metrics.jsonl")
        last = [r for r in records if r["split"] == "validation"][-1]
        told = [last[f"{m}_accuracy"] for m in MODALITIES if f"{m}_accuracy" in last]
        return {"loss": last["loss"], "accuracy": sum(told) / len(told)}

    return Job(
        section="attention",
        settings={
            **case.settings(),
            "recipe": jobs.numbers(preset.recipe),
            "pretrain": jobs.numbers(preset.pretrain),
        },
        compute=compute,
    )


SECTION = Section(
    about="masked bins of validation cells told by the rest of the cell; gains over "
    "the gene alone",
    entries=entries,
    regimes=(Regime.RNA, Regime.ATAC),
    metrics={"accuracy": "accuracy", "loss": "nats"},
    references=(_name(0),),
)

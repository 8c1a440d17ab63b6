"""Where attention earns its place: the study's own objective, masked bins.

Without a layer of attention a masked token knows its gene and nothing of its cell; a
second control is told how much of the cell is seen, which raises or lowers all bins.
What is above both, attention has read off which genes the others are. Every model is
trained on the training cells alike; its masked bins are of the validation cells, which
choose nothing here.
"""

import shutil
from collections.abc import Mapping, Sequence
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

GENE, DEPTH = "the gene alone", "the gene and the cell's depth"
MODELS: Mapping[str, Mapping[str, Any]] = {
    GENE: {"pretrain.path.num_layers": 0},
    DEPTH: {"pretrain.path.num_layers": 0, "pretrain.depth": True},
    "1 layer of FAVOR+": {"pretrain.path.num_layers": 1},
    "2 layers of FAVOR+": {"pretrain.path.num_layers": 2},
}
STEPS = 600


def entries(case: Case, folder: Path) -> list[Entry]:
    """The controls, and layers of attention."""
    return [
        Entry(
            row={"model": name},
            job=_masked_bins(case, _preset(case, changes), folder),
            within=(),
        )
        for name, changes in MODELS.items()
    ]


def _preset(case: Case, changes: Mapping[str, Any]) -> Preset:
    changes = {
        **changes,
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
    "what knows none of it, and over what knows its depth",
    entries=entries,
    regimes=(Regime.RNA, Regime.ATAC),
    metrics={"accuracy": "accuracy", "loss": "nats"},
    references=(GENE, DEPTH),
)

"""The paper's own studies, each on 2,000 cells: what one choice does, all else equal.

Numbers are those of `small` but for `BASE`: masked bins, then more passes at a higher
rate, for fewer cells. Test cells are judged, and logistic regression stands beside;
feature order is told by validation cells alone. Sizes up to scBERT's take
1,000 cells and fewer passes: half an hour each of the largest on two cores.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.evaluation import classifiers
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job
from experiments.evaluation.tables import Entry, Section
from experiments.evaluation.variants import vary
from scmultimodal.schemas.modality import Regime
from scmultimodal.training.metrics import FILE, read_metrics
from scmultimodal.workflows.presets import SMALL, Preset

CELLS = 2_000
BASE = vary(
    SMALL,
    {
        "finetune.epochs": 12,
        "finetune.cell_vector_weight": 0.0,
        "finetune.optimizer.learning_rate": 2e-3,
    },
)
Changes = Mapping[str, Any]

_BINNING: Mapping[str, Changes] = {
    name: {"recipe.strategy": name}
    for name in ("gene_normalized", "quantile", "absolute", "counts")
}
_JOINT: Mapping[str, Changes] = {
    name: {"pretrain.joint": name}
    for name in ("mean", "concatenate", "cross_attention")
}
_HEADS: Mapping[str, Changes] = {
    "512, 100 (the study's)": {},
    "linear": {"finetune.hidden": ()},
    "low rank, 8": {"finetune.hidden": (8,)},
    "512, 100 at a tenth of the rate": {"finetune.head_rate": 0.1},
}
_SHORT = {"pretrain.steps": 30, "finetune.epochs": 4}
_STUDY = {
    "dim": 128,
    "num_layers": 6,
    "num_heads": 10,
    "key_size": 64,
    "num_features": None,
    "feed_forward_multiplier": 4,
}
_SIZES: Mapping[str, Changes] = {
    name: _SHORT | {f"pretrain.path.{field}": value for field, value in shape.items()}
    for name, shape in {
        "no attention": {"num_layers": 0},
        "small: 2 layers × 64": {},
        "the study's: 6 layers × 128": _STUDY,
        "scBERT's: 6 layers × 200": _STUDY | {"dim": 200},
    }.items()
}
_ENCODER: Mapping[str, Changes] = {
    "trained": {},
    "trained, layer by layer (.5)": {"finetune.layer_decay": 0.5},
    "frozen": {"finetune.frozen": True},
}


def _compare(variants: Mapping[str, Changes]) -> Callable[[Case, Path], list[Entry]]:
    """Entries of presets that differ in these numbers."""

    def entries(case: Case, folder: Path) -> list[Entry]:
        found = [
            Entry(row={"model": name}, job=_classifier(case, vary(BASE, c), folder))
            for name, c in variants.items()
        ]
        return [*found, _beside(case, folder)]

    return entries


def _encoders(case: Case, folder: Path) -> list[Entry]:
    """How much of the encoder learns, and the control without pre-training."""
    scratch = classifiers.trained(case, BASE, folder)
    return [
        *_compare(_ENCODER)(case, folder)[:-1],
        Entry(row={"model": "from scratch"}, job=scratch),
        _beside(case, folder),
    ]


def _modalities(case: Case, folder: Path) -> list[Entry]:
    """Table 4.2: what pre-training has seen, by what fine-tuning sees."""
    mixings: dict[str, Changes] = {"mixed": {}}
    if case.regime is not Regime.MULTIOME:
        mixings[f"{case.regime} alone"] = {"pretrain.mixing": {case.regime: 1.0}}
    found = [
        Entry(
            row={"model": f"pre-trained on {name}"},
            job=_classifier(case, vary(BASE, c), folder),
        )
        for name, c in mixings.items()
    ]
    scratch = classifiers.trained(case, BASE, folder)
    return [
        *found,
        Entry(row={"model": "not pre-trained"}, job=scratch),
        _beside(case, folder),
    ]


def _classifier(case: Case, preset: Preset, folder: Path) -> Job:
    start = classifiers.pretraining(case, preset, folder)
    return classifiers.trained(case, preset, folder, start=start)


def _beside(case: Case, folder: Path) -> Entry:
    return Entry(
        row={"model": "logistic_regression"},
        job=classifiers.simple(case, BASE, folder),
        within=("logistic_regression", "test"),
    )


ORDERS = ("fixed", "per_cell", "dynamic")
EPOCHS = (1, 2, 4, 8, 12)


def _orders(case: Case, folder: Path) -> list[Entry]:
    """Accuracy as fine-tuning goes on (Fig. 4.3).

    Masked bins are told by one map for all tokens, of a trunk that no order changes:
    an order acts through the head of types alone, whose weights are those of places.
    """
    found = []
    for order in ORDERS:
        changes = {
            "pretrain.tokens": "all",
            "pretrain.feature_order": order,
            "pretrain.buckets": None,
            "pretrain.mixing": {case.regime: 1.0},
            "pretrain.steps": 60,
        }
        job = _curve(case, vary(BASE, changes), folder)
        for epoch in EPOCHS:
            row = {"model": order, "epoch": epoch}
            found.append(Entry(row=row, job=job, within=(str(epoch),)))
    return found


def _curve(case: Case, preset: Preset, folder: Path) -> Job:
    """Accuracy of training and validation cells by the epoch of a fine-tuning."""
    tuned = _classifier(case, preset, folder)

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        (run,) = needed
        records = read_metrics(run / FILE)
        ends = [r["step"] for r in records if r["split"] == "validation"]
        curve = {}
        for epoch, (start, end) in enumerate(itertools.pairwise([0, *ends]), 1):
            own = [r for r in records if start < r["step"] <= end]
            curve[str(epoch)] = {
                "accuracy": _mean(own, "validation"),
                "training_accuracy": _mean(own, "train"),
            }
        return curve

    return Job(
        section="curves", settings=case.settings(), compute=compute, needs=(tuned,)
    )


def _mean(records: Sequence[Mapping[str, Any]], split: str) -> float | None:
    """Of few steps an epoch has no record of training."""
    found = [r["accuracy"] for r in records if r["split"] == split]
    return float(np.mean(found)) if found else None


def _section(about: str, entries: Callable[[Case, Path], list[Entry]], reference: str):
    return Section(about=about, entries=entries, references=(reference,), cells=CELLS)


FEATURE_ORDER = Section(
    about="feature order: accuracy of validation / training cells by epoch",
    entries=_orders,
    regimes=(Regime.RNA,),
    metrics={"accuracy": "validation", "training_accuracy": "training"},
    references=("fixed",),
    pivot="epoch",
    head=lambda epoch: f"epoch {epoch}",
    cells=CELLS,
)
BINNING = _section(
    "how values are binned; gains over the study's way",
    _compare(_BINNING),
    "gene_normalized",
)
MODALITIES = _section(
    "pre-training modality by fine-tuning modality; gains over none",
    _modalities,
    "not pre-trained",
)
JOINT = Section(
    about="how the outputs of the two paths become one; gains over the mean",
    entries=_compare(_JOINT),
    regimes=(Regime.MULTIOME,),
    references=("mean",),
    cells=CELLS,
)
HEADS = _section(
    "heads that cannot do the work alone; gains over the study's",
    _compare(_HEADS),
    "512, 100 (the study's)",
)
ENCODER = _section(
    "encoder trained, layer by layer, frozen, or not pre-trained; gains over trained",
    _encoders,
    "trained",
)
SIZES = Section(
    about="sizes: the study's and scBERT's of our model; gains over no attention",
    entries=_compare(_SIZES),
    regimes=(Regime.RNA,),
    references=("no attention",),
    cells=1_000,
)

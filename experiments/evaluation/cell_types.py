"""Cell types: ours, its controls and what is simple; and what a second modality adds.

Every row is judged on the test cells of each split, once; whatever was chosen was
chosen on validation cells. Splits are paired: a difference is taken within each.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.evaluation import classifiers
from experiments.evaluation.cases import Case
from experiments.evaluation.classifiers import Voice
from experiments.evaluation.jobs import Job
from experiments.evaluation.sets import SetName
from experiments.evaluation.tables import Entry, Section
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows.presets import BEST, PEAKS

MEMBERS = 5
"""Networks of an ensemble, with seeds of their own."""
RNA_ALONE = "RNA networks alone"
BASELINES = (
    "logistic_regression",
    "svd_logistic_regression",
    "nearest_neighbours",
    "naive_bayes",
)
SIMPLE_ON_PEAKS = ("peaks_naive_bayes", "peaks_svd_logistic_regression")
"""Of ATAC, on the peaks themselves."""
PUBLISHED: Mapping[tuple[SetName, Regime], Mapping[str, Mapping[str, float]]] = {
    ("zheng68k", Regime.RNA): {
        "logistic regression": {"accuracy": 0.725, "mcc": 0.656, "macro_f1": 0.715},
        "scBERT": {"accuracy": 0.718, "mcc": 0.649, "macro_f1": 0.708},
        "the study's model": {"accuracy": 0.706, "mcc": 0.635, "macro_f1": 0.705},
    },
    ("bmmc_neurips", Regime.RNA): {
        "logistic regression": {"accuracy": 0.837, "mcc": 0.819, "macro_f1": 0.828},
        "scBERT": {"accuracy": 0.840, "mcc": 0.824, "macro_f1": 0.836},
        "pre-trained on RNA": {"accuracy": 0.820, "mcc": 0.802, "macro_f1": 0.815},
        "pre-trained on all": {"accuracy": 0.840, "mcc": 0.825, "macro_f1": 0.838},
    },
    ("bmmc_neurips", Regime.MULTIOME): {
        "logistic regression": {"accuracy": 0.862, "mcc": 0.846, "macro_f1": 0.855},
        "pre-trained on all": {"accuracy": 0.862, "mcc": 0.844, "macro_f1": 0.852},
    },
}
"""The study's tables 4.1 to 4.3: one split, and an F1 that it does not further name."""
_VOICES = {
    Regime.RNA: ("naive_bayes", "logistic_regression"),
    Regime.ATAC: ("naive_bayes", *SIMPLE_ON_PEAKS),
}
ATTENDING = dataclasses.replace(
    BEST,
    pretrain=dataclasses.replace(
        BEST.pretrain, path=dataclasses.replace(BEST.pretrain.path, num_layers=1)
    ),
)
"""`best` with a layer of attention: what it gains, or does not."""


def entries(case: Case, folder: Path) -> list[Entry]:
    """All that is judged on the cells of a split."""
    simple = classifiers.simple(case, BEST, folder)
    baselines = (*BASELINES, *(SIMPLE_ON_PEAKS if case.regime is Regime.ATAC else ()))
    start = classifiers.pretraining(case, BEST, folder)
    members = _members(case, folder)
    return [
        Entry(row={"model": "best"}, job=members[0]),
        Entry(
            row={"model": "best, pre-trained"},
            job=classifiers.trained(case, BEST, folder, start=start),
        ),
        Entry(
            row={"model": "best, with attention"},
            job=classifiers.trained(case, ATTENDING, folder),
        ),
        Entry(row={"model": "best-ensemble"}, job=together(case, folder)),
        *rows_of(simple, baselines),
        *published(case),
    ]


def together(case: Case, folder: Path) -> Job:
    """`best-ensemble`: networks, and simple classifiers, of one modality."""
    simple = classifiers.simple(case, BEST, folder)
    voices = [
        Voice(name=name, job=simple, folder=name) for name in _VOICES[case.regime]
    ]
    return classifiers.ensemble(
        case, BEST, folder, members=_members(case, folder), voices=voices
    )


def fused_entries(case: Case, folder: Path) -> list[Entry]:
    """Of cells with both: the paths of one network, and networks of each fused late.

    ATAC is told by its gene-level values, or by its open peaks.
    """
    simple = classifiers.simple(case, BEST, folder)
    parts = {
        regime: _members(case.of(regime), folder)
        for regime in (Regime.RNA, Regime.ATAC)
    }
    atac = classifiers.ensemble(
        case.of(Regime.ATAC),
        BEST,
        folder,
        members=parts[Regime.ATAC],
    )
    peaks = classifiers.trained(case.of(Regime.ATAC), PEAKS, folder)
    late, with_peaks = (
        classifiers.ensemble(
            case,
            BEST,
            folder,
            members=parts[Regime.RNA],
            voices=[Voice(name=name, job=voice)],
        )
        for name, voice in {"atac": atac, "peaks": peaks}.items()
    )
    alone = classifiers.ensemble(case, BEST, folder, members=parts[Regime.RNA])
    both = classifiers.trained(case, BEST, folder)
    return [
        Entry(row={"model": RNA_ALONE}, job=alone),
        Entry(row={"model": "RNA and ATAC networks, fused late"}, job=late),
        Entry(row={"model": "RNA networks and open peaks, fused late"}, job=with_peaks),
        Entry(row={"model": "one network of both paths"}, job=both),
        *rows_of(simple, BASELINES),
        *published(case),
    ]


def published(case: Case) -> list[Entry]:
    """What the study says of the same set, where it does."""
    return [
        Entry(
            row={"model": f"published: {name}"},
            job=Job(
                section="published",
                settings={**case.settings(), "name": name, "figures": dict(figures)},
                compute=functools.partial(_say, figures),
            ),
            published=True,
        )
        for name, figures in PUBLISHED.get((case.name, case.regime), {}).items()
    ]


def _say(figures: Mapping[str, float], *_: object) -> dict[str, Any]:
    return {"test": figures}


def rows_of(simple: Job, names: Iterable[str]) -> list[Entry]:
    """Of the simple classifiers, each in a row."""
    return [
        Entry(row={"model": name}, job=simple, within=(name, "test")) for name in names
    ]


def _members(case: Case, folder: Path) -> list[Job]:
    return [
        classifiers.trained(case, BEST, folder, member=member)
        for member in range(MEMBERS)
    ]


SECTION = Section(
    about="cell types, from one modality",
    entries=entries,
    regimes=(Regime.RNA, Regime.ATAC),
    extra=("mcc", "calibration_error"),
    references=("logistic_regression", "naive_bayes", "best"),
)

MULTIOME = Section(
    about="cell types, from both modalities; gains over networks of RNA alone",
    entries=fused_entries,
    regimes=(Regime.MULTIOME,),
    extra=("mcc", "calibration_error"),
    keys=("set", "model"),
    references=(RNA_ALONE,),
)

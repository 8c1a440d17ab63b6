"""Jobs that train cell-type classifiers, simple ones too, and ensembles of them.

Each leaves `probabilities.npz`: of every validation and every test cell. All that is
chosen, an epoch, a penalty, the weights of an ensemble, is chosen on validation cells.
"""

import dataclasses
import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from scipy import special

from experiments.evaluation import jobs, sets
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job, NothingToJudgeError
from scmultimodal.data.store import Store
from scmultimodal.evaluation import calibration, classification
from scmultimodal.schemas import configs
from scmultimodal.schemas.modality import Regime
from scmultimodal.weights import export
from scmultimodal.workflows import finetune, finetune_cells, judge, pretrain
from scmultimodal.workflows.presets import Preset

FILE = "probabilities.npz"
PARTS = ("validation", "test")
SHARES = tuple(tenth / 10 for tenth in range(11))
"""Of an ensemble's simple members, the exponents that are tried."""
TEMPERS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Powers that are tried to temper a classifier."""
_LEAST = 1e-9

Probabilities = Float[np.ndarray, "cells classes"]


def pretraining(case: Case, preset: Preset, folder: Path) -> Job:
    """The model that the numbers of a preset pre-train on the training cells."""
    config = dataclasses.replace(preset.pretrain, seed=case.seed)

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(preset.recipe, folder, peaks=_reads_peaks(preset))
        pretrain.run(store, config, place)
        shutil.rmtree(place / "checkpoints")
        return {}

    return Job(
        section="pretraining",
        settings={
            **case.store_settings(),
            "recipe": jobs.numbers(preset.recipe),
            "pretrain": jobs.numbers(config),
        },
        compute=compute,
    )


def trained(
    case: Case,
    preset: Preset,
    folder: Path,
    *,
    start: Job | None = None,
    member: int = 0,
) -> Job:
    """A classifier by the numbers of a preset.

    Args:
        case: which cells.
        preset: the numbers.
        folder: of the results; prepared cells are kept there too.
        start: the pre-training that it goes on from; None begins with a fresh trunk.
        member: of an ensemble whose members differ in their seeds alone.
    """
    seed = 1_000 * member + case.seed
    config = dataclasses.replace(preset.finetune, seed=seed)
    shape = dataclasses.replace(preset.pretrain, seed=seed)

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(preset.recipe, folder, peaks=_reads_peaks(preset))
        begun = export.load(needed[0]) if needed else pretrain.untrained(store, shape)
        model = finetune.run(
            store, begun, config, case.regime, place, from_scratch=not needed
        )
        for name in ("checkpoints", "best"):
            shutil.rmtree(place / name)
        cells = {
            part: finetune_cells.cells_of(store, part, case.regime) for part in PARTS
        }
        found = {
            part: special.softmax(judge.predict(store, model, case.regime, rows), 1)
            for part, rows in cells.items()
        }
        return keep(place, store, case, found)

    return Job(
        section="classifiers",
        settings={
            **case.settings(),
            "recipe": jobs.numbers(preset.recipe),
            "shape": jobs.numbers(shape),
            "finetune": jobs.numbers(config),
        },
        compute=compute,
        needs=() if start is None else (start,),
    )


def simple(case: Case, preset: Preset, folder: Path) -> Job:
    """All simple baselines, on the counts of the same cells; one file each."""

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(preset.recipe, folder)
        scores = {}
        results = judge.baseline_results(store, case.regime, seed=case.seed)
        if case.regime is Regime.ATAC:
            peaks = sets.peaks(case.name, store)
            results += judge.peak_results(store, peaks, seed=case.seed)
        for result in results:
            own = place / result.name
            own.mkdir()
            found = {
                "validation": result.validation_probabilities,
                "test": result.probabilities,
            }
            scores[result.name] = keep(own, store, case, found)
            scores[result.name][result.parameter] = result.value
        return scores

    recipe = jobs.numbers(preset.recipe)
    return Job(
        section="baselines",
        settings={**case.settings(), "recipe": recipe},
        compute=compute,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Voice:
    """One that is multiplied into an ensemble.

    Attributes:
        name: for the table.
        job: whose files its probabilities are among.
        folder: in which of them; "" where the job has one model.
    """

    name: str
    job: Job
    folder: str = ""


def ensemble(
    case: Case,
    preset: Preset,
    folder: Path,
    *,
    members: Sequence[Job],
    voices: Sequence[Voice] = (),
    tempered: bool = False,
) -> Job:
    """The mean of classifiers, times powers of what others say (a product of experts).

    Args:
        case: which cells.
        preset: the recipe of the cells.
        folder: of the results.
        members: classifiers whose probabilities are averaged.
        voices: others of the same cells; what they say is raised to a power that is
            chosen on validation cells, by accuracy plus macro-F1.
        tempered: the mean and each voice are first as sure of themselves as makes the
            types of validation cells likeliest: of few labels some are far too sure,
            some far too little.
    """
    needs = (*members, *(voice.job for voice in voices))

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(preset.recipe, folder)
        own = [read(path) for path in needed[: len(members)]]
        others = [
            read(path / voice.folder)
            for path, voice in zip(needed[len(members) :], voices, strict=True)
        ]
        mean = {part: np.mean([one[part] for one in own], 0) for part in PARTS}
        rows = finetune_cells.cells_of(store, "validation", case.regime)
        if any(len(one["validation"]) != len(rows) for one in (*own, *others)):
            raise NothingToJudgeError("some cells lack a modality")
        truth, best, chosen = store.labels[rows], -1.0, (0.0,) * len(voices)
        if tempered:
            mean, *others = (_temper(one, truth) for one in (mean, *others))
        for powers in itertools.product(SHARES, repeat=len(voices)):
            found = _multiply(mean, others, powers, "validation")
            scores = classification.score(
                truth, found.argmax(1), len(store.label_names)
            )
            if (value := scores.accuracy + scores.macro_f1) > best:
                best, chosen = value, powers
        final = {part: _multiply(mean, others, chosen, part) for part in PARTS}
        powers = {v.name: power for v, power in zip(voices, chosen, strict=True)}
        return keep(place, store, case, final) | {"powers": powers}

    return Job(
        section="ensembles",
        settings={
            **case.settings(),
            "members": len(members),
            "voices": [[voice.name, voice.folder] for voice in voices],
            **({"tempered": TEMPERS} if tempered else {}),
        },
        compute=compute,
        needs=needs,
    )


def _reads_peaks(preset: Preset) -> bool:
    return preset.pretrain.atac_path != "gene"


def _temper(
    said: Mapping[str, Probabilities], truth: Integer[np.ndarray, " cells"]
) -> dict[str, Probabilities]:
    """The power of what a classifier says under which validation cells are likeliest.

    Args:
        said: by part.
        truth: types of the validation cells.
    """
    logs = {p: np.log(np.maximum(one, _LEAST)) for p, one in said.items()}
    own = logs["validation"]

    def nats(power: float) -> float:
        told = special.log_softmax(power * own, axis=1)
        return -float(told[np.arange(len(truth)), truth].mean())

    power = min(TEMPERS, key=nats)
    return {p: special.softmax(power * one, axis=1) for p, one in logs.items()}


def _multiply(
    mean: Mapping[str, Probabilities],
    others: Sequence[Mapping[str, Probabilities]],
    powers: Sequence[float],
    part: str,
) -> Probabilities:
    logs = np.log(np.maximum(mean[part], _LEAST))
    for other, power in zip(others, powers, strict=True):
        logs = logs + power * np.log(np.maximum(other[part], _LEAST))
    return special.softmax(logs, axis=1)


def keep(
    place: Path, store: Store, case: Case, found: Mapping[str, Probabilities]
) -> dict[str, Any]:
    """Writes probabilities; returns what they score on both parts."""
    np.savez(place / FILE, **found)
    result: dict[str, Any] = {}
    for part, probabilities in found.items():
        rows = finetune_cells.cells_of(store, part, case.regime)
        labels, classes = store.labels[rows], len(store.label_names)
        called = probabilities.argmax(1)
        scores = classification.score(labels, called, classes)
        result[part] = configs.to_json(scores)
        result[part]["calibration_error"] = calibration.reliability(
            probabilities / probabilities.sum(1, keepdims=True), labels
        ).error
    matrix = classification.confusion_matrix(labels, called, classes)
    result["confusion"] = matrix.tolist()
    result["types"] = list(store.label_names)
    return result


def read(place: Path) -> dict[str, Probabilities]:
    """Of every validation and every test cell, as a job has left them."""
    with np.load(place / FILE, allow_pickle=False) as found:
        return {part: found[part] for part in PARTS}

"""Few labels: what 1, 5, 10, 50 labelled training cells of each type are enough for.

With the labels alone: our network, logistic regression, naive Bayes, and all three
together, each as sure of itself as validation cells say (of all labels,
`best-ensemble`). With the other training cells too, unlabelled: the network and naive
Bayes by EM, and simple classifiers of vectors that were made without labels, ours and
components. Whatever is chosen, an epoch or a penalty, is chosen on validation cells.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from experiments.evaluation import cell_types, classifiers, vectors
from experiments.evaluation.cases import Case
from experiments.evaluation.classifiers import Voice
from experiments.evaluation.jobs import Job
from experiments.evaluation.tables import Entry, Section
from experiments.evaluation.variants import vary
from scmultimodal.data.store import Store
from scmultimodal.evaluation import baselines, classification, few_shot, naive_bayes
from scmultimodal.evaluation.depth import log1p_at_median_depth
from scmultimodal.evaluation.split_indices import SplitIndices
from scmultimodal.schemas import configs
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows import finetune_cells, judge
from scmultimodal.workflows.presets import BEST, Preset

LABELLED: tuple[int | None, ...] = (*few_shot.PER_TYPE, None)
SIMPLE = ("logistic_regression", "naive_bayes")
UNLABELLED = (
    "naive_bayes_em",
    "frozen_logistic_regression",
    "frozen_nearest_neighbours",
    "components_logistic_regression",
    "components_nearest_neighbours",
)
STEPS = 400
"""Of a network with few labels, at least."""


def entries(case: Case, folder: Path) -> list[Entry]:
    """All models with so many labels of each type; None leaves all."""
    found = []
    for per_type in LABELLED:
        simple = _simple(case, per_type, folder)
        row = {"per_type": per_type}
        found += [
            Entry(
                row=row | {"model": "best"},
                job=classifiers.trained(case, _network(per_type), folder),
            ),
            *(
                Entry(row=row | {"model": name}, job=simple, within=(name,))
                for name in SIMPLE
            ),
        ]
        whole = cell_types.together(case, folder)
        mixed = whole if per_type is None else _together(case, per_type, folder)
        found.append(Entry(row=row | {"model": "best-ensemble"}, job=mixed))
        if per_type is not None:
            taught = _network(per_type, self_training=True)
            found.append(
                Entry(
                    row=row | {"model": "best, self-trained"},
                    job=classifiers.trained(case, taught, folder),
                )
            )
        found += [
            Entry(row=row | {"model": name}, job=simple, within=(name,))
            for name in UNLABELLED
        ]
    return found


def _together(case: Case, per_type: int, folder: Path) -> Job:
    """The network and what is simple, from the labels alone."""
    simple = _simple(case, per_type, folder)
    return classifiers.ensemble(
        case,
        BEST,
        folder,
        members=[classifiers.trained(case, _network(per_type), folder)],
        voices=[Voice(name=name, job=simple, folder=name) for name in SIMPLE],
        tempered=True,
    )


def _network(per_type: int | None, *, self_training: bool = False) -> Preset:
    """`best` with few labels; as many steps as make up for few cells.

    Where it is taught by few cells it is shown less of each, and begins with less of
    naive Bayes: chosen on validation cells of splits 0 and 1, ten labels a type.
    """
    if per_type is None:
        return BEST
    finetuning = dataclasses.replace(
        BEST.finetune,
        labels_per_type=per_type,
        self_training=self_training,
        min_steps=STEPS,
    )
    if not self_training:
        finetuning = dataclasses.replace(finetuning, token_dropout=0.7, naive_bayes=0.1)
    return dataclasses.replace(BEST, finetune=finetuning)


def _simple(case: Case, per_type: int | None, folder: Path) -> Job:
    # Of what is shown alone: its vectors are better than those of a mixture.
    alone = vary(BEST, {"pretrain.mixing": {case.regime: 1.0}})
    start = classifiers.pretraining(case, alone, folder)
    needs = {
        "frozen": vectors.frozen(case, alone, folder, start=start),
        "components": vectors.components(case, BEST, folder),
    }

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(BEST.recipe, folder)
        found = {name: vectors.read(p) for name, p in zip(needs, needed, strict=True)}
        return _judge(store, case, per_type, found, place)

    return Job(
        section="few_shot",
        settings={**case.settings(), "per_type": per_type, "kept": SIMPLE},
        compute=compute,
        needs=tuple(needs.values()),
    )


def _judge(
    store: Store,
    case: Case,
    per_type: int | None,
    found: dict[str, np.ndarray],
    place: Path,
) -> dict[str, Any]:
    """Scores on the test cells by model; keeps what the simple ones say."""
    rows = {
        part: finetune_cells.cells_of(store, part, case.regime)
        for part in ("train", "validation", "test")
    }
    labels = store.labels
    chosen = finetune_cells.labelled_cells(store, case.regime, per_type)
    split = SplitIndices(train=chosen, validation=rows["validation"], test=rows["test"])
    judged = functools.partial(
        baselines.logistic_regression,
        labels=labels,
        split=split,
        num_classes=len(store.label_names),
        seed=case.seed,
    )
    everyone = np.arange(store.num_cells)
    counts = [judge.values(store, m, everyone) for m in case.regime.modalities]
    scaled = [log1p_at_median_depth(block, rows["train"]) for block in counts]
    joint, values = (sparse.hstack(m, format="csr") for m in (counts, scaled))
    known = {"num_classes": len(store.label_names)}
    simple = {
        "logistic_regression": judged(values),
        "naive_bayes": baselines.naive_bayes(joint, labels, split, **known),
    }
    for name, one in simple.items():
        (place / name).mkdir()
        said = {"validation": one.validation_probabilities, "test": one.probabilities}
        classifiers.keep(place / name, store, case, said)
    results = {
        **{name: one.test for name, one in simple.items()},
        "naive_bayes_em": _by_em(joint, labels, rows["train"], split, **known),
    }
    for name, one in found.items():
        unlabelled = one[rows["train"]]
        standard = (one - unlabelled.mean(0)) / (unlabelled.std(0) + 1e-6)
        standard = np.nan_to_num(standard)
        results[f"{name}_logistic_regression"] = judged(standard).test
        results[f"{name}_nearest_neighbours"] = baselines.vote_of_neighbours(
            standard, labels, split, **known
        ).test
    return {name: configs.to_json(scores) for name, scores in results.items()}


def _by_em(
    counts: sparse.csr_matrix,
    labels: np.ndarray,
    train: np.ndarray,
    split: SplitIndices,
    *,
    num_classes: int,
) -> classification.ClassificationScores:
    shown = np.where(np.isin(train, split.train), labels[train], -1)
    model = naive_bayes.fit_em(counts[train], shown, num_classes)
    called = model.predict(counts[split.test]).argmax(1)
    return classification.score(labels[split.test], called, num_classes)


def _head(per_type: int | None) -> str:
    return "all" if per_type is None else f"{per_type} a type"


SECTION = Section(
    about="cell types from few labels: accuracy / macro-F1",
    entries=entries,
    regimes=(Regime.RNA, Regime.ATAC),
    pivot="per_type",
    head=_head,
)

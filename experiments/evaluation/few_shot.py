"""Few labels: what 1, 5, 10, 50 labelled training cells of each type are enough for.

With the labels alone: logistic regression and naive Bayes. With the other training
cells too, unlabelled: naive Bayes by EM, and logistic regression on vectors that were
made without labels, ours and components. Penalties are chosen on validation cells.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from experiments.evaluation import classifiers, jobs, sets, vectors
from experiments.evaluation.classifiers import Case
from experiments.evaluation.jobs import Job
from experiments.evaluation.sets import SetName
from scmultimodal.data.store import Store
from scmultimodal.evaluation import baselines, classification, few_shot, naive_bayes
from scmultimodal.evaluation.features import log1p_at_median_depth
from scmultimodal.evaluation.split_indices import SplitIndices
from scmultimodal.schemas import configs
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows import finetune, judge
from scmultimodal.workflows.presets import BEST

LABELLED: tuple[int | None, ...] = (*few_shot.PER_TYPE, None)

Row = dict[str, Any]


def job(case: Case, per_type: int | None, folder: Path) -> Job:
    """All models with so many labels of each type; None leaves all."""
    start = classifiers.pretraining(case, BEST, folder)
    needs = {
        "frozen": vectors.frozen(case, BEST, folder, start=start),
        "components": vectors.components(case, BEST, folder),
    }

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = sets.prepared(case.name, BEST.recipe, case.seed, folder)
        found = {name: vectors.read(p) for name, p in zip(needs, needed, strict=True)}
        return _judge(store, case, per_type, found)

    return Job(
        section="few_shot",
        settings={**case.settings(), "per_type": per_type},
        compute=compute,
        needs=tuple(needs.values()),
    )


def _judge(
    store: Store,
    case: Case,
    per_type: int | None,
    found: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Scores on the test cells by model."""
    rows = {
        part: finetune.cells_of(store, part, case.regime)
        for part in ("train", "validation", "test")
    }
    labels = store.labels
    chosen = few_shot.choose(labels, rows["train"], per_type, seed=case.seed)
    split = SplitIndices(train=chosen, validation=rows["validation"], test=rows["test"])
    known = {"num_classes": len(store.label_names)}
    everyone = np.arange(store.num_cells)
    counts = [judge.values(store, m, everyone) for m in case.regime.modalities]
    scaled = [log1p_at_median_depth(block, rows["train"]) for block in counts]
    joint, values = (sparse.hstack(m, format="csr") for m in (counts, scaled))
    results = {
        "logistic_regression": baselines.logistic_regression(
            values, labels, split, **known, seed=case.seed
        ).test,
        "naive_bayes": baselines.naive_bayes(joint, labels, split, **known).test,
        "naive_bayes_em": _by_em(joint, labels, rows["train"], split, **known),
    }
    for name, one in found.items():
        unlabelled = one[rows["train"]]
        scaled = (one - unlabelled.mean(0)) / (unlabelled.std(0) + 1e-6)
        results[f"{name}_logistic_regression"] = baselines.logistic_regression(
            np.nan_to_num(scaled), labels, split, **known, seed=case.seed
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


def run(
    names: Sequence[SetName],
    regimes: Sequence[Regime],
    seeds: Sequence[int],
    folder: Path,
) -> list[Row]:
    """A row for each set, modality, model and number of labels."""
    rows = []
    for name in names:
        for regime in regimes:
            if regime not in sets.regimes(name):
                continue
            cases = [Case(name=name, regime=regime, seed=seed) for seed in seeds]
            for per_type in LABELLED:
                records = jobs.run([job(c, per_type, folder) for c in cases], folder)
                rows += _rows(name, regime, per_type, records)
    return rows


def _rows(
    name: str, regime: str, per_type: int | None, records: Sequence[dict[str, Any]]
) -> list[Row]:
    results = [record["result"] for record in records]
    return [
        {
            "set": name,
            "modality": str(regime),
            "per_type": per_type,
            "model": model,
            "seeds": len(results),
            **{
                metric: statistics.mean(result[model][metric] for result in results)
                for metric in ("accuracy", "macro_f1")
            },
        }
        for model in results[0]
    ]


def table(rows: Sequence[Row]) -> str:
    """As Markdown: accuracy / macro-F1 by the number of labels, a line a model."""
    counts = list(dict.fromkeys(row["per_type"] for row in rows))
    heads = ["all" if count is None else f"{count} a type" for count in counts]
    lines = [
        f"| set | modality | model | {' | '.join(heads)} |",
        "|---|---|---|" + "---:|" * len(counts),
    ]
    groups: dict[tuple[str, str, str], dict[int | None, Row]] = {}
    for row in rows:
        key = (row["set"], row["modality"], row["model"])
        groups.setdefault(key, {})[row["per_type"]] = row
    for (name, regime, model), found in groups.items():
        cells = [name, regime, model.replace("_", " ")]
        for count in counts:
            row = found[count]
            both = (f"{row[m]:.3f}".removeprefix("0") for m in ("accuracy", "macro_f1"))
            cells.append(" / ".join(both))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)

"""What a run came to: `summary.json` and the table in the terminal."""

import dataclasses
import json
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

from scmultimodal.data import atomic
from scmultimodal.evaluation import text_table
from scmultimodal.evaluation.classification import ClassificationScores

SPLITS = ("train", "validation", "test")
METRICS = tuple(field.name for field in dataclasses.fields(ClassificationScores))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """One model's scores on the test cells of one modality.

    Attributes:
        model: what was judged, for example "scmultimodal" or "logistic_regression".
        modality: what it saw: "rna", "atac" or "multiome".
        scores: its scores.
    """

    model: str
    modality: str
    scores: ClassificationScores

    def as_row(self) -> dict[str, Any]:
        """The flat form of `summary.json` and of tables."""
        scores = dataclasses.asdict(self.scores)
        return {"model": self.model, "modality": str(self.modality), **scores}


def write_summary(
    path: str | os.PathLike[str],
    *,
    dataset: str,
    seed: SupportsIndex,
    split: Mapping[str, SupportsIndex],
    left_out: Mapping[str, SupportsIndex],
    results: Iterable[Result],
    **extra: Any,
) -> dict[str, Any]:
    """Writes `summary.json`, whole or not at all.

    Args:
        path: the file to write.
        dataset: name of the data.
        seed: seed of the run.
        split: cells in "train", "validation" and "test".
        left_out: cells left out, by class ("" = unlabelled).
        results: test scores, one per model and modality.
        **extra: further keys, for example `simulated=True`.

    Returns:
        What was written.
    """
    summary = {
        "dataset": dataset,
        "seed": operator.index(seed),
        "split": {name: operator.index(split[name]) for name in SPLITS},
        "left_out": {str(k): operator.index(v) for k, v in left_out.items()},
        "results": [result.as_row() for result in results],
        **extra,
    }
    text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    atomic.write_text(Path(path), text)
    return summary


def format_table(results: Sequence[Result]) -> str:
    """Lays test scores out for a terminal.

    Modalities are blocks in order of appearance, models keep their order within; the
    best value of a column and block carries a star.
    """
    modalities = list(dict.fromkeys(str(result.modality) for result in results))
    header = ["modality", "model", *(name.replace("_", " ") for name in METRICS)]
    blocks = [_block([r for r in results if r.modality == m]) for m in modalities]
    rows = [row for block in blocks for row in block]
    return text_table.aligned([header, *rows], names=2, ruled=True)


def best_values(results: Sequence[Result]) -> dict[tuple[str, str], float]:
    """The best value per (modality, metric), rounded as it is shown."""
    best: dict[tuple[str, str], float] = {}
    for result in results:
        for metric in METRICS:
            key = (str(result.modality), metric)
            value = round(getattr(result.scores, metric), 3)
            best[key] = max(value, best.get(key, value))
    return best


def _block(results: Sequence[Result]) -> list[list[str]]:
    best = best_values(results)
    rows = []
    for position, result in enumerate(results):
        modality = str(result.modality)
        cells = [modality if position == 0 else "", result.model]
        for metric in METRICS:
            value = round(getattr(result.scores, metric), 3)
            star = "*" if value == best[modality, metric] else " "
            cells.append(f"{value:.3f}{star}")
        rows.append(cells)
    return rows

"""The page of `report --open`: a run, or several, to be explored in a browser."""

import os
import sys
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scmultimodal.data import atomic
from scmultimodal.evaluation import classification, comparison, report
from scmultimodal.evaluation.view import page
from scmultimodal.evaluation.view.content import CellMap, Locus
from scmultimodal.evaluation.view.page import Panel
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import comparison as side_by_side
from scmultimodal.workflows import (
    run_scores,
    runs,
    segment_genome,
    view_cells,
    view_loci,
)
from scmultimodal.workflows.run_kinds import KINDS
from scmultimodal.workflows.runs import Run

PAGE = "view.html"
_LOCI: Mapping[str, Callable[[Path, Mapping[str, Any]], list[Locus]]] = {
    "segmentation": view_loci.of_segmentation,
    "ranking": view_loci.of_ranking,
}
_CELLS = ("cell_types", "pretraining")
_STAGES = {
    "training": "training",
    "pretrain": "pre-training",
    "finetune": "fine-tuning",
    "from_scratch": "from scratch",
    "signal": "on signal",
}


def run(
    paths: Sequence[Path], out: Path | None = None, *, overwrite: bool = False
) -> Path:
    """Writes `view.html`, whole or not at all.

    What can no longer be computed, since data or model have gone, is said on the page.

    Args:
        paths: run folders, or one that `segment` wrote. Cells and stretches of a
            genome are those of the first that has them.
        out: folder of the page; `report` in the first run if not given, whose page is
            made anew.
        overwrite: replaces a page that stands at `out`.

    Returns:
        The page.

    Raises:
        InputError: no run, a folder that is none, one twice, a damaged file, or a page
            that may not be replaced.
    """
    if not paths:
        raise InputError("RUN", "is missing", "Give one run folder or more")
    target = (out or paths[0] / side_by_side.OF_RUN) / PAGE
    if out is not None and target.exists() and not overwrite:
        raise InputError(out, "already holds a page", "Give --overwrite, or another")
    atomic.check_writable(target.parent)
    if (paths[0] / segment_genome.REPORT).is_file() and len(paths) == 1:
        return _write_segments(paths[0], target)
    return _write_runs(runs.read_all(paths), target)


def open_in_browser(path: Path) -> bool:
    """Shows a page in the user's browser; False where there is none.

    A browser within the terminal counts as none: it would show nothing.
    """
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    if sys.platform.startswith("linux") and not any(map(os.environ.get, screens)):
        return False
    try:
        return webbrowser.open(path.resolve().as_uri())
    except webbrowser.Error:
        return False


def _write_segments(folder: Path, target: Path) -> Path:
    content = segment_genome.read_report(folder)
    loci, note = _try(lambda: view_loci.of_segments(folder, content))
    facts = {
        "command": content.get("command"),
        "regions": content["regions"],
        "bases": content["bases"],
        "without a value": content["unknown"],
        "above one half": {n: f"{s:.2%}" for n, s in content["elements"].items()},
        "scmultimodal": content.get("scmultimodal"),
        "revision": content.get("revision"),
    }
    return page.write_page(
        target,
        title=f"Segments {folder.resolve().name}",
        subtitle=f"{content['bases']:,} bp in {content['regions']:,} regions",
        loci=loci or (),
        loci_note=note,
        panels=[Panel(name="run", title="Run", body=report.summary_html(facts))],
    )


def _write_runs(found: Sequence[Run], target: Path) -> Path:
    cells, cells_note = _cells(found)
    loci, loci_note = _loci(found)
    simulated = [run.name for run in found if run.simulated]
    first = found[0]
    others = f" and {len(found) - 1} more" if len(found) > 1 else ""
    data = first.config.get("data")
    words = [KINDS[first.kind].title, *([data] if isinstance(data, str) else [])]
    return page.write_page(
        target,
        title=f"Run {first.name}{others}",
        subtitle=" · ".join(words),
        cells=cells,
        cells_note=cells_note,
        loci=loci,
        loci_note=loci_note,
        confusions=_confusions(found),
        curves=_curves(found),
        panels=_panels(found),
        banner=f"Simulated data, no biology: {', '.join(simulated)}"
        if simulated
        else "",
    )


def _try(make: Callable[[], Any]) -> tuple[Any, str]:
    """What can be made; or nothing, and why."""
    try:
        return make(), ""
    except InputError as error:
        print(f"not shown: {error}", flush=True)
        return None, f"Not shown: {error}"


def _cells(found: Sequence[Run]) -> tuple[CellMap | None, str]:
    first = next((run for run in found if run.kind in _CELLS), None)
    if first is None:
        return None, ""
    return _try(lambda: view_cells.of_run(first.path, first.config))


def _loci(found: Sequence[Run]) -> tuple[Sequence[Locus], str]:
    first = next((run for run in found if run.kind in _LOCI), None)
    if first is None:
        return (), ""
    loci, note = _try(lambda: _LOCI[first.kind](first.path, first.config))
    return loci or (), note


def _confusions(found: Sequence[Run]) -> list[dict[str, Any]]:
    """Matrices by part of the data, of all models of the runs whose types are the same.

    Types that are confused by the first model stand together.
    """
    parts: dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]] = {}
    for run in found:
        for part, told in run.confusions.items():
            for model, counts in told.counts.items():
                name = f"{run.name}: {model}" if len(found) > 1 else model
                of_model = {
                    "name": name,
                    "is_baseline": not model.startswith("scmultimodal"),
                    "counts": counts,
                }
                parts.setdefault((part, tuple(told.classes)), []).append(of_model)
    return [_ordered(part, classes, m) for (part, classes), m in parts.items()]


def _ordered(
    part: str, classes: Sequence[str], models: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    first = np.array(models[0]["counts"])
    shares = first / np.maximum(first.sum(1, keepdims=True), 1)
    order = classification.confusion_order(shares)
    return {
        "name": part,
        "classes": [classes[place] for place in order],
        "models": [
            {**m, "counts": np.array(m["counts"])[np.ix_(order, order)].tolist()}
            for m in models
        ],
    }


def _curves(found: Sequence[Run]) -> list[dict[str, Any]]:
    """Trainings that were validated by the same measures share their panels."""
    groups: dict[tuple[str, ...], list[tuple[str, str, Sequence[Mapping]]]] = {}
    for run in found:
        for training, records in run.trainings.items():
            measures = dict.fromkeys(
                name
                for record in records
                if record["split"] == "validation"
                for name, value in record.items()
                if value is not None and run_scores.is_measure(name)
            )
            if measures:
                stage, *rest = training.split("/")
                words = [_STAGES.get(stage, stage), *rest]
                name = ", ".join([*([run.name] if len(found) > 1 else []), *words])
                groups.setdefault(tuple(measures), []).append((stage, name, records))
    order = list(_STAGES)
    members = sorted(
        groups.items(),
        key=lambda group: min(
            order.index(s) if s in order else 99 for s, *_ in group[1]
        ),
    )
    return [_group(measures, trainings) for measures, trainings in members]


def _group(
    measures: tuple[str, ...], members: list[tuple[str, str, Sequence[Mapping]]]
) -> dict[str, Any]:
    stages = dict.fromkeys(_STAGES.get(stage, stage) for stage, _, _ in members)
    return {
        "name": ", ".join(stages).capitalize(),
        "metrics": [
            {
                "name": name,
                "title": comparison.title_of(name),
                "lower_is_better": comparison.lower_is_better(name),
            }
            for name in measures
        ],
        "trainings": [
            {"name": name, "series": _series(records, measures)}
            for _, name, records in members
        ],
    }


def _series(
    records: Sequence[Mapping[str, Any]], measures: Sequence[str]
) -> list[dict[str, Any]]:
    found = []
    for metric in measures:
        for split in ("train", "validation"):
            some = [r for r in records if r["split"] == split and metric in r]
            if some:
                found.append(
                    {
                        "metric": metric,
                        "split": split,
                        "steps": [int(record["step"]) for record in some],
                        "values": [_number(record[metric]) for record in some],
                    }
                )
    return found


def _number(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def _panels(found: Sequence[Run]) -> list[Panel]:
    """Scores and what was run, as tables that need no script."""
    return [
        Panel(name="scores", title="Scores", body=side_by_side.scores_html(found)),
        Panel(name="run", title="Run", body=side_by_side.facts_html(found)),
    ]

"""One page of one run or of several: what was run, how it went, what it reached."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from scmultimodal.data import atomic
from scmultimodal.evaluation import comparison, extra, report
from scmultimodal.evaluation.comparison import Part
from scmultimodal.schemas.errors import InputError
from scmultimodal.training import hosts
from scmultimodal.workflows import provenance, run_scores, runs
from scmultimodal.workflows.run_kinds import KINDS
from scmultimodal.workflows.runs import Run

PAGE, OF_RUN = "report.html", "report"
MOST_CURVES = 8
"""Trainings of a run whose curves are drawn: a study may have dozens."""


def run(paths: Sequence[Path], out: Path, *, overwrite: bool = False) -> Path:
    """Compares runs; writes `report.html`, `report.json` and pictures, or nothing.

    Args:
        paths: run folders, the first of a kind being what others are compared with.
        out: folder to make.
        overwrite: replaces a report that stands there.

    Returns:
        The page.

    Raises:
        InputError: no run, a folder that is none, one twice, a damaged file, or a
            folder that may not be replaced.
    """
    if not paths:
        raise InputError("RUN", "is missing", "Give one run folder or more")
    _check_target(paths, out, overwrite)
    _check_figures()
    found = runs.read_all(paths)
    atomic.check_writable(out)
    with atomic.folder(out) as folder:
        _write(found, folder, PAGE)
    return out / PAGE


def write_page(out: Path) -> None:
    """Writes `report/index.html` of a run that has ended, and says where it is.

    One host of many does.
    """
    if not hosts.is_main():
        return
    try:
        _check_figures()
    except InputError as error:
        print(f"report  none: {error}")
        return
    found = runs.read_all([out])
    with atomic.folder(out / OF_RUN) as folder:
        page = _write(found, folder, "index.html")
    print(f"report  {out / OF_RUN / page.name}")


def _write(found: Sequence[Run], folder: Path, page: str) -> Path:
    simulated = [run.name for run in found if run.simulated]
    kinds = {kind: [r for r in found if r.kind == kind] for kind in KINDS}
    kinds = {kind: of_kind for kind, of_kind in kinds.items() if of_kind}
    note = "simulated data" if simulated else ""
    sections, facts = [], {}
    for kind, of_kind in kinds.items():
        sections += _sections(kind, of_kind, folder, note)
        facts[kind] = _facts(of_kind)
    one = len(found) == 1
    return report.write_report(
        folder,
        page=page,
        title=f"Run {found[0].name}" if one else f"{len(found)} runs side by side",
        summary=_summary(found[0]) if one else _made_by(),
        sections=sections if one else [_what_was_run(found), *sections],
        banner=f"Simulated data, no biology: {', '.join(simulated)}" if note else "",
        facts={
            "runs": [run.facts() | {"simulated": run.simulated} for run in found],
            "results": facts,
        },
    )


def _summary(run: Run) -> dict[str, Any]:
    """What one run was: command, environment and time."""
    facts = run.facts()
    environment = facts["environment"] or {}
    return {
        "kind": KINDS[run.kind].title,
        "command": facts["command"],
        "began": facts["started"],
        **({"training took": _took(run)} if run.trainings else {}),
        "revision": facts["revision"],
        "scmultimodal": facts["scmultimodal"],
        **environment,
        "packages": facts["versions"],
    }


def _took(run: Run) -> str:
    return runs.format_seconds(run.trained_s)


def _made_by() -> dict[str, Any]:
    """Where the page itself comes from."""
    ran, code = provenance.of_run(), provenance.of_code()
    names = ("scmultimodal", "revision")
    return {
        "command": ran["command"],
        "made": ran["started"],
        **{name: code[name] for name in names},
    }


def _what_was_run(found: Sequence[Run]) -> report.Section:
    rows = []
    for run in found:
        environment = run.config.get("environment") or {}
        devices = environment.get("devices", {})
        rows.append(
            {
                "run": run.name,
                "kind": KINDS[run.kind].title,
                "revision": str(run.config.get("revision") or "–")[:12],
                "began": (run.config.get("started") or "")[:16].replace("T", " "),
                "training took": _took(run) if run.trainings else None,
                "devices": ", ".join(f"{n} × {kind}" for kind, n in devices.items()),
                "python": environment.get("python"),
                "jax": run.config["versions"].get("jax"),
                "command": run.config.get("command"),
            }
        )
    frame = pd.DataFrame(rows).set_index("run")
    text = "All versions of packages are in report.json."
    return report.Section(title="Runs", text=text, tables=[report.Table(frame=frame)])


def scores_html(found: Sequence[Run]) -> str:
    """The tables of a page without its pictures."""
    kinds = {run.kind for run in found}
    sections = [
        _tables(kind, [run for run in found if run.kind == kind])
        for kind in KINDS
        if kind in kinds
    ]
    return "\n".join(report.section_html(section, {}) for section in sections)


def facts_html(found: Sequence[Run]) -> str:
    """What was run, by which command, where and for how long."""
    if len(found) == 1:
        return report.summary_html(_summary(found[0]))
    return report.section_html(_what_was_run(found), {})


def _tables(kind: str, found: Sequence[Run]) -> report.Section:
    """Settings that differ and scores of the runs of one kind."""
    facts, parts = KINDS[kind], _parts(found)
    warnings = comparison.warnings(parts)
    unjudged = [run.name for run in found if facts.metrics and not run.scores]
    if unjudged:
        warnings.append(f"Nothing was judged yet: {', '.join(unjudged)}.")
    by_class = [
        comparison.class_table(part, facts.by_class)
        for part in parts
        if _has_classes(part, facts.by_class)
    ]
    return report.Section(
        title=facts.title,
        text="\n\n".join([facts.text, *warnings]),
        tables=[
            *_settings(found),
            *(comparison.scores_table(part) for part in parts),
            *by_class,
            *_own_tables(found),
        ],
    )


def _has_classes(part: Part, metric: str) -> bool:
    return bool(metric) and bool(comparison.class_scores(part, metric))


def _sections(
    kind: str, found: Sequence[Run], folder: Path, note: str
) -> list[report.Section]:
    """Scores and curves of the runs of one kind."""
    from scmultimodal.evaluation.figures import comparison as figures

    facts, parts, pictures = KINDS[kind], _parts(found), []
    if parts:
        drawn = figures.score_bars(
            parts, folder / f"{kind}_scores.png", metrics=facts.metrics, note=note
        )
        caption = "The same as figures; baselines are grey."
        pictures.append(report.Picture(path=drawn, caption=caption))
    for number, part in enumerate(parts):
        if _has_classes(part, facts.by_class):
            path = folder / f"{kind}_classes_{number}.png"
            drawn = figures.class_dots(part, facts.by_class, path, note=note)
            title = f"{comparison.title_of(facts.by_class)} of each class, {part.name}."
            pictures.append(report.Picture(path=drawn, caption=title))
    section = dataclasses.replace(
        _tables(kind, found), figures=[*pictures, *_own_pictures(kind, found)]
    )
    return [section, *_curves(kind, found, folder, note)]


def _own_tables(found: Sequence[Run]) -> list[report.Table]:
    """What runs say each by itself, with their names where there are several."""
    return [
        dataclasses.replace(table, caption=_of(run, table.caption, found))
        for run in found
        for table in run.tables
    ]


def _own_pictures(kind: str, found: Sequence[Run]) -> list[report.Picture]:
    """The same as pictures, under names that no two have."""
    return [
        report.Picture(
            path=picture.path,
            caption=_of(run, picture.caption, found),
            name=f"{kind}_{number}_{Path(picture.path).name}",
        )
        for number, run in enumerate(found)
        for picture in run.pictures
    ]


def _of(run: Run, caption: str, found: Sequence[Run]) -> str:
    return f"{run.name}: {caption}" if len(found) > 1 else caption


def _settings(found: Sequence[Run]) -> list[report.Table]:
    """The settings that differ, if any do."""
    differing = _differing(found)
    names = [run.name for run in found]
    return [comparison.settings_table(differing, names)] if differing else []


def _differing(found: Sequence[Run]) -> dict[str, dict[str, Any]]:
    return comparison.differing({run.name: run.settings for run in found})


def _curves(
    kind: str, found: Sequence[Run], folder: Path, note: str
) -> list[report.Section]:
    from scmultimodal.evaluation.figures import comparison as figures

    trainings = _trainings(found)
    shown = dict(list(trainings.items())[:MOST_CURVES])
    measures = dict.fromkeys(
        name
        for of_runs in shown.values()
        for records in of_runs.values()
        for record in records
        if record["split"] == "validation"
        for name, value in record.items()
        if value is not None and run_scores.is_measure(name)
    )
    if not measures:
        return []
    path = folder / f"{kind}_curves.png"
    drawn = figures.overlaid_curves(shown, path, metrics=list(measures), note=note)
    more = len(trainings) - len(shown)
    caption = "Validation by step; a dot marks the best."
    caption += f" {more} further trainings are not drawn." if more else ""
    picture = report.Picture(path=drawn, caption=caption)
    title = f"{KINDS[kind].title}: learning curves"
    return [report.Section(title=title, figures=[picture])]


def _parts(found: Sequence[Run]) -> list[Part]:
    """The parts of the data that some run was judged on."""
    names = dict.fromkeys(part for run in found for part in run.scores)
    return [
        Part(
            name=name,
            scores=[score for run in found for score in run.scores.get(name, ())],
            examples={run.name: run.examples.get(name) for run in found},
        )
        for name in names
    ]


def _trainings(
    found: Sequence[Run],
) -> dict[str, dict[str, Sequence[Mapping[str, Any]]]]:
    """Name of a training -> run -> records."""
    names = dict.fromkeys(name for run in found for name in run.trainings)
    return {
        name: {run.name: run.trainings[name] for run in found if name in run.trainings}
        for name in names
    }


def _facts(found: Sequence[Run]) -> dict[str, Any]:
    """Scores and validations as JSON has them."""
    return {
        "differing_settings": _differing(found),
        "parts": [comparison.as_json(part) for part in _parts(found)],
        "validation": {
            name: {
                run: [
                    {k: v for k, v in record.items() if k != "split"}
                    for record in records
                    if record["split"] == "validation"
                ]
                for run, records in of_runs.items()
            }
            for name, of_runs in _trainings(found).items()
        },
        "answers": {run.name: run.answers for run in found if run.answers},
    }


def _check_figures() -> None:
    """Raises InputError where the extra `eval` is missing."""
    with extra.required():
        from scmultimodal.evaluation import figures  # noqa: F401


def _check_target(paths: Sequence[Path], out: Path, overwrite: bool) -> None:
    """Raises InputError where no report may be written."""
    place = out.resolve()
    for path in paths:
        if path.resolve().is_relative_to(place):
            raise InputError(
                out,
                f"holds the run {path}, which the report would replace",
                "Choose another --out; nothing was written",
            )
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / PAGE).is_file():
        problem = "exists and holds no report of this command"
        raise InputError(out, problem, "Choose another folder; nothing was written")
    if not overwrite:
        raise InputError(out, "already holds a report", "Give --overwrite, or another")

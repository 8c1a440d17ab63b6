"""Judges the cell model: `python -m experiments.evaluation`, or `make evaluate`.

Everything is measured once and kept by the hash of its numbers, so that a run that was
ended goes on, and the same command may run several times side by side. Writes
`SECTION.json` for each section, and the README's tables.
"""

import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
import tyro

from experiments.evaluation import (
    ablations,
    attention,
    batches,
    cases,
    cell_types,
    few_shot,
    imputation,
    integration,
    links,
    pictures,
    readme,
    sets,
    studies,
    tables,
    transfer,
    unassigned,
)
from experiments.evaluation.cases import Case
from experiments.evaluation.sets import SetName
from experiments.evaluation.tables import Section
from scmultimodal.data import atomic
from scmultimodal.evaluation import report
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows import process, provenance

SectionName = Literal[
    "cell_types",
    "multiome",
    "few_shot",
    "batches",
    "unassigned",
    "transfer",
    "imputation",
    "links",
    "integration",
    "attention",
    "ablations",
    "feature_order",
    "binning",
    "modalities",
    "joint",
    "heads",
    "encoder",
    "sizes",
]
HEADLINES: dict[SectionName, Section] = {
    "cell_types": cell_types.SECTION,
    "multiome": cell_types.MULTIOME,
    "few_shot": few_shot.SECTION,
    "batches": batches.SECTION,
    "unassigned": unassigned.SECTION,
    "transfer": transfer.SECTION,
    "imputation": imputation.SECTION,
    "links": links.SECTION,
    "integration": integration.SECTION,
    "attention": attention.SECTION,
}
"""What the README shows."""
STUDIES: dict[SectionName, Section] = {
    "ablations": ablations.SECTION,
    "feature_order": studies.FEATURE_ORDER,
    "binning": studies.BINNING,
    "modalities": studies.MODALITIES,
    "joint": studies.JOINT,
    "heads": studies.HEADS,
    "encoder": studies.ENCODER,
    "sizes": studies.SIZES,
}
"""What each choice does; asked for by name."""
SECTIONS: dict[SectionName, Section] = {**HEADLINES, **STUDIES}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is judged."""

    sections: tuple[SectionName, ...] = tuple(HEADLINES)
    """The tables to fill; by default the headlines, without the studies."""
    sets: tuple[SetName, ...] = ("mouse_cortex",)
    """The labelled cells."""
    regimes: tuple[Regime, ...] = tuple(Regime)
    """What classifiers see."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of split, parameters and batches; every one is a run of its own."""
    cells: int | None = None
    """So many cells of each set; by default all, for the paper's studies 2,000, for
    sizes 1,000."""
    out: Path = Path("runs/evaluation")
    """Where prepared cells, trained models and results are kept."""
    results: Path | None = None
    """Where SECTION.json is written; OUT if not given."""
    readme: Path | None = None
    """File whose tables are filled."""
    debug: bool = False
    """Show a traceback with an error."""


def run(evaluation: Evaluation, arguments: Sequence[str]) -> None:
    """Measures, prints and writes what is asked for.

    Raises:
        InputError: no set is at hand, or the file has no place for a table.
    """
    if evaluation.readme is not None:
        for name in evaluation.sections:
            readme.check(evaluation.readme, name)
    if len(set(evaluation.seeds)) < len(evaluation.seeds):
        raise InputError("seeds", f"are {evaluation.seeds}", "Give each once")
    for name in evaluation.sets:
        if missing := sets.missing(name):
            print(f"skipped {name}: {missing}")
    chosen = [name for name in evaluation.sets if not sets.missing(name)]
    if not chosen:
        raise InputError("sets", "none is at hand", "set SCMULTIMODAL_DATA")
    shown = []
    for name in evaluation.sections:
        wanted = cases.every(
            chosen,
            evaluation.regimes,
            evaluation.seeds,
            cells=evaluation.cells or SECTIONS[name].cells,
        )
        shown += _fill(name, wanted, evaluation, arguments)
    page = report.write_report(
        evaluation.out / "report",
        title="Evaluation of the cell model",
        summary={
            "command": _command(arguments),
            "sets": chosen,
            "seeds": evaluation.seeds,
            **provenance.of_code(),
        },
        sections=shown,
    )
    print(f"\nreport {page}")


def _fill(
    name: SectionName,
    wanted: Sequence[Case],
    evaluation: Evaluation,
    arguments: Sequence[str],
) -> list[report.Section]:
    """Measures a section, writes it, and says what the page shows of it."""
    section = SECTIONS[name]
    rows = tables.measure(section, wanted, evaluation.out)
    if not rows:
        print(f"nothing to measure for {name}: {section.about}")
        return []
    found = {
        "about": section.about,
        "command": _command(arguments),
        "revision": provenance.git_revision(),
        "rows": rows,
    }
    path = (evaluation.results or evaluation.out) / f"{name}.json"
    atomic.write_text(path, json.dumps(found, indent=1, allow_nan=False) + "\n")
    text = tables.markdown(section, rows)
    print(f"\n{section.about}\n\n{text}\n\nresults {path}")
    if evaluation.readme is not None:
        readme.fill(evaluation.readme, name, text)
    picture = pictures.draw(section, rows, evaluation.out / "figures" / f"{name}.png")
    heads, body = tables.cells(section, rows)
    table = report.Table(frame=pd.DataFrame(body, columns=heads))
    return [
        report.Section(
            title=name.replace("_", " "),
            text=section.about,
            tables=[table],
            figures=[report.Picture(path=picture)],
        )
    ]


def _command(arguments: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "experiments.evaluation", *arguments])


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line; returns a `schemas.status.Status`."""
    arguments = sys.argv[1:] if arguments is None else arguments

    def work() -> None:
        run(
            tyro.cli(
                Evaluation,
                args=arguments,
                description=__doc__,
                prog="python -m experiments.evaluation",
                config=(tyro.conf.EnumChoicesFromValues,),
            ),
            arguments,
        )

    return process.run(work, name="evaluation", debug="--debug" in arguments)


if __name__ == "__main__":
    sys.exit(main())

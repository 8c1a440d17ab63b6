"""Judges the cell model: `python -m experiments.evaluation`, or `make evaluate`.

Every training is done once and its result kept in --out under a hash of its numbers: a
run that was ended goes on, and the same command may run several times side by side.
Each section is a table, in `SECTION.json`, in the README where it is asked for, and on
the page `report/index.html` in --out, with pictures. A table keeps the rows of other
sets, modalities and seeds that earlier calls have measured.
"""

import dataclasses
import functools
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
    distal_expression,
    distal_links,
    expression,
    few_shot,
    imputation,
    integration,
    links,
    pictures,
    processes,
    readme,
    results,
    sets,
    studies,
    tables,
    texts,
    transfer,
    unassigned,
)
from experiments.evaluation.cases import Case
from experiments.evaluation.sets import SetName
from experiments.evaluation.tables import Section
from scmultimodal.data import atomic, locks
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
    "expression",
    "links",
    "distal_links",
    "distal_expression",
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
    "expression": expression.SECTION,
    "links": links.SECTION,
    "distal_links": distal_links.SECTION,
    "distal_expression": distal_expression.SECTION,
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
    """The tables to measure; all but the studies if not given."""
    sets: tuple[SetName, ...] = ("mouse_cortex",)
    """The labelled cells. Sets whose files are not at hand are skipped."""
    regimes: tuple[Regime, ...] = tuple(Regime)
    """What models are shown of a cell; a section takes those that it has rows for."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """A split each, and the parameters and batches of what is trained on it; rows are
    means over them."""
    cells: int | None = None
    """So many cells, drawn anew for each seed, of sets that are not read from files. If
    not given, all; of the studies but ablations 2,000, of sizes 1,000."""
    out: Path = Path("runs/evaluation")
    """Where prepared cells, trained models and their results are kept, and the page."""
    results: Path | None = None
    """Folder of SECTION.json; OUT if not given. `make evaluate` gives
    experiments/results."""
    processes: int = 1
    """So many share the work: one a core, as `make evaluate` has it on two."""
    readme: Path | None = None
    """Markdown file to fill: each table between the comments SECTION and end of
    SECTION. `make evaluate` gives README.md."""
    debug: bool = False
    """Show a traceback with an error."""

    def __post_init__(self):
        """Raises InputError where nothing, or a thing twice, is asked for."""
        for name in ("sections", "sets", "regimes", "seeds"):
            values = [str(value) for value in getattr(self, name)]
            if not values:
                raise InputError(f"--{name}", "names nothing", "Give one or more")
            if len(set(values)) < len(values):
                problem = f"is {' '.join(values)}"
                raise InputError(f"--{name}", problem, "Give each once")
        if min(self.seeds) < 0:
            raise InputError("--seeds", f"has {min(self.seeds)}", "Give 0 or more")
        for name in ("cells", "processes"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise InputError(f"--{name}", f"is {number}", "Give 1 or more")

    def cases(self, name: SectionName, chosen: Sequence[SetName]) -> list[Case]:
        """Those of the chosen sets that a section is asked about."""
        cells = self.cells or SECTIONS[name].cells
        return cases.every(chosen, self.regimes, self.seeds, cells=cells)

    def table(self, name: SectionName) -> Path:
        """Where the rows of a section are kept."""
        return (self.results or self.out) / f"{name}.json"


def run(evaluation: Evaluation, arguments: Sequence[str]) -> None:
    """Measures, prints and writes what is asked for.

    Raises:
        InputError: no set is at hand, the file has no place for a table, or the one of
            earlier rows is damaged.
    """
    for name in evaluation.sections:
        results.read(evaluation.table(name))
        if evaluation.readme is not None:
            readme.check(evaluation.readme, name)
    for name in evaluation.sets:
        if missing := sets.missing(name):
            print(f"skipped {name}: {missing}")
    chosen = [name for name in evaluation.sets if not sets.missing(name)]
    if not chosen:
        raise InputError("sets", "none is at hand", "set SCMULTIMODAL_DATA")
    shown = []
    share = functools.partial(_measure, evaluation, chosen)
    with processes.beside(share, evaluation.out, evaluation.processes):
        for name in evaluation.sections:
            wanted = evaluation.cases(name, chosen)
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


def _measure(evaluation: Evaluation, chosen: Sequence[SetName]) -> None:
    """All jobs of a call that no other process does; what they find is kept."""
    for name in evaluation.sections:
        wanted = evaluation.cases(name, chosen)
        tables.measure(SECTIONS[name], wanted, evaluation.out)


def _fill(
    name: SectionName,
    wanted: Sequence[Case],
    evaluation: Evaluation,
    arguments: Sequence[str],
) -> list[report.Section]:
    """Measures a section, writes it, and says what the page shows of it."""
    section, command = SECTIONS[name], _command(arguments)
    wanted = [case for case in wanted if tables.serves(section, case)]
    new = tables.measure(section, wanted, evaluation.out, command=command)
    if not new:
        print(f"nothing to measure for {name}: {section.about}")
        return []
    path = evaluation.table(name)
    # Others may fill the same table with other sets at the same time.
    with locks.held(evaluation.out / "tables.lock", wait=True):
        kept = results.read(path)
        rows = tables.merge(section, kept, new, wanted, evaluation.out)
        found = {
            "about": section.about,
            "command": command,
            "revision": provenance.git_revision(),
            "rows": rows,
        }
        atomic.write_text(path, json.dumps(found, indent=1, allow_nan=False) + "\n")
        text = texts.markdown(section, rows)
        if evaluation.readme is not None:
            readme.fill(evaluation.readme, name, text)
    print(f"\n{section.about}\n\n{text}\n\nresults {path}")
    if gone := results.gone(kept, rows, tables.names(section)):
        print(f"left out: {gone} earlier results, which today's settings do not make")
    return [_shown(name, section, rows, evaluation.out / "figures" / f"{name}.png")]


def _shown(
    name: SectionName, section: Section, rows: Sequence[results.Row], path: Path
) -> report.Section:
    """A table and its picture for the page."""
    heads, body = texts.cells(section, rows)
    picture = report.Picture(
        path=pictures.draw(section, rows, path),
        caption="The same as a picture; what has no mark was not judged so.",
    )
    return report.Section(
        title=name.replace("_", " "),
        text=section.about,
        tables=[report.Table(frame=pd.DataFrame(body, columns=heads))],
        figures=[picture],
    )


def _command(arguments: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "experiments.evaluation", *arguments])


def _description() -> str:
    """What `--help` says before it comes to the flags."""
    files = {n: f", from {f.path} of SCMULTIMODAL_DATA" for n, f in sets.FILES.items()}
    lists = {
        "Sections": {name: section.about for name, section in HEADLINES.items()},
        "Studies": {name: section.about for name, section in STUDIES.items()},
        "Sets": {n: about + files.get(n, "") for n, about in sets.ABOUT.items()},
    }
    listed = [
        f"{title}:\n" + "\n".join(f"  {name}: {about}" for name, about in each.items())
        for title, each in lists.items()
    ]
    return "\n\n".join([str(__doc__).strip(), *listed])


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line; returns a `schemas.status.Status`."""
    arguments = sys.argv[1:] if arguments is None else arguments

    def work() -> None:
        run(
            tyro.cli(
                Evaluation,
                args=arguments,
                description=_description(),
                prog="python -m experiments.evaluation",
                config=(tyro.conf.EnumChoicesFromValues,),
            ),
            arguments,
        )

    return process.run(work, name="evaluation", debug="--debug" in arguments)

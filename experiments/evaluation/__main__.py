"""Judges the cell model: `python -m experiments.evaluation`, or `make evaluate`.

Everything is measured once and kept by the hash of its numbers, so that a run that was
ended goes on. Writes `SECTION.json` for each section, and the README's tables.
"""

import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from experiments.evaluation import cases, cell_types, few_shot, readme, sets, tables
from experiments.evaluation.cases import Case
from experiments.evaluation.sets import SetName
from experiments.evaluation.tables import Section
from scmultimodal.data import atomic
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows import process, provenance

SectionName = Literal["cell_types", "multiome", "few_shot"]
SECTIONS: dict[SectionName, Section] = {
    "cell_types": cell_types.SECTION,
    "multiome": cell_types.MULTIOME,
    "few_shot": few_shot.SECTION,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is judged."""

    sections: tuple[SectionName, ...] = tuple(SECTIONS)
    """The tables to fill."""
    sets: tuple[SetName, ...] = ("mouse_cortex",)
    """The labelled cells."""
    regimes: tuple[Regime, ...] = tuple(Regime)
    """What classifiers see."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of split, parameters and batches; every one is a run of its own."""
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
    for name in evaluation.sets:
        if missing := sets.missing(name):
            print(f"skipped {name}: {missing}")
    chosen = [name for name in evaluation.sets if not sets.missing(name)]
    if not chosen:
        raise InputError("sets", "none is at hand", "set SCMULTIMODAL_DATA")
    wanted = cases.every(chosen, evaluation.regimes, evaluation.seeds)
    for name in evaluation.sections:
        _fill(name, wanted, evaluation, arguments)


def _fill(
    name: SectionName,
    wanted: Sequence[Case],
    evaluation: Evaluation,
    arguments: Sequence[str],
) -> None:
    section = SECTIONS[name]
    rows = tables.measure(section, wanted, evaluation.out)
    if not rows:
        print(f"nothing to measure for {name}: {section.about}")
        return
    found = {
        "about": section.about,
        "command": shlex.join(["python", "-m", "experiments.evaluation", *arguments]),
        "revision": provenance.git_revision(),
        "rows": rows,
    }
    path = (evaluation.results or evaluation.out) / f"{name}.json"
    atomic.write_text(path, json.dumps(found, indent=1, allow_nan=False) + "\n")
    text = tables.markdown(section, rows)
    print(f"\n{section.about}\n\n{text}\n\nresults {path}")
    if evaluation.readme is not None:
        readme.fill(evaluation.readme, name, text)


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

"""Judges the cell model: `python -m experiments.evaluation`, or `make evaluate`.

Everything is measured once and kept by the hash of its numbers, so that a run that was
ended goes on. Writes `SECTION.json` for each section, and the README's tables.
"""

import dataclasses
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Literal

import tyro

from experiments.evaluation import cell_types, few_shot, readme, sets
from experiments.evaluation.sets import SetName
from scmultimodal.data import atomic
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows import process, provenance

Section = Literal["cell_types", "few_shot"]
SECTIONS: dict[Section, ModuleType] = {"cell_types": cell_types, "few_shot": few_shot}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is judged."""

    sections: tuple[Section, ...] = tuple(SECTIONS)
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


def run(evaluation: Evaluation) -> None:
    """Measures, prints and writes what is asked for."""
    names = [name for name in evaluation.sets if sets.at_hand(name)]
    for name in set(evaluation.sets) - set(names):
        print(f"skipped {name}: SCMULTIMODAL_DATA names no folder with it")
    results = evaluation.results or evaluation.out
    for section in evaluation.sections:
        rows = SECTIONS[section].run(
            names, evaluation.regimes, evaluation.seeds, evaluation.out
        )
        found = {"revision": provenance.git_revision(), "rows": rows}
        path = results / f"{section}.json"
        atomic.write_text(path, json.dumps(found, indent=1, allow_nan=False) + "\n")
        text = SECTIONS[section].table(rows)
        print(f"\n{text}\n\nresults {path}")
        if evaluation.readme is not None:
            readme.fill(evaluation.readme, section, text)


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
            )
        )

    return process.run(work, name="evaluation", debug="--debug" in arguments)


if __name__ == "__main__":
    sys.exit(main())

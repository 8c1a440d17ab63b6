"""The study's data: what there is, what is missing, and how to prepare it.

    python -m experiments.study_datasets --folder downloads
    python -m experiments.study_datasets --folder downloads --about satpathy cortex
    python -m experiments.study_datasets --folder downloads --arrange satpathy | bash

A pattern stands in a line until its files are there. Nothing is downloaded: `--about`
says where from, what the terms are, and what could not be verified. Some sets are
published in a form of their own; `--arrange` prints what makes of them files that can
be read. The facts are in study_datasets.toml.
"""

import dataclasses
import shlex
import sys
from pathlib import Path

import tyro

from experiments import data_manifest
from experiments.data_manifest import Manifest, Reference, StudyDataset, missing
from experiments.prepare_lines import Lines, format_line
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import process

GENES = (
    "The genes are those that the ten sets with RNA share. The study takes those that",
    "its 16 share: here Zheng68k and Neurips are not asked, and have 0 where they lack",
    "a gene.",
)


def format_table(manifest: Manifest, folder: Path) -> str:
    """A line for each set: what it is, and whether its files are there."""
    rows = [("set", "from", "cells", "shows", "genome", "for", "files")]
    for one in manifest.datasets.values():
        gone = missing(folder, one)
        rows.append(
            (
                one.name,
                one.accession if one.source == "GEO" else one.source,
                f"{one.cells:,}",
                one.modality,
                one.assembly,
                one.phase + (", ranking" if one.ranking else ""),
                f"missing: {', '.join(gone)}" if gone else "there",
            )
        )
    for one in manifest.references.values():
        gone = missing(folder, one)
        state = f"missing: {', '.join(gone)}" if gone else "there"
        rows.append((one.name, "see --about", "", "", "", "", state))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return "\n".join("  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows)


def format_facts(one: StudyDataset | Reference) -> str:
    """All that is known of one set."""
    facts = {k: v for k, v in dataclasses.asdict(one).items() if v and k != "arrange"}
    text = {
        name: "; ".join(value) if isinstance(value, tuple) else value
        for name, value in facts.items()
    }
    lines = [f"{name:<12}{value}" for name, value in text.items()]
    if getattr(one, "arrange", ""):
        lines.append(f"{'arrange':<12}--arrange {one.name}")
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What is asked."""

    folder: Path
    """Folder of the downloads."""
    out: Path = Path("data")
    """Where prepared data sets are to go."""
    about: tuple[str, ...] = ()
    """Say all that is known of these."""
    arrange: str | None = None
    """Print what makes files of this one that can be read."""
    debug: bool = False
    """Show a traceback with an error."""


def run(command: Command) -> None:
    """Prints the table and the lines, or what is known of some sets."""
    manifest = data_manifest.read()
    known = {**manifest.datasets, **manifest.references}
    asked = [*command.about, *filter(None, [command.arrange])]
    if strange := set(asked) - set(known):
        raise InputError(
            min(strange),
            "is no data set of the study",
            f"Name one of {', '.join(known)}",
        )
    if command.arrange is not None:
        script = getattr(known[command.arrange], "arrange", "") or "\n"
        print(
            f"set -e -o pipefail\ncd {shlex.quote(str(command.folder))}\n{script}",
            end="",
        )
        return
    if command.about:
        print("\n\n".join(format_facts(known[name]) for name in command.about))
        return
    lines = Lines(manifest=manifest, folder=command.folder, out=command.out)
    print(format_table(manifest, command.folder))
    title = "\n# ".join(["Pre-training, all at once", *GENES])
    sections = {title: [lines.pretraining()]}
    for title, phase in (("Fine-tuning", "finetune"), ("Each alone", "pretrain")):
        sections[title] = [lines.alone(one) for one in manifest.of_phase(phase)]
    sections["Region ranking"] = [lines.ranking("v1"), lines.ranking("v2")]
    sections["Segmentation"] = [lines.segmentation()]
    for title, commands in sections.items():
        print(f"\n# {title}", *map(format_line, commands), sep="\n")


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line and prints; returns a `schemas.status.Status`."""
    command = tyro.cli(
        Command,
        args=arguments,
        description=__doc__,
        prog="python -m experiments.study_datasets",
    )
    return process.run(lambda: run(command), name="data", debug=command.debug)


if __name__ == "__main__":
    sys.exit(main())

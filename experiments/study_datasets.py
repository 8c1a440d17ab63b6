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
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import tyro

from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import process

MANIFEST = Path(__file__).with_name("study_datasets.toml")
PRETRAINING = "pretraining"
"""Folder of the twelve, prepared together."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """What data sets are prepared with: a genome, an annotation. See the manifest."""

    name: str
    files: tuple[str, ...]
    published: str
    source: str
    unverified: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyDataset:
    """A data set of the study; the fields are described in the manifest."""

    name: str
    title: str
    phase: Literal["pretrain", "finetune"]
    modality: Literal["rna", "atac", "multiome"]
    cells: int
    assembly: Literal["hg38", "hg19"]
    source: str
    accession: str
    page: str
    published: str
    licence: str
    files: tuple[str, ...]
    annotation: tuple[str, ...] = ()
    label: str | None = None
    batch: str | None = None
    ranking: bool = False
    arrange: str = ""
    unverified: tuple[str, ...] = ()

    def __post_init__(self):
        hints = typing.get_type_hints(type(self))
        for field in ("phase", "modality", "assembly"):
            choices = typing.get_args(hints[field])
            if (value := getattr(self, field)) not in choices:
                raise ValueError(f"{field} {value!r} is none of {', '.join(choices)}")

    @property
    def lifted(self) -> bool:
        """Whether its peaks are to be lifted to hg38; genes are known by name."""
        return self.assembly == "hg19" and self.modality != "rna"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """All of it, in the order of the study's tables."""

    references: Mapping[str, Reference]
    datasets: Mapping[str, StudyDataset]

    def of_phase(self, phase: str) -> list[StudyDataset]:
        """Those that the study pre-trained on, or fine-tuned on."""
        return [one for one in self.datasets.values() if one.phase == phase]


def read(path: Path = MANIFEST) -> Manifest:
    """Reads a manifest.

    Raises:
        InputError: an entry lacks a field, has a strange one, or one of another type.
    """
    content = tomllib.loads(path.read_text("utf-8"))

    def of(kind: type, section: str) -> dict[str, Any]:
        return {
            name: configs.from_json(
                kind, {"name": name, **fields}, source=f"{path.name}, {section}.{name}"
            )
            for name, fields in content[section].items()
        }

    return Manifest(
        references=of(Reference, "references"), datasets=of(StudyDataset, "datasets")
    )


def find(folder: Path, pattern: str) -> list[Path]:
    """The files or folders that a pattern stands for, sorted."""
    return sorted(folder.glob(pattern))


def missing(folder: Path, one: StudyDataset | Reference) -> list[str]:
    """Which files of a data set are not in a folder."""
    patterns = (*one.files, *getattr(one, "annotation", ()))
    return [pattern for pattern in patterns if not find(folder, pattern)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lines:
    """The commands that prepare the study's data.

    Attributes:
        manifest: which data.
        folder: of the downloads.
        out: what is prepared goes below.
    """

    manifest: Manifest
    folder: Path
    out: Path

    def pretraining(self) -> list[str]:
        """All that the study pre-trained on, as one set with the genes they share."""
        together = self.manifest.of_phase("pretrain")
        words = ["scmultimodal", "prepare"]
        for one in together:
            words += self._counts(one)
        words += self._lift(together) if any(one.lifted for one in together) else []
        return [*words, *self._genes(), "--out", str(self.out / PRETRAINING)]

    def alone(self, one: StudyDataset) -> list[str]:
        """One set; for fine-tuning with the genes and medians of pre-training."""
        words = ["scmultimodal", "prepare", *self._counts(one)]
        words += self._lift([one]) if one.lifted else []
        for table in one.annotation:
            words += ["--cells", str(self.folder / table)]
        for flag, column in (("--label", one.label), ("--batch", one.batch)):
            words += [flag, column] if column is not None else []
        if one.phase == "finetune":
            words += ["--vocabulary", str(self.out / PRETRAINING)]
        return [*words, *self._genes(), "--out", str(self.out / one.name)]

    def ranking(self, version: Literal["v1", "v2"]) -> list[str]:
        """Spans of the sets whose cell types are published (table A.1)."""
        sets = [one for one in self.manifest.datasets.values() if one.ranking]
        files = [path for one in sets for path in self._files(one)]
        lifted = [path for one in sets if one.lifted for path in self._files(one)]
        tables = [self.folder / t for one in sets for t in one.annotation]
        words = ["scmultimodal", "prepare-ranking", "--atac", *map(str, files)]
        words += ["--chain", self._reference("chain"), "--lift", *map(str, lifted)]
        words += ["--cells", *map(str, tables), "--label", "cell_type"]
        words += ["--fasta", self._reference("genome"), "--outside", "drop"]
        words += ["--skip-empty", "--version", version]
        return [*words, "--out", str(self.out / f"spans_{version}")]

    def segmentation(self) -> list[str]:
        """Labels of every base, by GENCODE and ENCODE."""
        words = ["scmultimodal", "prepare-segmentation"]
        names = {"fasta": "genome", "gtf": "genes"}
        for flag in ("fasta", "gtf", "polya", "regulatory", "invariant"):
            words += [f"--{flag}", self._reference(names.get(flag, flag))]
        return [*words, "--out", str(self.out / "elements")]

    def _genes(self) -> list[str]:
        return ["--genes", self._reference("genes")]

    def _reference(self, name: str) -> str:
        (file,) = self.manifest.references[name].files
        return str(self.folder / file)

    def _files(self, one: StudyDataset) -> list[Path]:
        """Those that are there; a pattern as it stands where there are none."""
        return [
            path
            for pattern in one.files
            for path in find(self.folder, pattern) or [self.folder / pattern]
        ]

    def _counts(self, one: StudyDataset) -> list[str]:
        flag = f"--{one.modality}"
        return [word for path in self._files(one) for word in (flag, str(path))]

    def _lift(self, sets: Sequence[StudyDataset]) -> list[str]:
        files = [path for one in sets if one.lifted for path in self._files(one)]
        words = [word for path in files for word in ("--lift", str(path))]
        return ["--chain", self._reference("chain"), *words]


def format_line(words: Sequence[str], width: int = 88) -> str:
    """A command for people: a flag with its values never breaks."""
    parts: list[str] = []
    for word in words:
        text = shlex.quote(word)
        if word.startswith("--") or not parts:
            parts.append(text)
        else:
            parts[-1] += f" {text}"
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + 3 > width:
            lines[-1] += " \\"
            lines.append(f"    {part}")
        else:
            lines[-1] += f" {part}"
    return "\n".join(lines)


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
    manifest = read()
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
        print(f"set -e\ncd {shlex.quote(str(command.folder))}\n{script}", end="")
        return
    if command.about:
        print("\n\n".join(format_facts(known[name]) for name in command.about))
        return
    lines = Lines(manifest=manifest, folder=command.folder, out=command.out)
    print(format_table(manifest, command.folder))
    sections = {"Pre-training, all at once": [lines.pretraining()]}
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

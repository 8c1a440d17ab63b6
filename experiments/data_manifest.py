"""The study's data sets as study_datasets.toml has them, and where their files are."""

import dataclasses
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from scmultimodal.schemas import configs

MANIFEST = Path(__file__).with_name("study_datasets.toml")


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

"""The commands that prepare the study's data, from what its manifest says."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from experiments.data_manifest import Manifest, StudyDataset, find

PRETRAINING = "pretraining"
"""Folder of the twelve, prepared together."""


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
        """All that the study pre-trained on, as one set with the genes they share.

        Of ten sets with RNA: the study shares genes over its 16, those of fine-tuning
        among them. Genes that those lack are 0 there.
        """
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
        """Spans of the sets whose cell types are published.

        The study has a fourth source, 10x Genomics, without a name (table A.1). So the
        groups are not its own: its 397, 19 and 38 files to train, validate and test
        (table A.2) are those of about 19 groups on 21, 1 and 2 chromosomes.
        """
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

"""Files of counts, as workers open them; they load no more than that takes."""

import dataclasses
import secrets
from pathlib import Path
from typing import Any, Literal

from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell import inputs
from scmultimodal.singlecell.inputs import Dataset
from scmultimodal.workflows import memory

Kind = Literal["multiome", "rna", "atac", "fragments"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file of counts.

    Attributes:
        path: the file, or a folder of Cell Ranger.
        kind: what is taken from it.
        name: of the dataset that it becomes.
        scratch: a folder that all workers see, for what must be sorted.
        layer: that holds the counts; None takes X.
        options: for fragments, of `fragment_files.open_fragments`.
    """

    path: Path
    kind: Kind
    name: str
    scratch: Path
    layer: str | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        """Names the file in an error."""
        return str(self.path)


def open_file(_: None, file: InputFile) -> Dataset:
    """Reads names and annotations, and sorts what cannot be read by row.

    Raises:
        InputError: the file breaks a rule.
    """
    # Each attempt sorts into files of its own: the one before may have been cut off.
    scratch = file.scratch / f"{file.name}-{secrets.token_hex(4)}"
    with memory.bounded(file.path):
        return _open(file, scratch)


def _open(file: InputFile, scratch: Path) -> Dataset:
    if file.kind == "fragments":
        return inputs.open_fragments_file(
            file.path, scratch, name=file.name, **file.options
        )
    modality = None if file.kind == "multiome" else Modality(file.kind)
    return inputs.open_dataset(
        file.path, scratch, name=file.name, layer=file.layer, modality=modality
    )

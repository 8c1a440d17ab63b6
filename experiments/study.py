"""What the command line of every study asks."""

import dataclasses
from pathlib import Path

from scmultimodal.workflows.genome_presets import GenomePresetName
from scmultimodal.workflows.presets import PresetName


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Fields that all studies share; a study's own follow."""

    out: Path
    """Run folder."""
    bucket: str | None = None
    """Keep the run folder there too (gs://BUCKET/FOLDER), checkpoints as they are made;
    what is there is gone on from."""
    debug: bool = False
    """Show a traceback with an error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellStudyConfig(StudyConfig):
    """A study of the cell model."""

    preset: PresetName = "small"
    """Whose numbers to start from."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenomeStudyConfig(StudyConfig):
    """A study of the genome model."""

    preset: GenomePresetName = "small"
    """Whose numbers to start from."""

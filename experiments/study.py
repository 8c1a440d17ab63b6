"""What the command line of every study asks."""

import dataclasses
from pathlib import Path

from scmultimodal.workflows.presets import PresetName


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Fields that all studies share; a study's own follow."""

    out: Path
    """Run folder."""
    preset: PresetName = "small"
    """Whose numbers to start from."""
    debug: bool = False
    """Show a traceback with an error."""

"""The records of a training as TensorBoard reads them (extra `log`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scmultimodal.schemas.errors import InputError

FOLDER = "tensorboard"


class Events:
    """Writes scalars into `tensorboard/` of a run, as `train/loss` and the like."""

    def __init__(self, folder: Path, last_step: int = 0):
        """Opens a file of events; what earlier ones have beyond `last_step` is hidden.

        Raises:
            InputError: tensorboardX is not installed.
        """
        try:
            from tensorboardX import SummaryWriter
        except ModuleNotFoundError as error:
            raise InputError(
                "running.tensorboard",
                f"{error.name} is not installed",
                "Run: pip install 'scmultimodal[log]', or train without",
            ) from error
        self._writer = SummaryWriter(
            str(Path(folder) / FOLDER), purge_step=last_step + 1
        )

    def write(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Adds the scalars of one record."""
        for name, value in values.items():
            if np.ndim(value) == 0:
                self._writer.add_scalar(f"{split}/{name}", float(value), step)
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()

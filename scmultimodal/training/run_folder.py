"""What a training keeps on disk: metrics, checkpoints, the best state."""

import contextlib
import importlib.metadata
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import scmultimodal
from scmultimodal.data import atomic, mirror
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.training.checkpoints import CheckpointManager
from scmultimodal.training.metrics import FILE, Averages, MetricsWriter
from scmultimodal.training.state import TrainState

PACKAGES = ("jax", "jaxlib", "optax", "orbax-checkpoint", "numpy")


class RunFolder:
    """The folder of one training: `metrics.jsonl`, `checkpoints/` and `best/`.

    It holds host arrays only and knows no device. `open` comes first.
    """

    def __init__(
        self,
        folder: Path,
        description: dict,
        *,
        keep: int = 3,
        asynchronous: bool = False,
        writes: bool = True,
        tensorboard: bool = False,
    ):
        """Names the folder, and the settings that a resume must share.

        Args:
            folder: created by the first write.
            description: the settings.
            keep: checkpoints that stay, the newest.
            asynchronous: checkpoints are written behind the training.
            writes: False on a host that only reads what another writes.
            tensorboard: see `RunningConfig`.
        """
        self.writes, self.tensorboard = writes, tensorboard
        self.folder = Path(folder)
        # As JSON gives it back: tuples are lists, paths are text.
        self.description = json.loads(json.dumps(description, default=str))
        self.checkpoints = CheckpointManager(
            self.folder / "checkpoints", keep, asynchronous=asynchronous
        )
        self.best = CheckpointManager(self.folder / "best", keep=1)
        self.best_step: int | None = None
        self.best_value = math.nan
        self.metrics: MetricsWriter | None = None

    def open(
        self, state: TrainState, step: int | None, *, resume: bool
    ) -> tuple[TrainState, Averages]:
        """Takes up a checkpoint, or clears what a run without one left.

        Args:
            state: the state before the first step.
            step: the newest checkpoint; None where there is none.
            resume: whether going on is wanted.

        Returns:
            The state to go on from (`state` where there is no checkpoint) and the
            half-filled averages of the training record that was under way.

        Raises:
            InputError: a checkpoint where none may be resumed, one of other settings,
                or a damaged one; or a folder that may not be written to.
        """
        window = Averages()
        if self.writes:
            for manager in (self.checkpoints, self.best):
                atomic.check_writable(manager.folder)
        if step is None:
            if self.writes:
                self.best.clear()
        elif not resume:
            raise InputError(
                self.folder,
                f"has a checkpoint of step {step}, and resume is 'never'",
                "choose another folder, or resume='auto'",
            )
        else:
            state, metadata = self._restore(step, state)
            window = Averages(metadata["window"])
        self.metrics = MetricsWriter(
            self.folder,
            last_step=step or 0,
            writes=self.writes,
            tensorboard=self.tensorboard,
        )
        return state, window

    def _restore(self, step: int, state: TrainState) -> tuple[TrainState, dict]:
        """A checkpoint and its metadata; takes up the best that was known by then."""
        metadata = _metadata(self.checkpoints, step)
        _compare(self.folder, metadata["config"], self.description)
        # A validation may be newer than the checkpoint: so may the best.
        known, best = metadata.get("best"), self.best.latest_step
        if known is not None and (best is None or best < known):
            raise InputError(
                self.best.folder / str(known),
                "is missing: the best validation before the checkpoint",
                "copy it here again, or choose another folder",
            )
        if best is not None:
            self.best_step = best
            self.best_value = _metadata(self.best, best)["value"]
        return self.checkpoints.restore(step, state)

    def save(self, step: int, state: TrainState, window: Averages) -> None:
        """Saves a checkpoint with the settings, the data position and versions."""
        if not self.writes:
            return
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        metadata = {
            "step": step,
            "config": self.description,
            "versions": versions | {"scmultimodal": scmultimodal.__version__},
            "window": window.dump(),
            "best": self.best_step,
        }
        # Where the checkpoint is, the records before it are.
        mirror.send(self.folder / FILE)
        self.checkpoints.save(step, state, metadata)

    def is_best(self, value: float, sign: int) -> bool:
        """Whether `sign * value` is larger than at any validation before."""
        if math.isnan(self.best_value):
            return not math.isnan(value)
        return sign * value > sign * self.best_value

    def save_best(self, step: int, kept: Mapping[str, Any], value: float) -> None:
        """Keeps {"params", "network_state"} as the best of the run."""
        if self.writes:
            self.best.save(step, kept, {"step": step, "value": value})
        self.best_step, self.best_value = step, value

    def with_best(self, state: TrainState) -> tuple[TrainState, int | None]:
        """`state` with the best parameters, and their step: None if none is better."""
        if self.best_step is None:
            return state, None
        kept = {"params": state.params, "network_state": state.network_state}
        kept, _ = self.best.restore(self.best_step, kept)
        return state.replace(**kept), self.best_step

    def report_batch(
        self, step: int, batch_of: Callable[[int], Any], what: str
    ) -> Path | None:
        """Lists what a batch that "diverged" or was "skipped" was made of.

        Its fields named `…_index` say so, where it has any: positions in the dataset.
        None where there is nothing to list, or no room for it.
        """
        if not self.writes:
            return None
        indices = {
            name: np.asarray(index).tolist()
            for name, index in getattr(batch_of(step), "__dict__", {}).items()
            if name.endswith("_index") and index is not None
        }
        if not indices:
            return None
        path = self.folder / f"{what}_step_{step}.json"
        try:
            path.write_text(json.dumps({"step": step, **indices}))
        except OSError:  # That the batch broke a step is worth more than its list.
            return None
        return path

    def close(self) -> None:
        """Closes files and managers."""
        with contextlib.ExitStack() as stack:
            if self.metrics is not None:
                stack.callback(self.metrics.close)
            stack.callback(self.best.close)
            stack.callback(self.checkpoints.close)


def _metadata(manager: CheckpointManager, step: int) -> dict:
    """The metadata of a step; raises where it is that of another."""
    metadata = manager.metadata(step)
    if metadata["step"] != step:
        raise InputError(
            manager.folder / str(step),
            f"holds step {metadata['step']}",
            "give folders of steps their names again",
        )
    return metadata


def _compare(folder: Path, found: dict, expected: dict) -> None:
    """Raises at the first setting that differs from that of the run in the folder."""
    difference = configs.first_difference(found, expected, ignore={"resume", "running"})
    if difference is not None:
        name, old, new = difference
        raise InputError(
            folder,
            f"its checkpoint was trained with {name} = {old!r}, not {new!r}",
            "resume with the settings of the run, or choose another folder",
        )

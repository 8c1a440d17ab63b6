"""Averages of weighted sums, and the file that keeps them."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scmultimodal.schemas.errors import InputError
from scmultimodal.training.tensorboard import Events

FILE = "metrics.jsonl"


class Averages:
    """Sums (Σ, weight) over batches and divides once, at the end.

    Scalars are added as Python floats, in order, so that an average can be saved half
    way (`dump`) and continued to the same bits.
    """

    def __init__(self, sums: Mapping[str, Any] | None = None):
        """Starts from nothing, or from what `dump` returned."""
        self._sums = {
            name: (total, weight) for name, (total, weight) in (sums or {}).items()
        }

    def add(self, metrics: Mapping[str, tuple[Any, Any]]) -> None:
        """Adds one batch of metrics: {name: (Σ, weight)}; a sum may be an array."""
        for name, (total, weight) in metrics.items():
            old_total, old_weight = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (old_total + _host(total), old_weight + _host(weight))

    def means(self) -> dict[str, Any]:
        """{name: Σ / weight}; NaN where nothing was weighed."""
        return {
            name: _divide(total, weight) for name, (total, weight) in self._sums.items()
        }

    def dump(self) -> dict[str, list[float]]:
        """The scalar sums, as JSON keeps them exactly."""
        return {
            name: [total, weight]
            for name, (total, weight) in self._sums.items()
            if isinstance(total, float)
        }


class MetricsWriter:
    """Appends records to `metrics.jsonl`: one JSON object per line.

    A record is {"step", "split", "seconds", name: value …}; "seconds" is the time since
    the writer was opened and alone differs between equal runs.
    """

    def __init__(
        self,
        folder: Path,
        last_step: int = 0,
        *,
        writes: bool = True,
        tensorboard: bool = False,
    ):
        """Opens the file; drops records beyond `last_step` and a torn last line.

        Without `writes` it only reads, and remembers. `tensorboard` writes every record
        a second time, see `Events`.

        Raises:
            InputError: the file cannot be written; by `write` too.
        """
        self.path = Path(folder) / FILE
        self.history = [r for r in read_metrics(self.path) if r["step"] <= last_step]
        self._start, self._file, self._events = time.monotonic(), None, None
        if not writes:
            return
        if tensorboard:
            self._events = Events(folder, last_step)
        temporary = self.path.with_suffix(".tmp")
        with _writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text("".join(json.dumps(r) + "\n" for r in self.history))
            temporary.replace(self.path)
            self._file = self.path.open("a")

    def write(self, step: int, split: str, values: Mapping[str, Any]) -> dict:
        """Appends and returns one record. Arrays are left out; NaN becomes null."""
        record = {"step": step, "split": split}
        record["seconds"] = round(time.monotonic() - self._start, 3)
        for name, value in sorted(values.items(), key=lambda v: (v[0] != "loss", v[0])):
            if np.ndim(value) == 0:
                record[name] = float(value) if np.isfinite(value) else None
        if self._file is not None:
            with _writing(self.path):
                self._file.write(json.dumps(record) + "\n")
                self._file.flush()
        if self._events is not None:
            self._events.write(step, split, values)
        self.history.append(record)
        return record

    def close(self) -> None:
        """Closes the files."""
        if self._events is not None:
            self._events.close()
        if self._file is not None:
            # What is left to be flushed has been told of by `write`.
            with contextlib.suppress(OSError):
                self._file.close()


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Says which file it is that the system cannot write."""
    try:
        yield
    except OSError as error:
        raise InputError(
            path,
            f"cannot be written ({error.strerror})",
            "free space or mend permissions; the same call goes on from the last "
            "checkpoint",
        ) from error


def read_metrics(path: Path) -> list[dict]:
    """The records of a `metrics.jsonl`; a last line torn by a kill is not one."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _host(value: Any) -> Any:
    """A Python float, or a float64 array."""
    array = np.asarray(value, np.float64)
    return float(array) if array.ndim == 0 else array


def _divide(total: Any, weight: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.divide(total, weight)
    return float(mean) if mean.ndim == 0 else mean

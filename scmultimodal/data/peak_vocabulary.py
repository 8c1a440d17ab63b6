"""The peaks a model knows: intervals of one assembly, in the order of its tokens."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64, Shaped

from scmultimodal.data import atomic
from scmultimodal.schemas.errors import InputError

FILE_NAME = "peaks.json"
SCHEMA_VERSION = 1
_REMEDY = "Copy the folder again, or prepare the data anew"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PeakVocabulary:
    """Peaks by chromosome, start and end; none stands in it twice.

    Attributes:
        chroms: names of the chromosomes, sorted.
        chrom: which of them each peak is on.
        starts: 0-based start in bp.
        ends: half-open end in bp.
        origin: how the peaks were chosen; anything that JSON holds.
    """

    chroms: Shaped[np.ndarray, " chroms"]
    chrom: Int64[np.ndarray, " peaks"]
    starts: Int64[np.ndarray, " peaks"]
    ends: Int64[np.ndarray, " peaks"]
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if problem := _problem(self):
            remedy = "Peaks are sorted and 0 <= start < end"
            raise InputError("peak vocabulary", problem, remedy)

    @classmethod
    def from_frame(
        cls, peaks: pd.DataFrame, *, origin: dict[str, Any] | None = None
    ) -> "PeakVocabulary":
        """Sorts peaks, and takes each once.

        Args:
            peaks: chrom, start, end (0-based, half-open, bp).
            origin: how they were chosen.
        """
        columns = ["chrom", "start", "end"]
        peaks = peaks[columns].drop_duplicates().sort_values(columns)
        chroms, chrom = np.unique(peaks["chrom"].to_numpy(str), return_inverse=True)
        return cls(
            chroms=chroms,
            chrom=chrom.astype(np.int64),
            starts=peaks["start"].to_numpy(np.int64),
            ends=peaks["end"].to_numpy(np.int64),
            origin=dict(origin or {}),
        )

    @property
    def num_peaks(self) -> int:
        """Number of tokens."""
        return len(self.starts)

    def to_frame(self) -> pd.DataFrame:
        """chrom, start, end of every peak."""
        return pd.DataFrame(
            {
                "chrom": self.chroms[self.chrom].astype(object),
                "start": self.starts,
                "end": self.ends,
            }
        )

    def digest(self) -> str:
        """The sha256 of the peaks, the same on every machine."""
        text = json.dumps(self._to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def digest_of_places(self) -> str:
        """The same of where they lie alone, however they were chosen."""
        return dataclasses.replace(self, origin={}).digest()

    def save(self, folder: str | os.PathLike) -> Path:
        """Writes `peaks.json` into a folder and returns its path."""
        path = Path(folder) / FILE_NAME
        content = {"schema_version": SCHEMA_VERSION, **self._to_json()}
        atomic.write_text(path, json.dumps(content) + "\n")
        return path

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "PeakVocabulary":
        """Reads `peaks.json` from a folder.

        Raises:
            InputError: the file is missing, damaged or breaks a rule.
        """
        path = Path(folder) / FILE_NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema_version"] != SCHEMA_VERSION:
                raise ValueError("it has another schema version")
            numbers = {n: np.array(content[n], np.int64) for n in _NUMBERS}
            if len({array.shape for array in numbers.values()}) > 1:
                raise ValueError("it has arrays of several lengths")
            return cls(
                chroms=np.array(content["chroms"], np.str_),
                **numbers,
                origin=dict(content["origin"]),
            )
        except FileNotFoundError:
            raise InputError(path, "does not exist", _REMEDY) from None
        except InputError as error:
            raise InputError(path, error.problem, _REMEDY) from None
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            problem = f"is not a peak vocabulary ({error})"
            raise InputError(path, problem, _REMEDY) from None

    def _to_json(self) -> dict[str, Any]:
        names = ("chroms", *_NUMBERS)
        return {n: getattr(self, n).tolist() for n in names} | {"origin": self.origin}


_NUMBERS = ("chrom", "starts", "ends")


def _problem(peaks: PeakVocabulary) -> str | None:
    """What makes the fields no vocabulary."""
    if not peaks.num_peaks:
        return "has no peak"
    if peaks.chrom.min() < 0 or peaks.chrom.max() >= len(peaks.chroms):
        return "has a peak on no chromosome"
    if (peaks.starts < 0).any() or (peaks.starts >= peaks.ends).any():
        row = np.flatnonzero((peaks.starts < 0) | (peaks.starts >= peaks.ends))[0]
        return f"has a peak from {peaks.starts[row]} to {peaks.ends[row]} bp"
    order = np.lexsort((peaks.ends, peaks.starts, peaks.chrom))
    same = [np.diff(getattr(peaks, name)) == 0 for name in _NUMBERS]
    if (order != np.arange(len(order))).any() or np.logical_and.reduce(same).any():
        return "is not sorted, or has a peak twice"
    return None

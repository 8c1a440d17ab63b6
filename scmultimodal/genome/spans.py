"""Spans: windows of 3,000 bp that the genome is cut into (SPEC 3.1.3)."""

import dataclasses
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int64

from scmultimodal.schemas.errors import InputError

Version = Literal["v1", "v2"]

NUM_REGIONS = 3
"""Regions of a span: two non-zero, one zero."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpanConfig:
    """How spans and their regions are chosen.

    Attributes:
        version: "v1" pads at the end; "v2" at random on both sides, and leaves out
            every span with a region that overlaps one used before, on any sample,
            shift or table.
        span_bp: length of a span.
        shift_factor: how often the genome is cut; every time the boundaries lie
            span_bp / shift_factor further on. 1 cuts once.
        min_gap_bp: shortest stretch that may serve as the zero region.
        fixed_length: bp; takes windows of this length around the summits of the
            regions that hold it within one span, in place of the regions. None takes
            the regions as they are.
        density: values per kb of region in place of values.
        seed: of every draw.
    """

    version: Version = "v2"
    span_bp: int = 3_000
    shift_factor: int = 10
    min_gap_bp: int = 100
    fixed_length: int | None = None
    density: bool = False
    seed: int = 0

    def __post_init__(self):
        """Raises InputError for numbers that make no span."""
        rules = {
            "span_bp": (self.span_bp, NUM_REGIONS, 2**31 - 1),
            "shift_factor": (self.shift_factor, 1, self.span_bp),
            "min_gap_bp": (self.min_gap_bp, 1, self.span_bp),
            "seed": (self.seed, 0, 2**63 - 1),
        }
        if self.fixed_length is not None:
            most = self.span_bp // NUM_REGIONS
            rules["fixed_length"] = (self.fixed_length, 1, most)
        for name, (value, low, high) in rules.items():
            if not low <= value <= high:
                raise InputError(name, f"is {value}", f"Give {low} to {high}")

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where the first span of each shift begins, in bp."""
        steps = range(self.shift_factor)
        return tuple(step * self.span_bp // self.shift_factor for step in steps)


class Pieces(NamedTuple):
    """Intervals cut at the boundaries of windows.

    Attributes:
        source: row of the interval that a piece was cut from.
        window: number of the window it lies in; may be −1 before the first boundary.
        start: bp.
        end: bp.
    """

    source: Int64[np.ndarray, " pieces"]
    window: Int64[np.ndarray, " pieces"]
    start: Int64[np.ndarray, " pieces"]
    end: Int64[np.ndarray, " pieces"]

    def where(self, keep: np.ndarray) -> "Pieces":
        """The pieces that `keep` (a mask or row numbers) names."""
        return Pieces(*(column[keep] for column in self))


def cut(
    start: Int[np.ndarray, " intervals"],
    end: Int[np.ndarray, " intervals"],
    *,
    offset: int,
    span_bp: int,
) -> Pieces:
    """Cuts intervals at offset + k · span_bp for every whole k.

    Returns:
        The pieces of every interval from left to right; nothing is lost.
    """
    first, last = (start - offset) // span_bp, (end - 1 - offset) // span_bp
    count = last - first + 1
    source = np.repeat(np.arange(len(start)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    window = first[source] + within
    low = offset + window * span_bp
    return Pieces(
        source,
        window,
        np.maximum(start[source], low),
        np.minimum(end[source], low + span_bp),
    )


def centred(
    centre: Int[np.ndarray, " intervals"],
    *,
    length: int,
    offset: int,
    span_bp: int,
) -> Pieces:
    """Stretches of equal length around positions.

    Those that do not lie within one window are left out.
    """
    low = centre - length // 2
    pieces = cut(low, low + length, offset=offset, span_bp=span_bp)
    return pieces.where(pieces.end - pieces.start == length)


def union(
    start: Int[np.ndarray, " intervals"], end: Int[np.ndarray, " intervals"]
) -> tuple[Int64[np.ndarray, " merged"], Int64[np.ndarray, " merged"]]:
    """Overlapping and touching intervals as one, sorted."""
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    new = np.r_[True, start[1:] > reach[:-1]][: len(start)]
    last = np.r_[new[1:], True][: len(start)]
    return start[new].astype(np.int64), reach[last].astype(np.int64)


def gaps(
    start: Int[np.ndarray, " intervals"],
    end: Int[np.ndarray, " intervals"],
    *,
    low: int,
    high: int,
) -> tuple[Int64[np.ndarray, " gaps"], Int64[np.ndarray, " gaps"]]:
    """What no interval covers between `low` and `high`."""
    start, end = union(np.clip(start, low, high), np.clip(end, low, high))
    left, right = np.r_[low, end], np.r_[start, high]
    keep = left < right
    return left[keep].astype(np.int64), right[keep].astype(np.int64)


def longest(
    pieces: Pieces, windows: Int[np.ndarray, " windows"]
) -> Int64[np.ndarray, "windows 2"]:
    """Start and end of the longest piece of each window, the first of equals.

    Args:
        pieces: of gaps.
        windows: numbers of windows; one without a piece gets an empty interval.
    """
    length = pieces.end - pieces.start
    order = np.lexsort((pieces.start, -length, pieces.window))
    number = pieces.window[order]
    at = np.searchsorted(number, windows)
    found = np.append(number, -2)[at] == windows
    best = order[at[found]]
    result = np.zeros((len(windows), 2), np.int64)
    result[found] = np.stack([pieces.start[best], pieces.end[best]], axis=1)
    return result


def free_of(
    pieces: Pieces,
    start: Int[np.ndarray, " intervals"],
    end: Int[np.ndarray, " intervals"],
) -> Bool[np.ndarray, " pieces"]:
    """Which pieces no interval overlaps; the intervals are sorted and disjoint."""
    at = np.searchsorted(end, pieces.start, side="right")
    return np.append(start, np.iinfo(np.int64).max)[at] >= pieces.end

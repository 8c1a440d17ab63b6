"""Three regions of every span: two that are open and one that is not (SPEC 3.1.4)."""

import zlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64
from scipy import special

from scmultimodal.genome.spans import NUM_REGIONS, Pieces, SpanConfig


class Draws:
    """Random numbers that depend on their key alone, and on no NumPy version."""

    def __init__(self, seed: int, *key: int | str):
        """Starts the stream of a key: names and numbers, 0 or more."""
        words = [zlib.crc32(k.encode()) if isinstance(k, str) else k for k in key]
        self._philox = np.random.Philox(np.random.SeedSequence([seed, *words]))

    def uniform(self, *shape: int) -> Float64[np.ndarray, "..."]:
        """Numbers of [0, 1)."""
        raw = np.asarray(self._philox.random_raw(int(np.prod(shape))))
        return ((raw >> np.uint64(11)) * 2.0**-53).reshape(shape)

    def normal(self, size: int) -> Float64[np.ndarray, " size"]:
        """Standard normal numbers."""
        return special.ndtri(self.uniform(size) + 2.0**-54)


class Chosen(NamedTuple):
    """The regions of the spans of one sample at one offset.

    Attributes:
        window: number of each span's window.
        intervals: start and end of its regions in bp: two non-zero, the zero one.
        values: of the regions.
        gap_too_short: spans that were dropped for want of a zero region.
        windows_overlap: spans whose windows of fixed length overlap; dropped.
    """

    window: Int64[np.ndarray, " spans"]
    intervals: Int64[np.ndarray, "spans 3 2"]
    values: Float64[np.ndarray, "spans 3"]
    gap_too_short: int
    windows_overlap: int


def choose(
    pieces: Pieces,
    values: Float[np.ndarray, " pieces"],
    *,
    windows: Int[np.ndarray, " windows"],
    gap: Int[np.ndarray, "windows 2"],
    lengths: tuple[float, float],
    config: SpanConfig,
    draws: Draws,
) -> Chosen:
    """Draws two non-zero regions and a zero one from each span that has them.

    Args:
        pieces: what may be drawn, sorted by window.
        values: of the pieces.
        windows: the different windows of the pieces, increasing.
        gap: longest stretch of each window that is free of any region.
        lengths: mean and standard deviation of region lengths, in bp.
        config: numbers.
        draws: random numbers.
    """
    at = np.searchsorted(windows, pieces.window)
    open_ = values > 0
    total = np.bincount(at, minlength=len(windows))
    opened = np.bincount(at, open_, minlength=len(windows)).astype(np.int64)
    # Within a window: the non-zero pieces, then the zero ones, both at random.
    order = np.lexsort((draws.uniform(len(at)), ~open_, at))
    rows = np.flatnonzero(opened >= NUM_REGIONS - 1)
    first = (np.cumsum(total) - total)[rows]
    closed = total[rows] > opened[rows]
    picks = np.stack(
        [first, first + 1, np.where(closed, first + opened[rows], first)], 1
    )
    picks = order[picks] if len(rows) else picks
    intervals = np.stack([pieces.start[picks], pieces.end[picks]], axis=-1)
    place = _in_gap(gap[rows], lengths, config, draws)
    intervals[:, 2] = np.where(closed[:, None], intervals[:, 2], place)
    drawn = values[picks].astype(np.float64)
    drawn[:, 2] = 0
    long_enough = closed | (gap[rows, 1] - gap[rows, 0] >= _least(config))
    apart = _disjoint(intervals)
    keep = long_enough & apart
    return Chosen(
        windows[rows[keep]].astype(np.int64),
        intervals[keep],
        drawn[keep],
        gap_too_short=int((~long_enough).sum()),
        windows_overlap=int((long_enough & ~apart).sum()),
    )


def _least(config: SpanConfig) -> int:
    return config.fixed_length or config.min_gap_bp


def _in_gap(
    gap: Int[np.ndarray, "spans 2"],
    lengths: tuple[float, float],
    config: SpanConfig,
    draws: Draws,
) -> Int64[np.ndarray, "spans 2"]:
    """A stretch at a random place of each gap, its length drawn and clamped."""
    room = gap[:, 1] - gap[:, 0]
    length = np.rint(lengths[0] + lengths[1] * draws.normal(len(gap)))
    if config.fixed_length is not None:
        length = np.full(len(gap), config.fixed_length)
    least = _least(config)
    length = np.clip(length, least, np.maximum(room, least)).astype(np.int64)
    slack = np.maximum(room - length, 0) + 1
    start = gap[:, 0] + (draws.uniform(len(gap)) * slack).astype(np.int64)
    return np.stack([start, start + length], axis=1)


def _disjoint(intervals: Int[np.ndarray, "spans 3 2"]) -> Bool[np.ndarray, " spans"]:
    ordered = np.take_along_axis(
        intervals, np.argsort(intervals[:, :, :1], axis=1), axis=1
    )
    return (ordered[:, 1:, 0] >= ordered[:, :-1, 1]).all(axis=1)

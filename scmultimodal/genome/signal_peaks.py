"""Peaks of a binned signal, such as DNase coverage: regions with values."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from scmultimodal.schemas.errors import InputError


class BinnedSignal(NamedTuple):
    """A signal over stretches of equal length.

    Attributes:
        values: mean signal of each bin, one row per stretch.
        chrom: chromosome of each stretch.
        start: first position of each stretch (0-based, bp).
        bin_bp: width of a bin.
    """

    values: Float[np.ndarray, "stretches bins"]
    chrom: list[str]
    start: Int[np.ndarray, " stretches"]
    bin_bp: int


def call_peaks(
    signal: BinnedSignal, *, percentile: float = 95.0, merge_bp: int = 150
) -> pd.DataFrame:
    """Runs of bins above the signal's own percentile, the near ones merged.

    Args:
        signal: of one track.
        percentile: of all bins of all stretches; a bin must be above it.
        merge_bp: runs with a gap of at most this between them become one.

    Returns:
        stretch, chrom, start, end, value (mean of all bins from start to end, those of
        the gaps included) and summit (centre of the highest bin, bp), in order.

    Raises:
        InputError: a signal that is not finite, or a percentile outside 0…100.
    """
    values = np.asarray(signal.values, np.float64)
    if not np.isfinite(values).all():
        raise InputError("signal", "holds NaN or infinity", "give finite coverage")
    if not 0 <= percentile <= 100:
        raise InputError(
            "percentile", f"is {percentile}", "choose one within 0 and 100"
        )
    above = values > np.percentile(values, percentile)
    parts = [
        _runs(row, signal.bin_bp, merge_bp, stretch)
        for stretch, row in enumerate(above)
    ]
    stretch, first, last = np.concatenate(parts, axis=1)
    highest = [
        f + int(values[s, f:e].argmax())
        for s, f, e in zip(stretch, first, last, strict=True)
    ]
    place = np.asarray(signal.start, np.int64)[stretch]
    return pd.DataFrame(
        {
            "stretch": stretch,
            "chrom": np.asarray(signal.chrom, dtype=object)[stretch],
            "start": place + first * signal.bin_bp,
            "end": place + last * signal.bin_bp,
            "value": [
                values[s, f:e].mean()
                for s, f, e in zip(stretch, first, last, strict=True)
            ],
            "summit": place
            + np.asarray(highest, np.int64) * signal.bin_bp
            + signal.bin_bp // 2,
        }
    )


def summit_windows(peaks: pd.DataFrame, length: int) -> pd.DataFrame:
    """The same peaks as windows of one length around their summits."""
    start = peaks["summit"] - length // 2
    return peaks.assign(start=start, end=start + length)


def _runs(
    above: np.ndarray, bin_bp: int, merge_bp: int, stretch: int
) -> Int[np.ndarray, "3 runs"]:
    """(stretch, first bin, bin after the last) of each run of one stretch."""
    bins = np.flatnonzero(above)
    gap = (np.diff(bins) - 1) * bin_bp
    cuts = np.flatnonzero(gap > merge_bp)
    first = bins[np.concatenate([[0], cuts + 1])] if bins.size else bins
    last = bins[np.concatenate([cuts, [-1]])] + 1 if bins.size else bins
    return np.stack([np.full(len(first), stretch), first, last])

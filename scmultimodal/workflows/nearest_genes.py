"""The gene whose start is nearest to a peak: a name for people, and no more."""

import numpy as np
import pandas as pd

from scmultimodal.singlecell import peaks as peak_bands
from scmultimodal.singlecell.peaks import PeakAggregation

WITHIN_BP = 500_000
_REACH = PeakAggregation(bands_bp=(WITHIN_BP,), weights=(1.0,), anchor="tss")


def nearest(peaks: pd.DataFrame, genes: pd.DataFrame) -> pd.DataFrame:
    """The gene nearest to each peak, by the first base of its strand.

    Args:
        peaks: chrom, start, end.
        genes: symbol, chrom, start, end, strand.

    Returns:
        nearest_gene (symbol, "" where none is within 500 kb) and distance_bp (of the
        peak's nearer end, −1 where there is none), in the order of the peaks.

    Raises:
        InputError: peaks and genes share no chromosome.
    """
    near = peak_bands.link_peaks(peaks, genes, _REACH, "the model").tocoo()
    tss = np.where(genes["strand"] == "-", genes["end"], genes["start"])[near.col]
    after = peaks["start"].to_numpy()[near.row] - tss
    before = tss - peaks["end"].to_numpy()[near.row]
    distance = np.maximum(0, np.maximum(after, before))
    order = np.lexsort((near.col, distance, near.row))
    peak, first = np.unique(near.row[order], return_index=True)
    symbols, far = np.full(len(peaks), "", object), np.full(len(peaks), -1)
    symbols[peak] = genes["symbol"].to_numpy(object)[near.col[order][first]]
    far[peak] = distance[order][first]
    return pd.DataFrame({"nearest_gene": symbols, "distance_bp": far})

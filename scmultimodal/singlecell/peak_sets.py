"""One set of peaks for all datasets, and which of it the peaks of a dataset are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scmultimodal.genome import intervals
from scmultimodal.schemas.errors import InputError


def consensus(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The peaks of several datasets, those that overlap merged into one.

    Args:
        tables: chrom, start, end (0-based, half-open, bp) of each dataset's peaks, of
            one assembly.

    Raises:
        InputError: chromosomes are named in two ways.
    """
    import bioframe  # Takes half a second, for it brings matplotlib.

    peaks = _together(tables)
    return bioframe.merge(peaks, min_dist=None)[["chrom", "start", "end"]]


def tiles(tables: Sequence[pd.DataFrame], tile_bp: int) -> pd.DataFrame:
    """The tiles of the genome, from 0 on, that hold the middle of a peak.

    Args:
        tables: as for `consensus`.
        tile_bp: length of a tile.

    Raises:
        InputError: `tile_bp` is below 1, or chromosomes are named in two ways.
    """
    if tile_bp < 1:
        raise InputError("tile_bp", f"is {tile_bp}", "Give 1 or more")
    peaks = _together(tables)
    middle = (peaks["start"] + peaks["end"]) // 2
    start = middle // tile_bp * tile_bp
    found = pd.DataFrame(
        {"chrom": peaks["chrom"], "start": start, "end": start + tile_bp}
    )
    return found.drop_duplicates(ignore_index=True)


def match(
    peaks: pd.DataFrame, reference: pd.DataFrame, source: object = "peaks"
) -> sp.csr_matrix:
    """Which peak of a reference set each peak is: the one it shares most bp with.

    Args:
        peaks: chrom, start, end of a dataset's, in the assembly of the reference.
        reference: chrom, start, end, each once.
        source: of the peaks, to name in an error.

    Returns:
        int32 [peaks, reference]: 1 where a peak is one of the reference; a peak that
        overlaps none has an empty row. Of two that share as much, the first.

    Raises:
        InputError: no peak overlaps any of the reference.
    """
    style = intervals.chromosome_style(reference["chrom"], "peak vocabulary")
    intervals.chromosome_style(peaks["chrom"], source)
    named = intervals.rename_chromosomes(peaks["chrom"], style)
    own, other = intervals.overlapping(peaks.assign(chrom=named), reference)
    if not len(own):
        raise InputError(
            source,
            f"none of its {len(peaks):,} peaks overlaps one of the "
            f"{len(reference):,} of the vocabulary",
            "Lift them to its assembly by --chain, or choose other --peak-tokens",
        )
    ends = [f[c].to_numpy()[r] for c in ("start", "end")
            for f, r in ((peaks, own), (reference, other))]  # fmt: skip
    shared = np.minimum(ends[2], ends[3]) - np.maximum(ends[0], ends[1])
    # By peak, then most bp first, then the first of the reference.
    order = np.lexsort((other, -shared, own))
    best = order[np.diff(own[order], prepend=-1) != 0]
    ones = np.ones(len(best), np.int32)
    shape = (len(peaks), len(reference))
    return sp.csr_matrix((ones, (own[best], other[best])), shape=shape)


def kept(matched: sp.csr_matrix, fragments: int, within: int) -> dict[str, Any]:
    """How much of a dataset the reference has; JSON-able.

    Args:
        matched: as from `match`.
        fragments: of all cells of the dataset.
        within: those of them in peaks of the reference.
    """
    return {
        "peaks": matched.shape[0],
        "peaks_kept": matched.nnz,
        "fragments": fragments,
        "fragments_kept": within,
        "tokens": matched.shape[1],
        "tokens_found": len(np.unique(matched.indices)),
    }


def _together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All peaks, with chromosomes named as in the first table."""
    style = intervals.chromosome_style(tables[0]["chrom"], "peaks")
    parts = []
    for table in tables:
        intervals.chromosome_style(table["chrom"], "peaks")
        chroms = intervals.rename_chromosomes(table["chrom"], style)
        parts.append(table[["start", "end"]].assign(chrom=chroms))
    return pd.concat(parts, ignore_index=True)[["chrom", "start", "end"]]

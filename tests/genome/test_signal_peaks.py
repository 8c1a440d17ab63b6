"""Peaks of a signal: by hand, and on the real DNase tracks."""

import numpy as np
import pandas as pd
import pytest

from scmultimodal.genome import signal_peaks
from scmultimodal.genome.signal_peaks import BinnedSignal
from scmultimodal.schemas.errors import InputError


def signal(*rows, start=1_000, bin_bp=100):
    names, starts = ["chr1", "chr2"], np.arange(1, len(rows) + 1) * start
    return BinnedSignal(np.array(rows, float), names[: len(rows)], starts, bin_bp)


def test_runs_by_hand():
    row = [0, 5, 9, 0, 6, 0, 0, 7, 0, 0]
    found = signal_peaks.call_peaks(
        signal(row, [0] * 9 + [8]), percentile=70.0, merge_bp=150
    )
    assert found["chrom"].tolist() == ["chr1", "chr1", "chr2"]
    assert found[["start", "end", "summit"]].to_numpy().tolist() == [
        [1_100, 1_500, 1_250],
        [1_700, 1_800, 1_750],
        [2_900, 3_000, 2_950],
    ]
    assert found["value"].tolist() == [5.0, 7.0, 8.0]


@pytest.mark.parametrize(("merge_bp", "runs"), [(99, 3), (100, 2), (200, 1)])
def test_a_gap_of_merge_bp_is_closed(merge_bp, runs):
    row = [5, 0, 5, 0, 0, 5, *[0] * 14]
    found = signal_peaks.call_peaks(signal(row), percentile=80.0, merge_bp=merge_bp)
    assert len(found) == runs


def test_a_flat_signal_has_no_peak():
    found = signal_peaks.call_peaks(signal([3, 3, 3]))
    assert found.empty
    assert list(found) == ["stretch", "chrom", "start", "end", "value", "summit"]


def test_windows_are_centred_on_summits():
    peaks = pd.DataFrame({"start": [0], "end": [9], "summit": [1_000]})
    window = signal_peaks.summit_windows(peaks, 510)
    assert window[["start", "end"]].to_numpy().tolist() == [[745, 1_255]]


@pytest.mark.parametrize(
    ("values", "percentile", "words"),
    [([1, np.nan], 95.0, "NaN"), ([1, 2], 101.0, "percentile")],
)
def test_what_cannot_be_called_is_refused(values, percentile, words):
    with pytest.raises(InputError, match=words):
        signal_peaks.call_peaks(signal(values), percentile=percentile)


def test_real_dnase(data_folder):
    """Every bin outside the peaks is below the threshold, or it would be in one."""
    folder = data_folder / "dna_hg38_regions"
    places = pd.read_csv(folder / "regions.tsv", sep="\t")
    with np.load(folder / "tracks_32bp_float16.npz") as file:
        track = file["tracks"][:, :, 25].astype(np.float32)
    starts = places["target_start"].to_numpy()
    found = signal_peaks.call_peaks(
        BinnedSignal(track, places["chrom"].tolist(), starts, 32)
    )
    left = track > np.percentile(track.astype(np.float64), 95)
    for peak in found.itertuples():
        first = (peak.start - starts[peak.stretch]) // 32
        last = (peak.end - starts[peak.stretch]) // 32
        assert left[peak.stretch, [first, last - 1]].all()
        left[peak.stretch, first:last] = False
    assert not left.any()
    assert len(found) == 839

"""Examples for ranking from signal tracks, such as DNase, over regions (SPEC 3.1).

Peaks of each track are the bins above its own 95th percentile, merged within 150 bp;
every window has one length and is centred on a summit, so that neither length nor
padding tells anything. Two sets have two open windows and a closed one, of one track:

- "near": within 3 kb, as the study has them;
- "wide": anywhere within as much as was measured, 65 kb.

The third, "signal", has three windows at random places, ordered by the signal of all
tracks in them, peaks or not. It shows every stretch that was measured, and is there to
train on before ranking; nothing is judged by it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int64

from scmultimodal.data.region_chunks import RegionChunk, read_chunk
from scmultimodal.data.region_store import RegionStore, write_region_store
from scmultimodal.datasets import AccessibleGenome
from scmultimodal.genome import region_splits
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.genome.region_splits import SPLITS
from scmultimodal.genome.regions import RegionTable
from scmultimodal.genome.signal_peaks import BinnedSignal, call_peaks
from scmultimodal.genome.span_table import SpanTable
from scmultimodal.genome.spans import NUM_REGIONS, SpanConfig
from scmultimodal.schemas import configs
from scmultimodal.workflows import prepare_ranking
from scmultimodal.workflows.prepare_ranking import CHUNK, PrepareRankingConfig

ExampleSet = Literal["near", "wide", "signal"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExamplesConfig:
    """How tracks become examples.

    Attributes:
        percentile: of a track's own bins; a bin of a peak is above it.
        merge_bp: peaks with at most this between them are one.
        window_bp: length of every window, and the most that is read of one.
        fixed_length: windows are centred on summits; otherwise they are the peaks as
            they were called, padded, and the length tells.
        version: "v1" pads at the end; "v2" on both sides, and uses no region twice. All
            splits are by region: what v1 uses twice it uses within one.
        shift_factor: how often the genome is cut into spans.
        signal_lists: lists of windows at random places.
        vocabulary: of the tokens.
        seed: of every draw.
    """

    percentile: float = 95.0
    merge_bp: int = 150
    window_bp: int = 510
    fixed_length: bool = True
    version: Literal["v1", "v2"] = "v1"
    shift_factor: int = 10
    signal_lists: int = 40_000
    vocabulary: Literal["v1", "v2"] = "v2"
    seed: int = 0

    @property
    def num_tokens(self) -> int:
        """Tokens of a window, CLS included, where it has no N."""
        k = KmerTokenizer(self.vocabulary).k
        return self.window_bp // k + self.window_bp % k + 1


def prepare(
    data: AccessibleGenome, which: ExampleSet, config: ExamplesConfig, out: Path
) -> RegionStore:
    """Writes a set of examples; one that stands there and is the same is kept."""
    provenance = {"name": data.name, "set": which, "examples": configs.to_json(config)}
    if (out / "manifest.json").is_file():
        found = RegionStore.open(out)
        if found.manifest["provenance"] == provenance:
            return found
    with Genome.open(data.fasta) as genome:
        if which == "signal":
            return _write_signal(data, genome, config, out, provenance)
        return prepare_ranking.run(
            [_peaks(data, track, config) for track in range(len(data.tracks))],
            genome,
            _span_config(data, which, config),
            out,
            provenance=provenance,
            regions=_places(data),
            overwrite=True,
        )


def _span_config(
    data: AccessibleGenome, which: ExampleSet, config: ExamplesConfig
) -> PrepareRankingConfig:
    measured = data.signal.shape[1] * data.bin_bp
    return PrepareRankingConfig(
        spans=SpanConfig(
            version=config.version,
            span_bp=3_000 if which == "near" else measured,
            shift_factor=config.shift_factor * (1 if which == "near" else 2),
            fixed_length=config.window_bp if config.fixed_length else None,
            seed=config.seed,
        ),
        num_tokens=config.num_tokens,
        vocabulary=config.vocabulary,
        skip_empty=True,
    )


def peaks_of_track(
    data: AccessibleGenome, track: int, config: ExamplesConfig
) -> pd.DataFrame:
    """The open regions of one track, see `call_peaks`."""
    regions = data.regions
    signal = BinnedSignal(
        data.signal[:, :, track],
        regions["chrom"].tolist(),
        regions["target_start"].to_numpy(),
        data.bin_bp,
    )
    return call_peaks(signal, percentile=config.percentile, merge_bp=config.merge_bp)


def _peaks(data: AccessibleGenome, track: int, config: ExamplesConfig) -> RegionTable:
    """The peaks of one track; no closed window may lie where nothing was measured."""
    regions, peaks = data.regions, peaks_of_track(data, track, config)
    flanks = [
        regions[["chrom", low, high]].set_axis(["chrom", "start", "end"], axis=1)
        for low, high in (("start", "target_start"), ("target_end", "end"))
    ]
    return RegionTable.build(
        data.name,
        peaks,
        peaks[["value"]].to_numpy(),
        [data.tracks[track]],
        closed_to_gaps=pd.concat(flanks),
    )


def _write_signal(
    data: AccessibleGenome,
    genome: Genome,
    config: ExamplesConfig,
    out: Path,
    provenance: dict,
) -> RegionStore:
    chromosomes = list(region_splits.by_region(_places(data), genome))
    spans = _signal_spans(data, chromosomes, config)
    tokenizer = KmerTokenizer(config.vocabulary)

    def chunks() -> Iterator[RegionChunk]:
        for first in range(0, len(spans), CHUNK):
            yield read_chunk(
                spans.take(slice(first, first + CHUNK)),
                genome,
                chromosomes,
                tokenizer,
                num_tokens=config.num_tokens,
                version="v1",
                seed=(config.seed, first),
            )

    return write_region_store(
        out,
        chunks(),
        num_tokens=config.num_tokens,
        chromosomes=chromosomes,
        samples=["mean of all tracks"],
        config=configs.to_json(config),
        provenance=provenance,
        overwrite=True,
    )


def _signal_spans(
    data: AccessibleGenome, chromosomes: Sequence[str], config: ExamplesConfig
) -> SpanTable:
    """Lists of windows at random places of one region, the same number for each."""
    rng = np.random.default_rng((config.seed, 1))
    regions, number = data.regions, len(data.regions)
    group = np.arange(config.signal_lists) % number
    measured = data.signal.shape[1] * data.bin_bp
    shape = (config.signal_lists, NUM_REGIONS)
    first = rng.integers(0, measured - config.window_bp + 1, shape)
    start = regions["target_start"].to_numpy()[group]
    low = start[:, None] + first
    index = np.array([chromosomes.index(chrom) for chrom in regions["chrom"]])
    split = np.array([SPLITS.index(name) for name in regions["split"]])
    return SpanTable(
        intervals=np.stack([low, low + config.window_bp], axis=-1),
        values=_mean_signal(data, group, first, config.window_bp),
        chrom_index=index[group].astype(np.int16),
        start=start,
        sample_index=np.zeros(len(group), np.int16),
        offset=np.zeros(len(group), np.int32),
        group=group.astype(np.int32),
        split=split[group].astype(np.uint8),
    )


def _mean_signal(
    data: AccessibleGenome,
    group: Int64[np.ndarray, " lists"],
    first: Int64[np.ndarray, "lists windows"],
    window_bp: int,
) -> Float[np.ndarray, "lists windows"]:
    """Mean over a window of the tracks, each by its own 95th percentile, as log1p."""
    flat = data.signal.reshape(-1, data.signal.shape[-1])
    level = np.log1p(data.signal / np.percentile(flat, 95, axis=0)).mean(-1)
    # Sums up to each base: windows need not begin where a bin does.
    edges = np.arange(level.shape[1] + 1) * data.bin_bp
    sums = np.pad(np.cumsum(level, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    values = np.empty(first.shape, np.float32)
    for region in range(len(sums)):
        rows = group == region
        low = np.interp(first[rows], edges, sums[region])
        high = np.interp(first[rows] + window_bp, edges, sums[region])
        values[rows] = (high - low) * data.bin_bp / window_bp
    return values


def _places(data: AccessibleGenome) -> pd.DataFrame:
    return data.regions[["chrom", "start", "end", "split"]]

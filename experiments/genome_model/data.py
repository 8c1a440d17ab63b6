"""The spans of a ranking study: made from public tracks, or prepared before."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32, Integer

from experiments.genome_model import examples
from experiments.genome_model.examples import ExamplesConfig
from scmultimodal import datasets
from scmultimodal.data.region_store import RegionStore
from scmultimodal.evaluation import kmer_ranker, ranking
from scmultimodal.genome.composition import FEATURES
from scmultimodal.weights.genome_model import StoredGenomeModel
from scmultimodal.workflows import genome_inference, provenance

PeakSet = Literal["near", "wide"]
"""Two peaks and a gap within 3 kb, or within 65 kb."""

RIDGE = "ridge on 5-mers"
AT_ONCE = 20_000
"""Spans whose 5-mers are in memory together; a ridge is fitted on no more."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which spans.

    Attributes:
        spans: a folder that `scmultimodal prepare-ranking` wrote, which holds no signal
            to train on before; None makes them from DNase over 65 regions.
        make: how tracks become examples.
    """

    spans: Path | None = None
    make: ExamplesConfig = dataclasses.field(default_factory=ExamplesConfig)

    @property
    def name(self) -> str:
        """For titles."""
        return "DNase over 65 regions" if self.spans is None else self.spans.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loaded:
    """Spans to rank, and what there is to train on before.

    Attributes:
        spans: name -> spans of one kind.
        signal: lists of windows at random places; None where they are not asked for.
    """

    spans: dict[str, RegionStore]
    signal: RegionStore | None


def load(
    config: DataConfig,
    out: Path,
    *,
    peaks: Sequence[PeakSet],
    with_signal: bool,
) -> Loaded:
    """Opens the spans of a study, or makes those of `peaks` below `out`."""
    if config.spans is not None:
        return Loaded(spans={"given": RegionStore.open(config.spans)}, signal=None)
    tracks = datasets.dnase_regions()
    spans = {
        which: examples.prepare(tracks, which, config.make, out / which)
        for which in peaks
    }
    signal = None
    if with_signal:
        signal = examples.prepare(tracks, "signal", config.make, out / "signal")
    return Loaded(spans=spans, signal=signal)


def load_start(path: Path | None) -> StoredGenomeModel | None:
    """A model to start from: a folder of ours, or a published one."""
    return None if path is None else genome_inference.open_any(path)


def identity(config: DataConfig, start: StoredGenomeModel | None) -> dict[str, Any]:
    """What stands behind the paths that a run is given: a resume wants the same."""
    found = provenance.of_start(start)
    if config.spans is not None:
        found["spans_files"] = RegionStore.open(config.spans).manifest["files"]
    return found


def baselines(
    store: RegionStore,
    *,
    fit_on: Integer[np.ndarray, " rows"],
    score_on: Integer[np.ndarray, " scored"],
) -> dict[str, Float[np.ndarray, "scored 3"]]:
    """What ranks without a network: one feature each, and ridge on 5-mers."""
    features = ranking.one_feature_rankers(
        store.features, store.values, FEATURES, fit_on=fit_on
    )
    found = {name: scores[score_on] for name, scores in features.items()}
    # Thinned evenly: a ridge on 512 frequencies gains nothing by more.
    fit_on = fit_on[:: -(-len(fit_on) // AT_ONCE)]
    ridge = kmer_ranker.fit_ridge(
        frequencies(store, fit_on), store.values[fit_on], store.group[fit_on]
    )
    parts = np.array_split(score_on, len(score_on) // AT_ONCE + 1)
    found[RIDGE] = np.concatenate(
        [kmer_ranker.ridge_scores(ridge, frequencies(store, rows)) for rows in parts]
    )
    return found


def frequencies(
    store: RegionStore, rows: Integer[np.ndarray, " rows"]
) -> Float32[np.ndarray, "rows 3 kmers"]:
    """Strandless 5-mer frequencies of regions."""
    different, where = store.sequences(rows)
    letters = [store.tokenizer.decode(tokens) for tokens in different]
    return kmer_ranker.strandless_frequencies(letters)[where]

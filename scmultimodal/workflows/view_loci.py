"""Stretches of a genome for a run's page: what its model says, and what is known."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Integer

from scmultimodal.data.element_store import ElementStore
from scmultimodal.data.region_loading import RegionBatchBuilder
from scmultimodal.data.region_store import RegionStore
from scmultimodal.evaluation.view.content import Locus, Track
from scmultimodal.genome.elements import ELEMENTS
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import genome_model
from scmultimodal.workflows import (
    genome_inference,
    ranking,
    segment_genome,
    segmentation_inference,
    tracks,
    view_data,
)
from scmultimodal.workflows.stages import stage

MOST_BASES = 1_000_000
"""Of a page whose tracks are read."""
MOST_SEGMENTED = 150_000
"""Of one whose tracks are computed: a minute or two on two CPU cores."""
MOST_RANKED = 20
"""Stretches of ranked regions."""
RANKED_BASES = 150_000
"""Of each of them: a group is a whole chromosome where chromosomes are split."""
MOST_SAMPLES = 10
UNKNOWN = 2
"""Where a label is not known."""


def of_segments(folder: Path, content: Mapping[str, Any]) -> list[Locus]:
    """What `segment` wrote of the regions that it drew.

    Args:
        folder: that it wrote.
        content: of its `segments.json`.

    Raises:
        InputError: it drew none, or a track is missing or damaged.
    """
    drawn = content.get("drawn")
    if not drawn:
        problem = "names no region that was drawn"
        remedy = "Run segment again, with --figures 1 or more"
        raise InputError(folder / segment_genome.REPORT, problem, remedy)
    places = list(first_places((d["chrom"], d["start"], d["end"]) for d in drawn))
    names = list(content["elements"])
    values = {
        name: tracks.read(folder, name, content["format"], places) for name in names
    }
    return [
        Locus(
            chrom=chrom,
            start=start,
            end=end,
            tracks=[Track(name=name, values=values[name][number]) for name in names],
            genes=drawn[number]["genes"],
            note="Probability of each element at every base: the mean of a column, and "
            "its highest value in a lighter shade.",
        )
        for number, (chrom, start, end) in enumerate(places)
    ]


def first_places(
    places: Iterable[tuple[str, int, int]], most: int = MOST_BASES
) -> Iterator[tuple[str, int, int]]:
    """The first places, as many as have so many bases; the last may be cut."""
    for chrom, start, end in places:
        if not most:
            return
        end = min(end, start + most)
        most -= end - start
        yield chrom, start, end


def of_segmentation(path: Path, config: Mapping[str, Any]) -> list[Locus]:
    """Test stretches of a segmentation run: its model's tracks over what is annotated.

    Args:
        path: the run folder.
        config: its settings.

    Raises:
        InputError: the labels or the model are not there, or damaged.
    """
    given = config.get("labels", {}).get("elements")
    store = ElementStore.open(view_data.find([path / "labels" / "elements", given]))
    model = genome_inference.on_device(genome_model.load(path))
    segmenter = genome_inference.require_segmenter(model)
    territories = [store.territories[n] for n in store.split("test")]
    places = first_places(
        ((t.chrom, t.start, t.end) for t in territories), MOST_SEGMENTED
    )
    offsets = store.offsets[store.split("test")]
    found = []
    with stage("segment"):
        for (chrom, start, end), territory, offset in zip(
            places, territories, offsets, strict=False
        ):
            bases = slice(int(offset), int(offset) + end - start)
            said = segmentation_inference.segment(model, np.array(store.letters[bases]))
            labels = np.asarray(store.labels[bases])
            shown = [
                Track(
                    name=name,
                    values=said[:, segmenter.elements.index(name)],
                    truth=_truth(labels, territory.known, ELEMENTS.index(name)),
                )
                for name in segmenter.learned
            ]
            found.append(
                Locus(
                    chrom=chrom,
                    start=start,
                    end=end,
                    tracks=shown,
                    note="Test bases. Probability of each element; the strip below a "
                    "track is what is annotated, a thin line where nothing is known.",
                )
            )
    return found


def _truth(labels: np.ndarray, known: int, element: int) -> np.ndarray:
    if not known >> element & 1:
        return np.full(len(labels), UNKNOWN, np.uint8)
    return (labels >> element & 1).astype(np.uint8)


def of_ranking(path: Path, config: Mapping[str, Any]) -> list[Locus]:
    """Test spans of a ranking run along the genome: measured values over scores.

    Args:
        path: the run folder.
        config: its settings.

    Raises:
        InputError: the spans or the model are not there, or damaged.
    """
    given = config.get("data", {}).get("spans")
    kind = config.get("examples", "wide")
    store = RegionStore.open(view_data.find([path / "data" / kind, given]))
    model = genome_model.load(path)
    rows = store.split("test")
    builder = RegionBatchBuilder(store, store.tokenizer, model.config.turning)
    with stage("score"):
        scores = ranking.scores(model, builder, rows)
    told = {"measured": store.values[rows], "score": scores}
    groups = itertools.islice(np.unique(store.group[rows]), MOST_RANKED)
    return [_ranked(store, rows, told, store.group[rows] == g) for g in groups]


def _ranked(
    store: RegionStore,
    rows: Integer[np.ndarray, " spans"],
    told: Mapping[str, Float32[np.ndarray, "spans regions"]],
    chosen: Bool[np.ndarray, " spans"],
) -> Locus:
    """Spans of a group: by sample, the mean of what is told of the regions."""
    first = store.intervals[rows].min(axis=(1, 2))
    start = _fullest(first[chosen])
    chosen = chosen & (first >= start) & (first < start + RANKED_BASES)
    spans = store.spans.take(rows[chosen])
    end = min(int(spans.intervals.max()), start + RANKED_BASES)
    shown = [
        Track(
            name=f"{name}, {store.samples[sample]}",
            values=_painted(
                spans.intervals[spans.sample_index == sample].reshape(-1, 2) - start,
                values[chosen][spans.sample_index == sample].ravel(),
                end - start,
            ),
            ends=(float(values.min()), float(values.max())),
        )
        for sample in np.unique(spans.sample_index)[:MOST_SAMPLES]
        for name, values in told.items()
    ]
    return Locus(
        chrom=store.chromosomes[int(spans.chrom_index[0])],
        start=start,
        end=end,
        tracks=shown,
        note="Regions of test spans: how open they were measured to be, and how the "
        "model scores them, from the lowest of all to the highest. Gaps: in no span. "
        f"Of a long group, the {RANKED_BASES:,} bp in which most spans begin.",
    )


def _fullest(places: Integer[np.ndarray, " spans"]) -> int:
    """Where the stretch that holds most of some places begins."""
    places = np.sort(places)
    held = np.searchsorted(places, places + RANKED_BASES) - np.arange(len(places))
    return int(places[held.argmax()])


def _painted(
    intervals: Integer[np.ndarray, "regions 2"],
    values: Float32[np.ndarray, " regions"],
    length: int,
) -> Float32[np.ndarray, " bases"]:
    """Mean at each base of the regions that hold it; NaN where none does."""
    sums, counts = np.zeros(length), np.zeros(length)
    for (low, high), value in zip(intervals, values, strict=True):
        sums[low:high] += value
        counts[low:high] += 1
    means = sums / np.where(counts > 0, counts, np.nan)
    return means.astype(np.float32)

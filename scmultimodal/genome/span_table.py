"""The spans of a chromosome, over all samples and shifts (SPEC 3.1.3 to 3.1.6)."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Float32, Int, Int16, Int32, Int64, UInt8

from scmultimodal.genome import spans
from scmultimodal.genome.region_choice import Chosen, Draws, choose
from scmultimodal.genome.region_splits import Territories
from scmultimodal.genome.regions import RegionTable
from scmultimodal.genome.spans import Pieces, SpanConfig

DROPPED = ("gap_too_short", "windows_overlap", "used_before")
"""Why a span with two open regions may be left out."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SpanTable:
    """Spans with three regions each, in an order that tells nothing.

    Attributes:
        intervals: start and end of each region, bp.
        values: of the regions; one of them is 0.
        chrom_index: number of the chromosome.
        start: where the span begins, bp.
        sample_index: number of the sample.
        offset: by how much the first span of this shift lies off 0, bp.
        group: what a fold or split keeps together: number of the chromosome or region.
        split: position in `region_splits.SPLITS`.
    """

    intervals: Int64[np.ndarray, "spans 3 2"]
    values: Float32[np.ndarray, "spans 3"]
    chrom_index: Int16[np.ndarray, " spans"]
    start: Int64[np.ndarray, " spans"]
    sample_index: Int16[np.ndarray, " spans"]
    offset: Int32[np.ndarray, " spans"]
    group: Int32[np.ndarray, " spans"]
    split: UInt8[np.ndarray, " spans"]

    def __len__(self) -> int:
        return len(self.start)

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        fields = dataclasses.fields(self)
        return {field.name: getattr(self, field.name) for field in fields}

    def take(self, rows: np.ndarray | slice) -> "SpanTable":
        """The spans that a mask, a slice or row numbers name."""
        return SpanTable(**{name: a[rows] for name, a in self.columns().items()})

    @classmethod
    def join(cls, tables: Iterable["SpanTable"]) -> "SpanTable":
        """All spans of several tables, in order; at least one table."""
        columns = [table.columns() for table in tables]
        return cls(**{n: np.concatenate([c[n] for c in columns]) for n in columns[0]})


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """The regions of one table on one chromosome.

    Attributes:
        start: of the regions, increasing; bp.
        end: of the regions.
        summit: of the regions; what windows of fixed length are centred on.
        values: of the regions.
        closed: start and end of intervals that no zero region may touch beside them.
        samples: names.
        first_sample: number of the first of them.
        lengths: mean and standard deviation of region lengths over the whole table.
    """

    start: Int64[np.ndarray, " regions"]
    end: Int64[np.ndarray, " regions"]
    summit: Int64[np.ndarray, " regions"]
    values: Float[np.ndarray, "regions samples"]
    closed: Int64[np.ndarray, "others 2"]
    samples: tuple[str, ...]
    first_sample: int
    lengths: tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Chromosome:
    """All that the spans of one chromosome depend on.

    Attributes:
        name: of the chromosome.
        index: its number.
        territories: where spans may lie.
        layers: regions, one layer per table.
        config: numbers.
    """

    name: str
    index: int
    territories: Territories
    layers: tuple[Layer, ...]
    config: SpanConfig


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ChromosomeSpans:
    """What a chromosome came to.

    Attributes:
        table: its spans by position, then sample: one walk along the sequence.
        dropped: spans of each sample left out for each of the reasons in `DROPPED`.
    """

    table: SpanTable
    dropped: Int64[np.ndarray, "samples 3"]


def layers(tables: Sequence[RegionTable], chrom: str) -> tuple[Layer, ...]:
    """The part of each table that lies on a chromosome."""
    result, first = [], 0
    for table in tables:
        rows = np.flatnonzero(table.regions["chrom"] == chrom)
        place = table.regions[["start", "end", "summit"]].to_numpy(np.int64)[rows]
        others = table.closed_to_gaps
        closed = others.loc[others["chrom"] == chrom, ["start", "end"]]
        result.append(
            Layer(
                start=place[:, 0],
                end=place[:, 1],
                summit=place[:, 2],
                values=table.values[rows],
                closed=closed.to_numpy(np.int64).reshape(-1, 2),
                samples=table.samples,
                first_sample=first,
                lengths=table.lengths(),
            )
        )
        first += len(table.samples)
    return tuple(result)


def find_spans(chromosome: Chromosome) -> ChromosomeSpans:
    """Chooses the spans of a chromosome, the same for the same input and seed."""
    config = chromosome.config
    used = Used() if config.version == "v2" else None
    num_samples = sum(len(layer.samples) for layer in chromosome.layers)
    dropped = np.zeros((num_samples, len(DROPPED)), np.int64)
    found = [_as_table(chromosome, 0, 0, _nothing())]
    for number, layer in enumerate(chromosome.layers):
        high = int(chromosome.territories.end.max(initial=1))
        free = spans.gaps(*_occupied(layer, config), low=0, high=high)
        cuts = [Cut.of(layer, free, chromosome, o) for o in config.offsets]
        for column, name in enumerate(layer.samples):
            sample = layer.first_sample + column
            for here in cuts:
                key = chromosome.name, number, name, here.offset
                draws = Draws(config.seed, *key)
                chosen = here.choose(layer, column, config, draws)
                fresh = np.ones(len(chosen.window), bool)
                if used is not None:
                    fresh = ~used.touched_by(chosen.intervals)
                    used.add(chosen.intervals[fresh])
                reasons = chosen.gap_too_short, chosen.windows_overlap, (~fresh).sum()
                dropped[sample] += reasons
                table = _as_table(chromosome, sample, here.offset, chosen)
                shuffled = np.argsort(draws.uniform(len(table), 3), axis=1)
                found.append(_ordered(table, shuffled).take(fresh))
    table = SpanTable.join(found)
    table = table.take(np.argsort(table.start, kind="stable"))
    return ChromosomeSpans(table=table, dropped=dropped)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """A layer cut at one offset: what serves every sample alike."""

    offset: int
    pieces: Pieces
    share: Float[np.ndarray, " pieces"]
    windows: Int64[np.ndarray, " windows"]
    gap: Int64[np.ndarray, "windows 2"]

    @classmethod
    def of(
        cls,
        layer: Layer,
        free: tuple[np.ndarray, np.ndarray],
        chromosome: Chromosome,
        offset: int,
    ) -> "Cut":
        """Cuts the regions, and finds the longest of the gaps in each window."""
        config, territories = chromosome.config, chromosome.territories
        pieces, share = _pieces(layer, config, offset)
        low = offset + pieces.window * config.span_bp
        keep = territories.cover(low, low + config.span_bp)
        pieces, share = pieces.where(keep), share[keep]
        windows = np.unique(pieces.window)
        gap = spans.cut(*free, offset=offset, span_bp=config.span_bp)
        return cls(
            offset=offset,
            pieces=pieces,
            share=share,
            windows=windows,
            gap=spans.longest(gap, windows),
        )

    def choose(
        self, layer: Layer, column: int, config: SpanConfig, draws: Draws
    ) -> Chosen:
        """Draws the regions of one sample's spans."""
        values = layer.values[:, column]
        pieces, value = self.pieces, values[self.pieces.source] * self.share
        if config.fixed_length is not None:
            # A window round a closed region may reach into an open one: not free.
            is_open = values > 0
            free = spans.free_of(pieces, layer.start[is_open], layer.end[is_open])
            keep = free | (value > 0)
            pieces, value = pieces.where(keep), value[keep]
        return choose(
            pieces,
            value,
            windows=self.windows,
            gap=self.gap,
            lengths=layer.lengths,
            config=config,
            draws=draws,
        )


class Used:
    """Intervals that have been used on a chromosome; disjoint."""

    def __init__(self):
        """Starts with none."""
        self._start = self._end = np.empty(0, np.int64)

    def touched_by(self, intervals: Int[np.ndarray, "spans 3 2"]) -> np.ndarray:
        """Which spans have a region that overlaps a used interval."""
        at = np.searchsorted(self._end, intervals[:, :, 0], side="right")
        next_start = np.append(self._start, np.iinfo(np.int64).max)[at]
        return (next_start < intervals[:, :, 1]).any(axis=1)

    def add(self, intervals: Int[np.ndarray, "spans 3 2"]) -> None:
        """Adds the regions of spans that overlap nothing used, nor each other."""
        # Disjoint: starts and ends have the same order.
        self._start = np.sort(np.r_[self._start, intervals[:, :, 0].ravel()])
        self._end = np.sort(np.r_[self._end, intervals[:, :, 1].ravel()])


def _pieces(
    layer: Layer, config: SpanConfig, offset: int
) -> tuple[Pieces, Float[np.ndarray, " pieces"]]:
    """What may be drawn, and the factor of its region's value."""
    place = {"offset": offset, "span_bp": config.span_bp}
    length = layer.end - layer.start
    if config.fixed_length is not None:
        pieces = spans.centred(layer.summit, length=config.fixed_length, **place)
        share = np.ones(len(pieces.source))
    else:
        pieces = spans.cut(layer.start, layer.end, **place)
        share = (pieces.end - pieces.start) / length[pieces.source]
    if config.density:
        share = 1_000 / length[pieces.source]
    return pieces, share


def _occupied(
    layer: Layer, config: SpanConfig
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """What no zero region may touch."""
    parts = [np.stack([layer.start, layer.end], axis=1), layer.closed]
    if (length := config.fixed_length) is not None:
        low = layer.summit - length // 2
        parts.append(np.stack([low, low + length], axis=1))
    start, end = np.concatenate(parts).T
    return spans.union(start, end)


def _as_table(
    chromosome: Chromosome, sample: int, offset: int, chosen: Chosen
) -> SpanTable:
    size, span_bp = len(chosen.window), chromosome.config.span_bp
    start = offset + chosen.window * span_bp
    where = chromosome.territories
    territory = where.around(start, start + span_bp)
    return SpanTable(
        intervals=chosen.intervals,
        values=chosen.values.astype(np.float32),
        chrom_index=np.full(size, chromosome.index, np.int16),
        start=start,
        sample_index=np.full(size, sample, np.int16),
        offset=np.full(size, offset, np.int32),
        group=where.group[territory].astype(np.int32),
        split=where.split[territory].astype(np.uint8),
    )


def _ordered(table: SpanTable, order: Int[np.ndarray, "spans 3"]) -> SpanTable:
    intervals = np.take_along_axis(table.intervals, order[:, :, None], axis=1)
    values = np.take_along_axis(table.values, order, axis=1)
    return dataclasses.replace(table, intervals=intervals, values=values)


def _nothing() -> Chosen:
    empty = np.empty(0, np.int64)
    return Chosen(empty, empty.reshape(0, 3, 2), empty.reshape(0, 3) * 1.0, 0, 0)

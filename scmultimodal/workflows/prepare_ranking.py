"""Regions with values and a genome in, spans to be ranked out (SPEC 3.1)."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from scmultimodal.data import manifest
from scmultimodal.data.region_chunks import RegionChunk, read_chunk
from scmultimodal.data.region_store import RegionStore, write_region_store
from scmultimodal.evaluation import region_report
from scmultimodal.genome import intervals, region_splits
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.genome.region_splits import ChromosomeSplit, Territories
from scmultimodal.genome.regions import RegionTable, place_names
from scmultimodal.genome.span_table import (
    DROPPED,
    Chromosome,
    ChromosomeSpans,
    SpanTable,
    find_spans,
    layers,
)
from scmultimodal.genome.spans import SpanConfig
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows.stages import stage

CHUNK = 1_024
"""Spans that are read at once. The random padding depends on it."""

Item, Result = TypeVar("Item"), TypeVar("Result")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareRankingConfig:
    """How regions with values become spans to be ranked.

    Attributes:
        spans: how the spans and their regions are chosen.
        split: the chromosomes of each part, where no regions are given for that.
        num_tokens: tokens of a region, CLS included.
        vocabulary: of the tokens: that of the published v1 or v2 models.
        outside: regions on these chromosomes whose sequence the genome lacks are
            refused, or dropped and counted.
        skip_empty: leaves out cell types without a span, and says so.
    """

    spans: SpanConfig = dataclasses.field(default_factory=SpanConfig)
    split: ChromosomeSplit = dataclasses.field(default_factory=ChromosomeSplit)
    num_tokens: int = 501
    vocabulary: Literal["v1", "v2"] = "v2"
    outside: Literal["refuse", "drop"] = "refuse"
    skip_empty: bool = False

    def __post_init__(self):
        """Raises InputError for values out of range."""
        if self.num_tokens < 2:
            problem = f"is {self.num_tokens}"
            raise InputError("num_tokens", problem, "CLS and a token make 2")


def run(
    tables: Sequence[RegionTable],
    genome: Genome,
    config: PrepareRankingConfig,
    out: Path,
    *,
    provenance: Mapping[str, Any],
    regions: pd.DataFrame | None = None,
    fasta: Path | None = None,
    workers: int = 1,
    overwrite: bool = False,
) -> RegionStore:
    """Chooses the spans, reads their sequences and writes both.

    The result depends on the input, the config and its seed alone: not on the number
    of workers. Memory holds the places of all spans, and the sequences of a few.

    Args:
        tables: regions with values; their samples are numbered through.
        genome: the sequence.
        config: numbers.
        out: folder to make.
        provenance: where the data come from; anything that JSON holds.
        regions: chrom, start, end, split: parts of the genome that take the place of
            `config.split`.
        fasta: the file of the genome, which every worker opens for itself.
        workers: processes; more than one needs `fasta`.
        overwrite: replaces prepared spans that stand at `out`.

    Raises:
        InputError: input that breaks a rule; nothing is written then.
    """
    manifest.check_target(out, overwrite, manifest.REGIONS)
    style = intervals.chromosome_style(genome.chromosomes, "genome")
    tables = [table.renamed(style) for table in tables]
    samples = _sample_names(tables)
    if regions is None:
        territories = region_splits.by_chromosome(config.split, genome)
        outside = _check_inside(tables, genome, config, style)
    else:
        territories = region_splits.by_region(regions, genome)
        outside = 0
    chromosomes = _chromosomes(tables, territories, config)
    with _pool(workers if fasta else 1) as pool:
        with stage("spans") as said:
            found = list(_ordered(pool, find_spans, chromosomes))
            empty = _empty(found, tables, samples, config)
            said.append(f"{sum(len(f.table) for f in found):,} spans")
            if empty:
                said.append(f"none of {', '.join(empty)}")
        with stage("sequences") as said:
            store = write_region_store(
                out,
                _chunks(found, list(territories), genome, config, fasta, pool),
                num_tokens=config.num_tokens,
                chromosomes=list(territories),
                samples=samples,
                config=configs.to_json(config),
                provenance=provenance,
                report=lambda written: (
                    _describe(written) | _choices(found, tables, outside, samples)
                ),
                overwrite=overwrite,
            )
            said.append(f"{store.tokens.nbytes / 1e6:,.0f} MB of tokens")
    return store


def check_figures() -> None:
    """Raises InputError where nothing can be drawn, before work is done for it."""
    from scmultimodal.evaluation.figures import regions  # noqa: F401


def draw(store: RegionStore, folder: Path) -> list[Path]:
    """Draws lengths, values, one-feature rankers and samples; returns the files."""
    from scmultimodal.evaluation.figures import regions as figures

    folder.mkdir(parents=True, exist_ok=True)
    report = store.manifest["report"]
    is_open, length = store.values > 0, store.features[:, :, 0]
    rows = {name: store.split(name) for name in report["splits"]}
    lengths = {
        name: (length[r][is_open[r]], length[r][~is_open[r]])
        for name, r in rows.items()
    }
    values = {name: store.values[r][is_open[r]] for name, r in rows.items()}
    return [
        figures.region_lengths(lengths, folder / "lengths.png"),
        figures.region_values(values, folder / "values.png"),
        figures.feature_rankers(report, folder / "one_feature.png"),
        figures.spans_per_sample(report, folder / "samples.png"),
    ]


def _sample_names(tables: Sequence[RegionTable]) -> list[str]:
    """Names over all tables; the table's stands before them where there are more."""
    if len(tables) == 1:
        return list(tables[0].samples)
    names = [f"{Path(t.source).name}:{name}" for t in tables for name in t.samples]
    if len(set(names)) < len(names):
        raise InputError("tables", "two have the same name", "Rename one of the files")
    return names


def _check_inside(
    tables: Sequence[RegionTable],
    genome: Genome,
    config: PrepareRankingConfig,
    style: intervals.ChromosomeStyle,
) -> int:
    """How many regions of the split's chromosomes the genome lacks.

    Raises:
        InputError: there are any, and they are not to be dropped.
    """
    named = pd.Series(config.split.all(), dtype=str)
    chroms = set(intervals.rename_chromosomes(named, style))
    lacking = 0
    for table in tables:
        regions = table.regions[table.regions["chrom"].isin(chroms)]
        rows = zip(regions["chrom"], regions["start"], regions["end"], strict=True)
        missing = np.array([not genome.covers(*row) for row in rows], bool)
        if missing.any() and config.outside == "refuse":
            raise _lacks(genome, table, regions[missing])
        lacking += int(missing.sum())
    return lacking


def _lacks(genome: Genome, table: RegionTable, missing: pd.DataFrame) -> InputError:
    """What the genome says to the first region that it lacks."""
    first = missing.iloc[0]
    try:
        genome.fetch(first["chrom"], int(first["start"]), int(first["end"]))
    except InputError as error:
        problem = (
            f"{error.problem}; so it is with {len(missing):,} regions of "
            f"{table.source}, {place_names(missing[:1])[0]} the first"
        )
        remedy = f"{error.remedy}; `--outside drop` leaves such regions out"
        return InputError(error.source, problem, remedy)
    raise AssertionError("the genome holds a region that it does not cover")


def _chromosomes(
    tables: Sequence[RegionTable],
    territories: Mapping[str, Territories],
    config: PrepareRankingConfig,
) -> list[Chromosome]:
    """The chromosomes of the split that hold a region, in the order of the genome.

    Raises:
        InputError: there is none.
    """
    on = {chrom for table in tables for chrom in table.regions["chrom"].unique()}
    if not on & set(territories):
        raise InputError(
            tables[0].source,
            f"has no region in any part of the split ({sorted(on)[:5]} against "
            f"{list(territories)[:5]})",
            "Give a split and a genome of the same species and assembly",
        )
    return [
        Chromosome(
            name=chrom,
            index=index,
            territories=territory,
            layers=layers(tables, chrom),
            config=config.spans,
        )
        for index, (chrom, territory) in enumerate(territories.items())
        if chrom in on
    ]


def _empty(
    found: Sequence[ChromosomeSpans],
    tables: Sequence[RegionTable],
    samples: Sequence[str],
    config: PrepareRankingConfig,
) -> list[str]:
    """Samples without a span, before any is left out for being used already.

    Raises:
        InputError: there are any, and they are not to be skipped; or all are.
    """
    made = sum(
        np.bincount(f.table.sample_index, minlength=len(samples))
        + f.dropped[:, DROPPED.index("used_before")]
        for f in found
    )
    is_open = np.concatenate([(t.values > 0).any(axis=0) for t in tables])
    empty = [name for name, count in zip(samples, made, strict=True) if not count]
    if not empty or (config.skip_empty and len(empty) < len(samples)):
        return empty
    closed = [name for name, any_ in zip(samples, is_open, strict=True) if not any_]
    source = ", ".join(dict.fromkeys(t.source for t in tables))
    if closed:
        problem = f"{closed[0]!r} has no open region at all ({len(closed)} such)"
    else:
        problem = f"{empty[0]!r} has no span ({len(empty)} of {len(samples)} such)"
    raise InputError(
        source,
        f"{problem}: a span needs two open regions and a closed one or a gap",
        "Take larger cell types or more peaks"
        + ("" if len(empty) == len(samples) else "; `--skip-empty` leaves them out"),
    )


def _chunks(
    found: Sequence[ChromosomeSpans],
    chromosomes: Sequence[str],
    genome: Genome,
    config: PrepareRankingConfig,
    fasta: Path | None,
    pool: concurrent.futures.Executor | None,
) -> Iterator[RegionChunk]:
    """Reads all spans, chunk by chunk, in order."""
    parts = (
        (
            spans.table.take(slice(first, first + CHUNK)),
            (config.spans.seed, where, first),
        )
        for where, spans in enumerate(found)
        for first in range(0, len(spans.table), CHUNK)
    )
    read = functools.partial(
        _read, fasta if pool else genome, tuple(chromosomes), config
    )
    return _ordered(pool, read, parts)


def _read(
    genome: Genome | Path,
    chromosomes: tuple[str, ...],
    config: PrepareRankingConfig,
    part: tuple[SpanTable, tuple[int, ...]],
) -> RegionChunk:
    spans, seed = part
    return read_chunk(
        spans,
        genome if isinstance(genome, Genome) else _open_once(genome),
        chromosomes,
        KmerTokenizer(config.vocabulary),
        num_tokens=config.num_tokens,
        version=config.spans.version,
        seed=seed,
    )


@functools.cache
def _open_once(fasta: Path) -> Genome:
    """The genome of a worker process."""
    return Genome.open(fasta)


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[concurrent.futures.Executor | None]:
    """Processes that start afresh: a forked one would share the open file."""
    if workers == 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _ordered(
    pool: concurrent.futures.ProcessPoolExecutor | None,
    function: Callable[[Item], Result],
    items: Iterable[Item],
) -> Iterator[Result]:
    """`map` that holds only a few results, however slowly they are taken."""
    if pool is None:
        yield from map(function, items)
        return
    waiting: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > 2 * pool._max_workers:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _describe(store: RegionStore) -> dict[str, Any]:
    return region_report.describe(
        values=store.values,
        features=store.features,
        cut=store.cut,
        split=store.spans.split,
        sample_index=store.spans.sample_index,
        samples=store.samples,
    )


def _choices(
    found: Sequence[ChromosomeSpans],
    tables: Sequence[RegionTable],
    outside: int,
    samples: Sequence[str],
) -> dict[str, Any]:
    """What was given and what was dropped."""
    dropped = sum(f.dropped for f in found)
    return {
        "tables": [
            {
                "source": table.source,
                "regions": len(table.regions),
                "mean_length_bp": table.lengths()[0],
                "sd_length_bp": table.lengths()[1],
                "open_regions": dict(
                    zip(table.samples, (table.values > 0).sum(0).tolist(), strict=True)
                ),
            }
            for table in tables
        ],
        "regions_without_sequence": outside,
        "spans_dropped": {
            sample: dict(zip(DROPPED, row, strict=True))
            for sample, row in zip(samples, dropped.tolist(), strict=True)
        },
    }

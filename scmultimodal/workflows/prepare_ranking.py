"""Regions with values and a genome in, spans to be ranked out (SPEC 3.1)."""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from scmultimodal.data import manifest
from scmultimodal.data.region_chunks import RegionChunk, read_chunk
from scmultimodal.data.region_store import RegionStore, write_region_store
from scmultimodal.evaluation import region_report
from scmultimodal.genome import intervals, region_splits
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.genome.region_splits import ChromosomeSplit, Territories
from scmultimodal.genome.regions import RegionTable
from scmultimodal.genome.span_table import (
    Chromosome,
    ChromosomeSpans,
    SpanTable,
    find_spans,
    layers,
)
from scmultimodal.genome.spans import SpanConfig
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import ranking_checks, ranking_counts, worker_pool
from scmultimodal.workflows.stages import stage

CHUNK = 1_024
"""Spans that are read at once. The random padding depends on it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareRankingConfig:
    """How regions with values become spans to be ranked.

    Attributes:
        spans: how the spans and their regions are chosen.
        split: the chromosomes of each part, where no regions are given for that.
        num_tokens: tokens of a region, CLS included.
        vocabulary: of the tokens: that of the published v1 or v2 models.
        k: letters of a token; more than 7 would not fit into the 16 bits of a token.
        outside: regions on these chromosomes, or those of the regions given, whose
            sequence the genome lacks in whole or in part are refused, or dropped and
            counted: nothing is computed of them, and nothing else drawn on them.
        skip_empty: leaves out cell types without a span, and says so.
    """

    spans: SpanConfig = dataclasses.field(default_factory=SpanConfig)
    split: ChromosomeSplit = dataclasses.field(default_factory=ChromosomeSplit)
    num_tokens: int = 501
    vocabulary: Literal["v1", "v2"] = "v2"
    k: int = 6
    outside: Literal["refuse", "drop"] = "refuse"
    skip_empty: bool = False

    def __post_init__(self):
        """Raises InputError for values out of range."""
        if self.num_tokens < 2:
            problem = f"is {self.num_tokens}"
            raise InputError("num_tokens", problem, "CLS and a token make 2")
        if not 2 <= self.k <= 7:
            raise InputError("k", f"is {self.k}", "Give 2 to 7")


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
    samples = ranking_checks.sample_names(tables)
    if regions is None:
        territories = region_splits.by_chromosome(config.split, genome)
        chroms = config.split.named(style)
    else:
        territories = region_splits.by_region(regions, genome)
        chroms = territories.keys()
    given = [len(table.regions) for table in tables]
    tables = _within_genome(tables, genome, chroms, config)
    within = [ranking_checks.within_split(table, territories) for table in tables]
    chromosomes = _chromosomes(tables, territories, config)
    with worker_pool.open_pool(workers if fasta else 1) as pool:
        with stage("spans") as said:
            found = list(worker_pool.ordered(pool, find_spans, chromosomes))
            empty = ranking_checks.empty_samples(
                found, tables, samples, within=within, skip=config.skip_empty
            )
            said += ranking_counts.say(found, sum(within), sum(given))
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
                    _describe(written)
                    | ranking_counts.choices(found, tables, given, within, samples)
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


def _within_genome(
    tables: Sequence[RegionTable],
    genome: Genome,
    chroms: Collection[str],
    config: PrepareRankingConfig,
) -> list[RegionTable]:
    """The regions with a sequence; says how many have none, or raises InputError."""
    refuse = config.outside == "refuse"
    kept = [
        ranking_checks.within_genome(table, genome, chroms, refuse=refuse)
        for table in tables
    ]
    pairs = zip(tables, kept, strict=True)
    if lacking := sum(len(old.regions) - len(new.regions) for old, new in pairs):
        print(f"{'':<26}{lacking:,} regions without a sequence are left out")
    return kept


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
    return worker_pool.ordered(pool, read, parts)


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
        KmerTokenizer(config.vocabulary, config.k),
        num_tokens=config.num_tokens,
        version=config.spans.version,
        seed=seed,
    )


@functools.cache
def _open_once(fasta: Path) -> Genome:
    """The genome of a worker process."""
    return Genome.open(fasta)


def _describe(store: RegionStore) -> dict[str, Any]:
    return region_report.describe(
        values=store.values,
        features=store.features,
        cut=store.cut,
        split=store.spans.split,
        sample_index=store.spans.sample_index,
        samples=store.samples,
    )

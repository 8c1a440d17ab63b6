"""Whether regions, genome and split fit together, and give every sample a span."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scmultimodal.genome import intervals
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.region_splits import Territories
from scmultimodal.genome.regions import RegionTable
from scmultimodal.genome.span_table import DROPPED, ChromosomeSpans
from scmultimodal.schemas.errors import InputError


def sample_names(tables: Sequence[RegionTable]) -> list[str]:
    """Names over all tables; the table's stands before them where there are more.

    Raises:
        InputError: two are the same.
    """
    if len(tables) == 1:
        return list(tables[0].samples)
    names = [f"{Path(t.source).name}:{name}" for t in tables for name in t.samples]
    if len(set(names)) < len(names):
        raise InputError("tables", "two have the same name", "Rename one of the files")
    return names


def within_genome(
    table: RegionTable, genome: Genome, chroms: Collection[str], *, refuse: bool
) -> RegionTable:
    """The regions whose sequence the genome holds whole.

    Args:
        table: regions, with chromosomes named as in the genome.
        genome: the sequence.
        chroms: the chromosomes that matter; regions on others stay.
        refuse: leaves none out.

    Raises:
        InputError: the genome lacks some and they are refused, or it lacks all.
    """
    regions = table.regions
    rows = zip(regions["chrom"], regions["start"], regions["end"], strict=True)
    held = np.array([r[0] not in chroms or genome.covers(*r) for r in rows], bool)
    if held.all():
        return table
    if refuse:
        raise _lacks(genome, table, regions[~held])
    if not held.any():
        raise InputError(
            table.source,
            f"has no region that the genome holds ({len(held):,} were given)",
            "Take the FASTA of the assembly that the regions are from",
        )
    return table.keep(held)


def within_split(table: RegionTable, territories: Mapping[str, Territories]) -> int:
    """How many regions lie, with a base at least, where spans may lie.

    Args:
        table: regions, with chromosomes named as the territories are.
        territories: of each chromosome.
    """
    reached = 0
    for chrom, regions in table.regions.groupby("chrom"):
        if chrom in territories:
            place = regions[["start", "end"]].to_numpy(np.int64).T
            reached += int(territories[str(chrom)].touch(*place).sum())
    return reached


def empty_samples(
    found: Sequence[ChromosomeSpans],
    tables: Sequence[RegionTable],
    samples: Sequence[str],
    *,
    within: Sequence[int],
    skip: bool,
) -> list[str]:
    """Samples without a span, before any is left out for being used already.

    Args:
        found: the spans of all chromosomes.
        tables: what they were made of.
        samples: names over all tables.
        within: regions of each table that lie where spans may lie.
        skip: takes such samples, unless all are.

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
    if not empty or (skip and len(empty) < len(samples)):
        return empty
    closed = [name for name, any_ in zip(samples, is_open, strict=True) if not any_]
    if closed:
        problem = f"{closed[0]!r} has no open region at all ({len(closed)} such)"
    else:
        problem = f"{empty[0]!r} has no span ({len(empty)} of {len(samples)} such)"
    regions = sum(len(table.regions) for table in tables)
    raise InputError(
        ", ".join(dict.fromkeys(t.source for t in tables)),
        f"{problem}; {sum(within):,} of {regions:,} regions lie within the genome and "
        "the split, and a span needs two open regions and a closed one or a gap",
        "Take larger cell types or more peaks, or more of their genome"
        + ("" if len(empty) == len(samples) else "; `--skip-empty` leaves them out"),
    )


def _lacks(genome: Genome, table: RegionTable, missing: pd.DataFrame) -> InputError:
    """What the genome says to the first region that it lacks."""
    first = missing.iloc[0]
    try:
        genome.fetch(first["chrom"], int(first["start"]), int(first["end"]))
    except InputError as error:
        problem = (
            f"{error.problem}; so it is with {len(missing):,} regions of "
            f"{table.source}, {intervals.place_names(missing[:1])[0]} the first"
        )
        remedy = f"{error.remedy}; `--outside drop` leaves such regions out"
        return InputError(error.source, problem, remedy)
    raise AssertionError("the genome holds a region that it does not cover")

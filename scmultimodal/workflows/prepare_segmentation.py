"""Elements and a genome in, labelled letters out (SPEC 3.4)."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from scmultimodal.data import element_store, manifest
from scmultimodal.data.element_store import ElementStore, Territory
from scmultimodal.genome import elements, intervals, region_splits
from scmultimodal.genome.elements import ElementRules, Painter
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.interval_tables import read_intervals
from scmultimodal.genome.region_splits import SPLITS, ChromosomeSplit
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows.element_inputs import Annotation
from scmultimodal.workflows.stages import stage


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareSegmentationConfig:
    """How annotation becomes labels.

    Attributes:
        rules: what the rules of elements leave open.
        split: the chromosomes of each part, where no regions are given for that.
    """

    rules: ElementRules = dataclasses.field(default_factory=ElementRules)
    split: ChromosomeSplit = dataclasses.field(default_factory=ChromosomeSplit)


def run(
    annotation: Annotation,
    genome: Genome,
    config: PrepareSegmentationConfig,
    out: Path,
    *,
    provenance: Mapping[str, Any],
    regions: pd.DataFrame | None = None,
    overwrite: bool = False,
) -> ElementStore:
    """Labels every base of the parts of a genome.

    Args:
        annotation: its elements.
        genome: the sequence.
        config: numbers.
        out: folder to make.
        provenance: where the data come from; anything that JSON holds.
        regions: chrom, start, end, split: parts of the genome that take the place of
            `config.split`. A column `elements` names, with commas between, those that
            are known in a region; without it, or where it is empty, all are. A column
            `group` numbers what belongs together; without it each is its own.
        overwrite: replaces what was prepared at `out` before.

    Raises:
        InputError: input that breaks a rule; nothing is written then.
    """
    manifest.check_target(out, overwrite, manifest.ELEMENTS)
    style = intervals.chromosome_style(genome.chromosomes, "genome")
    chrom = intervals.rename_chromosomes(annotation.table["chrom"], style)
    territories = _territories(annotation, genome, config, regions)
    places = annotation.table.assign(chrom=chrom)
    _check_within(places, genome)
    _check_covered(places, territories)
    painter = Painter(places)
    with stage("label") as said:
        store = element_store.write_element_store(
            out,
            territories,
            genome,
            painter,
            config=configs.to_json(config),
            provenance={**provenance, "places": annotation.counts()},
            overwrite=overwrite,
        )
        said.append(f"{len(store.letters):,} bp in {len(territories)} territories")
    return store


def _check_within(places: pd.DataFrame, genome: Genome) -> None:
    """Raises InputError where an element ends beyond a chromosome."""
    for chrom, size in genome.chromosomes.items():
        if not genome.is_whole(chrom):
            continue
        beyond = places[(places["chrom"] == chrom) & (places["end"] > size)]
        if len(beyond):
            (place,) = intervals.place_names(beyond.iloc[:1])
            raise InputError(
                "annotation",
                f"{beyond['element'].iloc[0]} {place} ends beyond the {size:,} bp of "
                f"{chrom}",
                "Give annotation and genome of one species and assembly",
            )


def _check_covered(places: pd.DataFrame, territories: Sequence[Territory]) -> None:
    """Raises InputError where annotation that is known would be nowhere.

    What a file does not cover is not known: to call it empty would teach that nothing
    is there.
    """
    on = {name: set(of["chrom"]) for name, of in places.groupby("element")}
    for territory in territories:
        for family in elements.FAMILIES:
            known = [n for n in elements.names(territory.known) if n in family]
            if known and not any(territory.chrom in on.get(n, ()) for n in known):
                covered = ", ".join(sorted(set(places["chrom"]))[:5])
                raise InputError(
                    "annotation",
                    f"tells of {known[0]}, but has none of {', '.join(known)} on "
                    f"{territory.chrom}: it is of {covered}",
                    "Give files of the same genome, leave the chromosome out of the "
                    "split, or name by --regions what is known where",
                )


def read_regions(path: Path) -> pd.DataFrame:
    """Regions with their split and, where the table has them, `elements` and `group`.

    Raises:
        InputError: see `region_splits.read_region_split`.
    """
    regions = region_splits.read_region_split(path)
    table = read_intervals(path)
    if "elements" in table:
        regions["elements"] = table["elements"]
    if "group" in table:
        regions["group"] = pd.factorize(table["group"])[0]
    return regions


def _territories(
    annotation: Annotation,
    genome: Genome,
    config: PrepareSegmentationConfig,
    regions: pd.DataFrame | None,
) -> list[Territory]:
    """The parts of the genome that are labelled, and what is known in each."""
    if regions is None:
        found = region_splits.by_chromosome(config.split, genome)
    else:
        found = region_splits.by_region(regions, genome)
    known = _known_in(annotation, regions)
    groups = None if regions is None else regions.get("group")
    return [
        Territory(
            chrom=chrom,
            start=int(start),
            end=int(end),
            group=int(row if groups is None else groups.iloc[row]),
            split=SPLITS[split],
            known=annotation.known if known is None else known[row],
        )
        for chrom, parts in found.items()
        for start, end, row, split in zip(*parts, strict=True)
    ]


def _known_in(annotation: Annotation, regions: pd.DataFrame | None) -> list[int] | None:
    """Bits of the elements that are known in each region; None where all are."""
    if regions is None or "elements" not in regions:
        return None
    known = []
    for place, named in zip(
        intervals.place_names(regions), regions["elements"].fillna(""), strict=True
    ):
        names = [name.strip() for name in named.split(",") if name.strip()]
        bits = elements.bits(names) if names else annotation.known
        if beyond := bits & ~annotation.known:
            raise InputError(
                f"regions, {place}",
                f"names {', '.join(elements.names(beyond))}, which no file tells",
                "Leave them out, or give the annotation that tells them",
            )
        known.append(bits)
    return known

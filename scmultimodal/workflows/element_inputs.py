"""Annotation in, elements out: what is read, and what it makes known (SPEC 3.4)."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scmultimodal.genome import elements, intervals, regulatory, transcripts
from scmultimodal.genome.elements import ELEMENTS, ElementRules
from scmultimodal.genome.interval_tables import (
    read_frame,
    read_intervals,
    read_places,
)
from scmultimodal.genome.regions import read_tracks
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows.stages import stage

_BIOTYPE = ("gene_type", "gene_biotype", "biotype")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelFiles:
    """Files that say where elements are; what none of them says is not known.

    Attributes:
        gtf: genes and their transcripts.
        genes: tables of gene bodies with a header: chrom, start, end and gene_type
            (or gene_biotype, biotype), where nothing tells their exons.
        polya: polyA signals.
        regulatory: promoters, enhancers and CTCF sites.
        invariant: BED of what is open in every tissue: regulatory elements that touch
            it are tissue-invariant.
        open_in: open regions: one narrowPeak (or BED) per sample, or tables with a
            column per sample. Without `invariant`, elements that are open in
            `ElementRules.invariant_share` of the samples are tissue-invariant.
    """

    gtf: tuple[Path, ...] = ()
    genes: tuple[Path, ...] = ()
    polya: tuple[Path, ...] = ()
    regulatory: tuple[Path, ...] = ()
    invariant: Path | None = None
    open_in: tuple[Path, ...] = ()

    def __post_init__(self):
        if not (self.gtf or self.genes or self.polya or self.regulatory):
            raise InputError(
                "prepare-segmentation",
                "no annotation was given",
                "Give --gtf, --genes, --polya or --regulatory",
            )
        if self.invariant and self.open_in:
            raise InputError(
                "prepare-segmentation",
                "--invariant and --open-in both say what is tissue-invariant",
                "Give one of them",
            )
        if (self.invariant or self.open_in) and not self.regulatory:
            raise InputError(
                "prepare-segmentation",
                "nothing is there to split into tissue-invariant and -specific",
                "Give --regulatory too",
            )

    def all(self) -> tuple[Path, ...]:
        """Every file."""
        invariant = () if self.invariant is None else (self.invariant,)
        of_regulation = (*self.regulatory, *invariant, *self.open_in)
        return (*self.gtf, *self.genes, *self.polya, *of_regulation)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Annotation:
    """Elements of a genome.

    Attributes:
        table: chrom, start, end, element.
        known: bits of the elements that the files tell; of others nobody knows where
            they are, which is not the same as that they are nowhere.
    """

    table: pd.DataFrame
    known: int

    def counts(self) -> dict[str, Any]:
        """Places of every element; JSON."""
        found = self.table["element"].value_counts()
        return {name: int(found.get(name, 0)) for name in elements.names(self.known)}


def read(files: LabelFiles, rules: ElementRules) -> Annotation:
    """Reads all files.

    Raises:
        InputError: a file is missing, damaged, or not what it is given for.
    """
    parts, known = [], 0
    for path in files.gtf:
        with stage("read") as said:
            found = elements.of_transcripts(transcripts.read_transcripts(path), rules)
            said += [path.name, f"{len(found):,} places"]
        parts.append(found)
        known |= elements.bits(elements.OF_GENES)
    for path in files.genes:
        with stage("read") as said:
            found = elements.of_gene_bodies(_gene_bodies(path))
            said += [path.name, f"{len(found):,} places"]
        parts.append(found)
        known |= elements.bits(elements.OF_GENE_BODIES)
    for path in files.polya:
        with stage("read") as said:
            signals = regulatory.read_polya(path)
            said += [path.name, f"{len(signals):,} signals"]
        parts.append(signals.assign(element="polyA_signal"))
        known |= elements.bits(["polyA_signal"])
    if files.regulatory:
        with stage("read") as said:
            found, names = _regulation(files, rules)
            said += [p.name for p in files.regulatory]
            said.append(f"{len(found):,} places")
        parts.append(found)
        known |= elements.bits(names)
    return Annotation(table=pd.concat(parts, ignore_index=True), known=known)


def _gene_bodies(path: Path) -> pd.DataFrame:
    """chrom, start, end, biotype."""
    table = read_intervals(path)
    column = next((name for name in _BIOTYPE if name in table), None)
    if column is None:
        problem = f"has no column {' or '.join(_BIOTYPE)}, but {list(table.columns)}"
        raise InputError(path, problem, "Name the biotypes of the genes in one")
    return table.rename(columns={column: "biotype"})


def _regulation(
    files: LabelFiles, rules: ElementRules
) -> tuple[pd.DataFrame, list[str]]:
    """Regulatory elements, and the names of those that are known."""
    tables = [regulatory.read_regulatory(path) for path in files.regulatory]
    table = _ucsc(pd.concat(tables, ignore_index=True))
    invariant = None
    if files.invariant is not None:
        invariant = elements.touches(table, _ucsc(read_places(files.invariant)))
    elif files.open_in:
        samples = [_ucsc(s) for path in files.open_in for s in _open_regions(path)]
        invariant = elements.open_in(table, samples, rules.invariant_share)
    kinds = set(table["kind"])
    names = ["CTCF-bound"] if "CTCF" in kinds else []
    if invariant is not None:
        names += [
            name for name in ELEMENTS if name.partition("_Tissue")[0] in kinds & _SPLIT
        ]
    if not names:
        raise InputError(
            files.regulatory[0],
            "tells no element: promoters and enhancers are tissue-invariant or "
            "-specific, and nothing says which",
            "Give --invariant, or --open-in with open regions of several samples",
        )
    return elements.of_regulation(table, invariant=invariant), names


_SPLIT = {"promoter", "enhancer"}


def _ucsc(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with chromosomes named chr1: files may name them differently."""
    return frame.assign(chrom=intervals.rename_chromosomes(frame["chrom"], "chr"))


def _open_regions(path: Path) -> list[pd.DataFrame]:
    """The open regions of every sample in a file.

    A file without a header is one sample, and each of its rows is open; columns of a
    table are samples, open where they are above zero.
    """
    if not read_frame(path).named:
        return [read_places(path)]
    tracks = read_tracks(path)
    return [
        tracks.regions[np.asarray(tracks.values)[:, sample] > 0]
        for sample in range(len(tracks.samples))
    ]

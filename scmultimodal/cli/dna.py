"""Commands of the genome model: `prepare-ranking`, `convert`, `encode-peaks`."""

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any, Literal, TypeVar

from scmultimodal.genome import region_splits
from scmultimodal.genome.region_splits import ChromosomeSplit
from scmultimodal.singlecell.fragments import CountChoice

Config = TypeVar("Config")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareRanking:
    """Make spans of DNA to be ranked, from open regions and a genome.

    Regions with one value per cell type come from single cells (--atac) or from a
    table (--tracks). ENCODE's narrowPeak and broadPeak are known by their names, or by
    their columns: signalValue is the value, and peak the summit. Every span of 3 kb
    gives two open regions and a closed one, as 6-mer tokens. Prints what was found, and
    what length, GC, CpG and N alone rank.

    Examples:
        scmultimodal prepare-ranking --atac my.h5ad --label cell_type \\
            --fasta hg38.fa.gz --out runs/ranking
        scmultimodal prepare-ranking --tracks dnase.tsv --fasta hg38.fa.gz \\
            --fixed-length 510 --out runs/ranking
    """

    fasta: Path
    """The genome: plain, bgzip, or gzip; records may be named chr1:100-200."""
    out: Path
    """Folder to make."""
    atac: tuple[Path, ...] = ()
    """Raw counts of cells by peaks: .h5ad, .h5mu, or an .h5 or a folder by Cell Ranger;
    one or more."""
    cells: tuple[Path, ...] = ()
    """Tables about cells, such as published cell types, whose columns join obs."""
    chain: Path | None = None
    """UCSC chain from the assembly of the peaks of --atac to that of the genome."""
    lift: tuple[Path, ...] = ()
    """Files of --atac that the chain is for; all if none is named."""
    label: str | None = None
    """Column of obs with the cell types or clusters."""
    batch: str | None = None
    """Column of obs with the samples; all cells are one sample if not given."""
    layer: str | None = None
    """Layer that holds the raw counts, where X does not."""
    counts: CountChoice = "auto"
    """What the counts count; "auto" reads it off their histogram."""
    min_cell_fraction: float = 0.01
    """Leave out peaks seen in a smaller share of the cells of every sample."""
    min_mean: float = 0.1
    """Take smaller mean fragment counts of a cell type for 0."""
    min_cells: int = 1
    """Leave out cell types with fewer cells."""
    tracks: tuple[Path, ...] = ()
    """Tables of chrom, start, end and a column per sample; narrowPeak; broadPeak."""
    regions: Path | None = None
    """Table of chrom, start, end and split, in place of a split by chromosome."""
    train: tuple[str, ...] = ChromosomeSplit().train
    """Chromosomes to train on."""
    validation: tuple[str, ...] = ChromosomeSplit().validation
    """Chromosomes to choose by."""
    test: tuple[str, ...] = ChromosomeSplit().test
    """Chromosomes to judge by. Those in no part are left out."""
    version: Literal["v1", "v2"] = "v2"
    """v1: padding at the end. v2: on both sides, and no region is used twice."""
    span_bp: int = 3_000
    """Length of a span."""
    shift_factor: int = 10
    """Cut the genome this often, each time a little further on."""
    min_gap_bp: int = 100
    """Shortest gap between peaks that may serve as the closed region."""
    fixed_length: int | None = None
    """Windows of this many bp around the summits (middles if not given)."""
    density: bool = False
    """Values per kb of region."""
    vocabulary: Literal["v1", "v2"] = "v2"
    """Of the tokens: that of the encoder, Nucleotide Transformer v1 or v2."""
    k: int = 6
    """Letters of a token, 2 to 7; 6 in all published encoders."""
    num_tokens: int = 501
    """Tokens of a region, CLS included."""
    outside: Literal["refuse", "drop"] = "refuse"
    """What to do with regions that the genome does not hold."""
    skip_empty: bool = False
    """Leave out cell types without a span."""
    figures: bool = True
    """Draw the report."""
    workers: int = 1
    """Processes; the result is the same."""
    overwrite: bool = False
    """Replace what was prepared at --out before."""
    seed: int = 0
    """Of every draw."""
    debug: bool = False
    """Show a traceback with an error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convert:
    """Turn a published Nucleotide Transformer into a model folder of ours.

    Every array must find its place, with its shape. A pickle among the published files
    is read and never executed. The weights keep their licence (CC BY-NC-SA).

    Examples:
        scmultimodal convert --model nt-v2-50m/ --out models/nt-v2-50m
        scmultimodal convert --model v2-50m-multi-species --out models/nt-v2-50m
    """

    model: str
    """Published folder; or a name to fetch, with the `hub` extra."""
    out: Path
    """Folder to make: safetensors and config.json."""
    overwrite: bool = False
    """Replace an older genome model that stands at --out."""
    debug: bool = False
    """Show a traceback with an error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodePeaks:
    """Give every peak of a dataset a vector of its DNA, which its token may know.

    The mean over the tokens of a window around the peak, by the encoder of a genome
    model. Pre-training by open peaks reads the file, from a clone: `python -m
    experiments.train cell_model.peaks --pretrain.peaks.dna FILE`. A peak that no
    training cell had open then has a token that says something all the same.

    Examples:
        scmultimodal encode-peaks --model models/nt-v2-50m --fasta mm10.fa.gz \\
            --data runs/prepared --out runs/dna.safetensors
    """

    model: Path
    """Run or model folder of a genome model, ours or as published."""
    fasta: Path
    """The genome that the peaks are of: plain, bgzip, or gzip."""
    data: Path
    """Prepared dataset that keeps its peaks (prepare --peak-tokens)."""
    out: Path
    """File to write: .safetensors."""
    window_bp: int = 510
    """Letters around the middle of a peak that are read."""
    batch_size: int = 16
    """Sequences computed at a time."""
    overwrite: bool = False
    """Replace the file that stands at --out."""
    debug: bool = False
    """Show a traceback with an error."""


def run_prepare_ranking(command: PrepareRanking) -> None:
    """`scmultimodal prepare-ranking`."""
    from scmultimodal.evaluation import region_report
    from scmultimodal.genome.fasta import Genome
    from scmultimodal.genome.spans import SpanConfig
    from scmultimodal.singlecell.pseudobulk import PseudobulkConfig
    from scmultimodal.workflows import prepare_ranking, provenance, ranking_inputs

    if command.figures:
        prepare_ranking.check_figures()
    config = pick(
        prepare_ranking.PrepareRankingConfig,
        command,
        spans=pick(SpanConfig, command),
        split=pick(ChromosomeSplit, command),
    )
    bulk = None if command.label is None else pick(PseudobulkConfig, command)
    tables, read = ranking_inputs.read(
        atac=command.atac,
        tracks=command.tracks,
        config=bulk,
        layer=command.layer,
        cells=command.cells,
        chain=command.chain,
        lifted=command.lift,
    )
    split = command.regions
    with Genome.open(command.fasta) as genome:
        files = [
            *(inner for path in command.atac for inner in provenance.files_of(path)),
            *(*command.tracks, *command.cells, command.chain, command.fasta, split),
        ]
        store = prepare_ranking.run(
            tables,
            genome,
            config,
            command.out,
            regions=None if split is None else region_splits.read_region_split(split),
            fasta=command.fasta,
            workers=command.workers,
            overwrite=command.overwrite,
            provenance={
                "command": shlex.join(["scmultimodal", *sys.argv[1:]]),
                "files": [provenance.of_file(f) for f in files if f],
                "cells": read,
                **provenance.of_code(),
            },
        )
    print(f"\n{region_report.format_table(store.manifest['report'])}\n")
    if command.figures:
        prepare_ranking.draw(store, command.out / "report")
        print(f"figures {command.out / 'report'}")
    print(f"spans   {command.out}")


def run_encode_peaks(command: EncodePeaks) -> None:
    """`scmultimodal encode-peaks`."""
    from scmultimodal.data.store import Store
    from scmultimodal.workflows import encode_peaks, genome_inference, peak_path

    found = encode_peaks.run(
        peak_path.peaks_of(Store.open(command.data)),
        genome_inference.open_any(command.model),
        command.fasta,
        command.out,
        window_bp=command.window_bp,
        batch_size=command.batch_size,
        overwrite=command.overwrite,
    )
    print(f"\n{found.format_table()}\nwritten {found.out}")


def run_convert(command: Convert) -> None:
    """`scmultimodal convert`."""
    from scmultimodal.models import GenomeModel
    from scmultimodal.weights import folder, genome_model

    folder.check_replaceable(
        command.out, genome_model.FORMAT, overwrite=command.overwrite
    )
    model = GenomeModel.from_nucleotide_transformer(command.model)
    model.save(command.out)
    encoder = model.config.encoder
    print(
        f"{encoder.num_layers} layers of {encoder.dim}, {model.config.k}-mers, "
        f"{model.num_parameters:,} parameters\nmodel {command.out}"
    )


def pick(config: type[Config], command: Any, **given: Any) -> Config:
    """A configuration from the options of a command that have its fields' names."""
    fields = {field.name for field in dataclasses.fields(config)}
    options = dataclasses.asdict(command)
    return config(**{n: v for n, v in options.items() if n in fields}, **given)

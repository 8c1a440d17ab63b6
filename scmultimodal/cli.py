"""The command line: `scmultimodal demo`, `finetune`, `prepare-ranking`, `convert`."""

import dataclasses
import inspect
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import tyro

from scmultimodal.genome import region_splits
from scmultimodal.genome.region_splits import ChromosomeSplit
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows import process

QUICK_CELLS = 2_000
Config = TypeVar("Config")
CountKind = Literal["auto", "reads", "fragments", "insertions"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo:
    """Train and judge the multimodal cell model on real paired RNA + ATAC.

    Mouse cortex (SNARE-seq, 10,309 cells): prepare, mixed pre-training, fine-tuning on
    RNA, ATAC and both, logistic regression beside it, report and exported model.

    Examples:
        scmultimodal demo
        scmultimodal demo --quick --simulated --out runs/try
    """

    out: Path = Path("runs/demo")
    """Folder for everything that the run writes."""
    quick: bool = False
    """A few minutes: fewer cells and steps. The figures mean little."""
    simulated: bool = False
    """Made-up cells instead of mouse cortex."""
    seed: int = 0
    """Of split, parameters and batches."""
    debug: bool = False
    """Show a traceback with an error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetune:
    """Fine-tune and judge cell-type models on your own counts.

    Without --model the training cells are pre-trained on first; without --modality all
    modalities of the file are judged. The test cells are opened once, at the end.

    Examples:
        scmultimodal finetune --data my.h5mu --label cell_type \\
            --genes genes.gtf.gz --out runs/mine
        scmultimodal finetune --data my.h5ad --label cell_type \\
            --genes genes.bed --out runs/mine \\
            --model runs/demo/pretrain --modality rna --frozen
    """

    data: Path
    """Raw counts: .h5mu, or .h5ad of one modality."""
    label: str
    """Column of obs with the cell types."""
    genes: Path
    """Gene annotation: GTF, BED or a table like them, gzipped or not."""
    out: Path
    """Folder for everything that the run writes."""
    model: Path | None = None
    """Run folder or exported model to start from."""
    modality: tyro.conf.EnumChoicesFromValues[Regime] | None = None
    """What the classifier sees; all that the file has if not given."""
    frozen: bool = False
    """Train the head alone."""
    counts: CountKind = "auto"
    """What the ATAC counts count; "auto" reads it off their histogram."""
    batch: str | None = None
    """Column of obs with the batches, for the pictures."""
    layer: str | None = None
    """Layer that holds the raw counts, where X does not."""
    preset: Literal["small", "study"] = "small"
    """Size of the model and length of the training."""
    from_scratch: bool = True
    """Also train each classifier without pre-training, as a control."""
    quick: bool = False
    """Fewer steps."""
    seed: int = 0
    """Of split, parameters and batches."""
    debug: bool = False
    """Show a traceback with an error."""


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
    """Raw counts of cells by peaks: .h5ad or .h5mu; one or more."""
    label: str | None = None
    """Column of obs with the cell types or clusters."""
    batch: str | None = None
    """Column of obs with the samples; all cells are one sample if not given."""
    layer: str | None = None
    """Layer that holds the raw counts, where X does not."""
    counts: CountKind = "auto"
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
    debug: bool = False
    """Show a traceback with an error."""


def _subcommand(command: type) -> Any:
    """Shows the docstring as it stands: tyro by itself would drop the examples."""
    text = inspect.cleandoc(command.__doc__ or "")
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", command.__name__).lower()
    return tyro.conf.subcommand(name, description=text)


Command = (
    Annotated[Demo, _subcommand(Demo)]
    | Annotated[Finetune, _subcommand(Finetune)]
    | Annotated[PrepareRanking, _subcommand(PrepareRanking)]
    | Annotated[Convert, _subcommand(Convert)]
)


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns a `schemas.status.Status`."""
    command = tyro.cli(
        Command,
        prog="scmultimodal",
        description="Foundation models for single-cell RNA and ATAC, and for DNA.",
        args=arguments,
    )
    return process.run(
        lambda: _RUNNERS[type(command)](command),
        name="scmultimodal",
        debug=command.debug,
    )


def run_demo(command: Demo) -> None:
    """`scmultimodal demo`."""
    data, genes, name, simulated = _demo_data(command)
    if command.quick:
        rng = np.random.default_rng(command.seed)
        chosen = rng.choice(data.n_obs, min(QUICK_CELLS, data.n_obs), replace=False)
        data = data[np.sort(chosen)].copy()
    _run(
        data,
        genes,
        command,
        name=name,
        label="cell_type",
        batch="batch",
        simulated=simulated,
    )


def run_finetune(command: Finetune) -> None:
    """`scmultimodal finetune`."""
    from scmultimodal import genome
    from scmultimodal.singlecell import readers
    from scmultimodal.weights import export

    model = None if command.model is None else export.load(command.model)
    genes = genome.read_genes(command.genes)
    data = readers.read(command.data, layer=command.layer)
    _run(
        data,
        genes,
        command,
        name=command.data.name,
        label=command.label,
        batch=command.batch,
        model=model,
        counts=command.counts,
        regimes=None if command.modality is None else (command.modality,),
        preset=command.preset,
        frozen=command.frozen,
        from_scratch=command.from_scratch,
    )


def run_prepare_ranking(command: PrepareRanking) -> None:
    """`scmultimodal prepare-ranking`."""
    from scmultimodal.evaluation import region_report
    from scmultimodal.genome.fasta import Genome
    from scmultimodal.genome.spans import SpanConfig
    from scmultimodal.singlecell.pseudobulk import PseudobulkConfig
    from scmultimodal.workflows import prepare_ranking, provenance, ranking_inputs

    if command.figures:
        prepare_ranking.check_figures()
    config = _pick(
        prepare_ranking.PrepareRankingConfig,
        command,
        spans=_pick(SpanConfig, command),
        split=_pick(ChromosomeSplit, command),
    )
    bulk = None if command.label is None else _pick(PseudobulkConfig, command)
    tables, read = ranking_inputs.read(
        atac=command.atac, tracks=command.tracks, config=bulk, layer=command.layer
    )
    split = command.regions
    with Genome.open(command.fasta) as genome:
        files = [*command.atac, *command.tracks, command.fasta, split]
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


def run_convert(command: Convert) -> None:
    """`scmultimodal convert`."""
    from scmultimodal.models import GenomeModel

    model = GenomeModel.from_nucleotide_transformer(command.model)
    model.save(command.out)
    encoder = model.config.encoder
    print(
        f"{encoder.num_layers} layers of {encoder.dim}, {model.config.k}-mers, "
        f"{model.num_parameters:,} parameters\nmodel {command.out}"
    )


def _pick(config: type[Config], command: Any, **given: Any) -> Config:
    """A configuration from the options of a command that have its fields' names."""
    fields = {field.name for field in dataclasses.fields(config)}
    options = dataclasses.asdict(command)
    return config(**{n: v for n, v in options.items() if n in fields}, **given)


def _run(
    data: Any,
    genes: Any,
    command: Demo | Finetune,
    *,
    name: str,
    label: str,
    batch: str | None,
    simulated: bool = False,
    model: Any = None,
    counts: CountKind = "auto",
    regimes: tuple[Regime, ...] | None = None,
    preset: Literal["small", "study"] = "small",
    frozen: bool = False,
    from_scratch: bool = True,
) -> None:
    from scmultimodal.evaluation import summary
    from scmultimodal.workflows import cell_types, presets

    numbers = presets.PRESETS[preset]
    if command.quick:
        numbers = presets.quick(numbers)
    config = presets.cell_types(
        numbers,
        label=label,
        batch=batch,
        counts=counts,
        regimes=regimes,
        frozen=frozen,
        from_scratch=from_scratch and not command.quick,
        seed=command.seed,
    )
    outcome = cell_types.run(
        data,
        genes,
        config,
        command.out,
        name=name,
        command=shlex.join(["scmultimodal", *sys.argv[1:]]),
        simulated=simulated,
        model=model,
    )
    print(f"\nTest cells of {name}{' (SIMULATED)' if simulated else ''}")
    print(summary.format_table(outcome.results))
    print(f"\nreport  {outcome.report}\nmodel   {command.out / 'model'}")
    print(f"summary {command.out / 'summary.json'}")


def _demo_data(command: Demo) -> tuple[Any, Any, str, bool]:
    """Mouse cortex, or simulated cells where it cannot be had: data, genes, name."""
    from scmultimodal import datasets

    if not command.simulated:
        try:
            cortex, genes = datasets.mouse_cortex(), datasets.mouse_cortex_genes()
            return cortex, genes, "mouse_cortex", False
        except datasets.DataUnavailableError as error:
            print(
                f"\n*** {error}\n*** SIMULATED cells are used instead. ***\n",
                file=sys.stderr,
            )
    simulated = datasets.simulate_multiome(num_cells=3_000, seed=command.seed)
    genes = datasets.simulated_genes(simulated)
    return simulated, genes, "simulated_multiome", True


_RUNNERS = {
    Demo: run_demo,
    Finetune: run_finetune,
    PrepareRanking: run_prepare_ranking,
    Convert: run_convert,
}


if __name__ == "__main__":
    sys.exit(main())

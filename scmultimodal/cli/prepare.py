"""The command `prepare`: files of counts to a prepared dataset."""

import contextlib
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Literal

import tyro

from scmultimodal.singlecell.binning import Strategy
from scmultimodal.singlecell.fragments import CountChoice
from scmultimodal.singlecell.recipe import MIN_FEATURE_FRACTION

Files = tyro.conf.UseAppendAction[tuple[Path, ...]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepare:
    """Make a prepared dataset of raw counts: genes aligned, binned and split.

    Any number of files, each a dataset of its own: .h5mu, .h5ad (CSR, CSC or dense),
    .h5 and mtx folders of Cell Ranger, tables of text, fragments.tsv.gz. Peaks become
    values of genes by distance. Memory does not grow with the number of cells. Medians
    come from the training cells alone. Cells of several datasets are named
    dataset:cell.

    Examples:
        scmultimodal prepare --multiome my.h5mu --label cell_type \\
            --genes genes.gtf.gz --out data/mine
        scmultimodal prepare --rna a.h5ad --rna b.h5 --atac c.h5ad \\
            --chain hg19ToHg38.over.chain.gz --lift c.h5ad \\
            --genes genes.gtf.gz --out data/three
        scmultimodal prepare --fragments fragments.tsv.gz --peaks peaks.bed \\
            --barcodes cells.tsv --genes genes.gtf.gz --out data/fragments
        scmultimodal prepare --rna filtered_matrices/ --cells types.tsv \\
            --label celltype --genes genes.gtf.gz --out data/typed
    """

    genes: Path
    """Gene annotation: GTF, BED or a table like them, gzipped or not."""
    out: Path
    """Folder to make."""
    multiome: Files = ()
    """Counts of RNA and ATAC: .h5mu, .h5, .h5ad or a folder; may be repeated."""
    rna: Files = ()
    """Counts of RNA alone, or of a file the RNA; may be repeated."""
    atac: Files = ()
    """Counts of peaks, or of a file the peaks; may be repeated."""
    fragments: Files = ()
    """fragments.tsv, gzipped or not; may be repeated."""
    peaks: Path | None = None
    """BED of peaks that fragments are counted in; without it tiles of the genome."""
    tile_bp: int = 500
    """Length of a tile."""
    barcodes: Path | None = None
    """List of the cells of fragments; without it those above the knee."""
    cells: Files = ()
    """Table about cells, such as published cell types, with a header: its columns join
    those of obs. One of them holds the cells' names; may be repeated."""
    vocabulary: str = "intersection"
    """Genes: "intersection" or "union" of the datasets with RNA; a file with a list;
    or a prepared dataset or model, whose medians are taken too."""
    peak_tokens: str | None = None
    """Keep the peaks themselves too, as one set for all files: the "consensus", in
    which peaks that overlap are one; "tiles" of the genome that hold a peak; a BED; or
    a prepared dataset or model that has some."""
    peak_tile_bp: int = 5_000
    """Length of such a tile."""
    chain: Path | None = None
    """UCSC chain from the assembly of the peaks to that of the genes."""
    lift: Files = ()
    """File that the chain is for; all with ATAC if none is named; may be repeated."""
    counts: CountChoice = "auto"
    """What the ATAC counts count; "auto" reads it off their histogram."""
    layer: str | None = None
    """Layer that holds the raw counts, where X does not."""
    label: str | None = None
    """Column of obs with the cell types; cells without one are in no split."""
    batch: str | None = None
    """Column of obs with the batches."""
    split_by: str | None = None
    """Column of obs with the split (train, validation, test), or with groups, such as
    donors, that are split as wholes."""
    holdout: float = 0.3
    """Share of cells not trained on: a third for validation, the rest for the test."""
    min_cells_per_class: int = 10
    """Cell types with fewer cells are in no split."""
    min_feature_fraction: float = MIN_FEATURE_FRACTION
    """Leave out cells with a smaller share of non-zero genes."""
    min_resolved: float = 0.5
    """Least share of a dataset's genes that the annotation must know."""
    target_sum: float | None = 10_000.0
    """Total that each cell is scaled to; None: the training cells' median."""
    strategy: Strategy = "gene_normalized"
    """How values are binned; "counts" are counts themselves, up to --num-bins."""
    num_bins: int = 5
    """Bins above 0."""
    medians: Literal["exact", "histogram"] = "exact"
    """Of genes: exact, or within 0.4 % in fewer passes; sparse counts have many equal
    values, which that tells apart by chance."""
    workers: int | None = None
    """Processes; one for each core if not given. The result is the same."""
    scheduler: str | None = None
    """Do it by dask: the tcp:// address of a scheduler, or "local"."""
    overwrite: bool = False
    """Replace what was prepared at --out before."""
    seed: int = 0
    """Of the split."""
    debug: bool = False
    """Show a traceback with an error."""


def run_prepare(command: Prepare) -> None:
    """`scmultimodal prepare`."""
    from scmultimodal.evaluation import store_report
    from scmultimodal.singlecell.recipe import RecipeConfig
    from scmultimodal.workflows import inspection, prepare, prepare_files, process

    kinds = ("multiome", "rna", "atac", "fragments")
    shared = command.vocabulary in ("intersection", "union")
    peaks = command.peak_tokens
    made = peaks if peaks in ("consensus", "tiles") else None
    sources = prepare_files.Sources(
        files=[(path, kind) for kind in kinds for path in getattr(command, kind)],
        annotation=command.genes,
        layer=command.layer,
        chain=command.chain,
        lifted=command.lift,
        peaks=command.peaks,
        tile_bp=command.tile_bp,
        barcodes=command.barcodes,
        cells=command.cells,
        vocabulary=None if shared else Path(command.vocabulary),
        peak_tokens=None if peaks in (None, made) else Path(peaks),
    )
    config = prepare.PrepareConfig(
        recipe=RecipeConfig(
            counts=command.counts,
            min_feature_fraction=command.min_feature_fraction,
            target_sum=command.target_sum,
            strategy=command.strategy,
            num_bins=command.num_bins,
        ),
        genes="union" if command.vocabulary == "union" else "intersection",
        min_resolved=command.min_resolved,
        label=command.label,
        batch=command.batch,
        split_by=command.split_by,
        fractions=_fractions(command.holdout),
        min_cells_per_class=command.min_cells_per_class,
        medians=command.medians,
        peak_tokens=made,
        peak_tile_bp=command.peak_tile_bp,
        seed=command.seed,
    )
    with process.terminable(), _runner(command) as runner:
        store = prepare_files.run(
            sources,
            config,
            command.out,
            runner=runner,
            command=shlex.join(["scmultimodal", *sys.argv[1:]]),
            overwrite=command.overwrite,
        )
    print(store_report.format_table(inspection.facts(store)))


def _fractions(holdout: float) -> tuple[float, float, float]:
    from scmultimodal.schemas.errors import InputError

    if not 0 < holdout < 1:
        raise InputError("--holdout", f"is {holdout}", "Give a share between 0 and 1")
    # 0.3 makes 0.7, 0.1 and 0.2: not 0.0999…, which would round to another split.
    parts = (1 - holdout, holdout / 3, holdout * 2 / 3)
    return tuple(round(part, 12) for part in parts)


def _runner(command: Prepare) -> contextlib.AbstractContextManager:
    from scmultimodal.workflows import runners

    if command.scheduler is None:
        return runners.processes(command.workers)
    address = None if command.scheduler == "local" else command.scheduler
    return runners.dask(address, command.workers)

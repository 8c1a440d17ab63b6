"""Commands that apply a trained model: `embed`, `annotate`, `impute`, `score`."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import tyro

from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell.fragments import CountChoice


@dataclasses.dataclass(frozen=True, kw_only=True)
class _OfCells:
    """What the commands of the cell model share."""

    model: Path
    """Run folder or exported model."""
    data: Path
    """Raw counts: .h5mu, .h5ad, .csv, .tsv, or an .h5 or a folder by Cell Ranger. They
    are read a few cells at a time."""
    out: Path
    """File to write: .h5ad, or .zarr."""
    layer: str | None = None
    """Layer that holds the raw counts, where X does not."""
    modality: tyro.conf.EnumChoicesFromValues[Modality] | None = None
    """What an .h5ad holds, if its features leave it open; of other files, what is
    taken."""
    counts: CountChoice = "auto"
    """What the ATAC counts count; "auto" reads it off their histogram."""
    batch_size: int | None = None
    """Cells computed at a time; as many as memory has room for if not given, 256 at
    most."""
    json: bool = False
    """Print the summary as JSON, and nothing else."""
    overwrite: bool = False
    """Replace the file that stands at --out."""
    debug: bool = False
    """Show a traceback with an error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Embed(_OfCells):
    """Write a vector for each cell of a file, for UMAP, clusters or neighbours.

    obsm["X_scmm"] of an .h5ad or .zarr with the cells' annotations. Memory does not
    grow with the number of cells, but for their names and annotations.

    Examples:
        scmultimodal embed --model runs/demo --data my.h5mu --out vectors.h5ad
        scmultimodal embed --model runs/demo --data atlas.h5ad --layer counts \\
            --out vectors.zarr --json
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Annotate(_OfCells):
    """Name the type of each cell of a file.

    obs["scmm_cell_type"] and obs["scmm_confidence"], the probability of that type,
    beside the annotations of the file. Ends with the cells of each type.

    Examples:
        scmultimodal annotate --model runs/demo --data my.h5mu --out types.h5ad
        scmultimodal annotate --model runs/demo --data atac.h5ad --counts fragments \\
            --out types.h5ad
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Impute(_OfCells):
    """Write what a modality of each cell is expected to be, measured or not.

    X is what each gene of the model is expected to have of 10,000 counts of the cell,
    told from its vector. The model must have been pre-trained to tell counts
    (pretrain --preset best). One that was pre-trained to tell RNA from open peaks gives
    the probability that a gene is expressed instead, or its expected bin; one that was
    fine-tuned on values (finetune --task expression) how much of it there is where it
    is expressed. uns["scmm_values"] says what X is.

    Examples:
        scmultimodal impute --model runs/counts --data atac.h5ad --target rna \\
            --out rna.h5ad
        scmultimodal impute --model runs/counts --data my.h5mu --modality atac \\
            --target rna --out rna.zarr
    """

    target: tyro.conf.EnumChoicesFromValues[Modality]
    """What is told: rna, or gene-level atac."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """Write how accessible regions of a genome are to a model; only differences matter.

    A line for each region: chrom, start, end and its score, or one for each cell type
    that the model scores by itself. Give as many bp as the regions that it was trained
    on, with the peak in the middle where it was there.

    Examples:
        scmultimodal score --model runs/ranking --fasta hg38.fa.gz \\
            --regions peaks.bed --out scores.tsv.gz
        scmultimodal score --model runs/ranking --fasta sequences.fa --out scores.tsv
    """

    model: Path
    """Run or model folder with a scorer."""
    fasta: Path
    """The genome, or sequences that are each one region: plain, bgzip, or gzip."""
    out: Path
    """Table to write: .tsv or .tsv.gz."""
    regions: Path | None = None
    """BED of what to score; every record of --fasta if not given."""
    batch_size: int = 16
    """Sequences computed at a time."""
    json: bool = False
    """Print the summary as JSON, and nothing else."""
    overwrite: bool = False
    """Replace the table that stands at --out."""
    debug: bool = False
    """Show a traceback with an error."""


def run_embed(command: Embed) -> None:
    """`scmultimodal embed`."""
    from scmultimodal.workflows import cell_files

    _print(cell_files.embed(*_asked(command)), command.json)


def run_annotate(command: Annotate) -> None:
    """`scmultimodal annotate`."""
    from scmultimodal.workflows import cell_files

    _print(cell_files.annotate(*_asked(command)), command.json)


def run_impute(command: Impute) -> None:
    """`scmultimodal impute`."""
    from scmultimodal.workflows import cell_files

    found = cell_files.impute(*_asked(command), command.target)
    _print(found, command.json)


def run_score(command: Score) -> None:
    """`scmultimodal score`."""
    from scmultimodal.workflows import genome_inference, score_regions

    found = score_regions.run(
        genome_inference.open_any(command.model),
        command.fasta,
        command.out,
        regions=command.regions,
        batch_size=command.batch_size,
        overwrite=command.overwrite,
    )
    _print(found, command.json)


def _asked(command: _OfCells) -> tuple[Any, Any, Any]:
    """The model, the cells, and where the answers go."""
    from scmultimodal.cli.explain import origin
    from scmultimodal.weights import export
    from scmultimodal.workflows.cell_files import Source, Target

    model = export.load(command.model)
    source = Source(
        path=command.data,
        layer=command.layer,
        modality=command.modality,
        counts=command.counts,
        batch_size=command.batch_size,
    )
    target = Target(
        out=command.out,
        facts=lambda: origin(command.model, command.data),
        overwrite=command.overwrite,
    )
    return model, source, target


def _print(found: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps(dataclasses.asdict(found), indent=1))
    else:
        print(f"\n{found.format_table()}\n\nwritten {found.out}")

"""Commands that ask a trained cell model: `perturb`, `explain`."""

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any, Literal

import tyro

from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell.fragments import CountChoice


@dataclasses.dataclass(frozen=True, kw_only=True)
class Perturb:
    """Say what a model makes of cells in which genes are deleted, raised or closed.

    One gene after the other is changed in the cells that have it: how far the cells'
    vectors move, and how the expected counts of all genes change, RNA and ATAC, where
    the model was pre-trained to tell counts (pretrain --preset best), or which genes
    are less likely expressed, where it tells that from peaks and these are closed.
    Writes tables (CSV, JSON, H5AD) and pictures.

    Examples:
        scmultimodal perturb --model runs/counts --data my.h5mu \\
            --genes Gad1 Slc17a7 Mbp --kind delete --out runs/deleted
        scmultimodal perturb --model runs/counts --data my.h5mu \\
            --gene-list genes.txt --kind close --out runs/closed
        scmultimodal perturb --model runs/counts --data my.h5ad \\
            --genes Ascl1 Neurod1 --kind overexpress --together --out runs/raised
    """

    model: Path
    """Run folder or exported model."""
    data: Path
    """Raw counts: .h5mu, .h5ad, .csv, .tsv, or an .h5 or a folder by Cell Ranger."""
    out: Path
    """Folder to make."""
    genes: tuple[str, ...] = ()
    """Symbols or IDs."""
    gene_list: Path | None = None
    """Text file with more of them, one a line."""
    kind: Literal["delete", "overexpress", "close"] = "delete"
    """delete: RNA counts become 0; overexpress: the highest bin, in cells that lack the
    gene too; close: the ATAC value of the gene, from the peaks near it, becomes 0, and
    models that read these peaks are not shown them."""
    modality: tyro.conf.EnumChoicesFromValues[Modality] | None = None
    """Where to delete or overexpress, if not in RNA."""
    fold: float | None = None
    """Of overexpress: multiply the counts that a cell has, up to the highest bin."""
    together: bool = False
    """Change all genes at once."""
    counts: CountChoice = "auto"
    """What the ATAC counts count; "auto" reads it off their histogram."""
    layer: str | None = None
    """Layer that holds the raw counts, where X does not."""
    top: int = 10
    """Genes in top_genes.csv for each perturbed gene and modality."""
    batch_size: int | None = None
    """Cells computed at a time; as many as memory has room for if not given."""
    overwrite: bool = False
    """Replace what this command has left at --out."""
    debug: bool = False
    """Show a traceback with an error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explain:
    """Say which genes or peaks a model tells types by, and which genes are alike to it.

    Gradient × input: what each gene adds to the logit of a cell's type, mean over the
    cells of the type; of a model that reads open peaks, what each peak adds, as BED for
    genome browsers too. --neighbours lists the genes whose token embeddings are nearest
    to those of some genes. Writes tables (CSV, JSON) and pictures of the strongest
    genes and peaks of each type.

    Examples:
        scmultimodal explain --model runs/mine --data my.h5mu --out runs/markers
        scmultimodal explain --model runs/mine --data my.h5ad --label cell_type \\
            --neighbours Gad1 Mbp --out runs/markers
        scmultimodal explain --model runs/counts --neighbours Gad1 --out runs/alike
    """

    model: Path
    """Run folder or exported model."""
    out: Path
    """Folder to make."""
    data: Path | None = None
    """Raw counts: .h5mu, .h5ad, .csv, .tsv, or an .h5 or a folder by Cell Ranger."""
    label: str | None = None
    """Column of obs with the cell types; those that the model gives if not given."""
    neighbours: tuple[str, ...] = ()
    """Genes whose neighbours are listed, by symbol or ID."""
    counts: CountChoice = "auto"
    """What the ATAC counts count; "auto" reads it off their histogram."""
    layer: str | None = None
    """Layer that holds the raw counts, where X does not."""
    top: int = 10
    """Genes shown of each type and modality, peaks of each type, and neighbours of each
    gene."""
    batch_size: int | None = None
    """Cells computed at a time; as many as memory has room for if not given."""
    overwrite: bool = False
    """Replace what this command has left at --out."""
    debug: bool = False
    """Show a traceback with an error."""


def run_perturb(command: Perturb) -> None:
    """`scmultimodal perturb`."""
    from scmultimodal.models import CellModel
    from scmultimodal.singlecell import readers
    from scmultimodal.workflows import perturbation_results, targets

    targets.check(command.out, perturbation_results.REPORT, overwrite=command.overwrite)
    perturbation_results.check_figures()
    genes = list(command.genes)
    if command.gene_list is not None:
        genes += perturbation_results.read_names(command.gene_list)
    model = CellModel.load(command.model)
    data = readers.read(command.data, layer=command.layer)
    found = model.perturb(
        data,
        genes,
        kind=command.kind,
        modality=command.modality,
        fold=command.fold,
        together=command.together,
        counts=command.counts,
        batch_size=command.batch_size,
        progress=True,
    )
    change = f"{command.kind} {found.changed.upper()}"
    if command.fold is not None:
        change += f", {command.fold:g}-fold"
    pictures = found.write(
        command.out,
        {"change": change, "cells": data.n_obs}
        | origin(command.model, command.data)
        | {"simulated": bool(_note(data))},
        k=command.top,
        note=_note(data),
    )
    print(f"\n{change} in {data.n_obs:,} cells\n{found.format_table()}\n")
    for path in pictures:
        print(f"figure  {path}")
    print(f"tables  {command.out}")


def run_explain(command: Explain) -> None:
    """`scmultimodal explain`."""
    from scmultimodal.data import atomic
    from scmultimodal.models import CellModel
    from scmultimodal.schemas.errors import InputError
    from scmultimodal.singlecell import readers
    from scmultimodal.workflows import explanation_files, targets
    from scmultimodal.workflows.importance_tables import Importance

    if command.data is None and not command.neighbours:
        raise InputError("--data", "is missing", "Give cells, or --neighbours GENE")
    targets.check(command.out, explanation_files.REPORT, overwrite=command.overwrite)
    explanation_files.check_figures()
    model = CellModel.load(command.model)
    near, found, pictures = {}, Importance(genes=None, peaks=None), []
    if command.neighbours:
        near = {
            m: model.gene_neighbours(command.neighbours, m, command.top)
            for m in model.embedded or model.modalities
        }
    note = ""
    if command.data is not None:
        data = readers.read(command.data, layer=command.layer)
        note = _note(data)
        found = model.explain(
            data,
            label=command.label,
            counts=command.counts,
            batch_size=command.batch_size,
            progress=True,
        )
    facts = origin(command.model, command.data) | {"simulated": bool(note)}
    with atomic.folder(command.out) as folder:
        pictures = explanation_files.write(
            folder, found, near, facts, k=command.top, note=note
        )
    for part in found:
        if part is not None:
            print(f"\n{part.format_table()}\n")
    for modality, table in near.items():
        print(f"\n{explanation_files.format_neighbours(table, modality)}\n")
    for name in pictures:
        print(f"figure  {command.out / name}")
    print(f"tables  {command.out}")


def origin(model: Path, data: Path | None) -> dict[str, Any]:
    """Where a result comes from."""
    from scmultimodal.workflows import provenance

    # Cell Ranger's folders have no sum of their own.
    files = [] if data is None or data.is_dir() else [provenance.of_file(data)]
    command = shlex.join(["scmultimodal", *sys.argv[1:]])
    return {
        **provenance.of_code(),
        **provenance.of_run(),
        "command": command,
        "model": str(model),
        "files": files,
    }


def _note(data: Any) -> str:
    return "simulated data" if "simulated" in data.uns else ""

"""The command `links`: which open peaks speak for which genes."""

import dataclasses
from pathlib import Path

from scmultimodal.singlecell.fragments import CountChoice


@dataclasses.dataclass(frozen=True, kw_only=True)
class Links:
    """Write which open peaks speak for which genes, for genome browsers.

    Gradient × input: how much the odds that a gene is expressed are told by each open
    peak near it, mean over the cells that have it open. The model must have been
    pre-trained to tell genes from peaks (`scmultimodal pretrain --preset peaks`). The
    peak is one end of a link, the start of the gene the other; a column has the
    correlation over cells, where the file has RNA too.

    Examples:
        scmultimodal links --model runs/peaks/seed_0/pretrain --data my.h5mu \\
            --out links.bedpe
        scmultimodal links --model runs/peaks/seed_0/pretrain --data atac.h5ad \\
            --genes Gad1 Slc17a7 --within-bp 200000 --top 0 --out links.bedpe.gz
    """

    model: Path
    """Run folder or exported model."""
    data: Path
    """Raw counts: .h5mu, .h5ad, .csv, .tsv, or an .h5 or a folder by Cell Ranger."""
    out: Path
    """File to write: .bedpe or .bedpe.gz."""
    genes: tuple[str, ...] = ()
    """Symbols or IDs; all of the model if not given."""
    within_bp: int = 500_000
    """How far from the start of a gene peaks are looked for."""
    top: int = 10
    """Peaks of each gene, those that speak most for it; 0 writes all links, those that
    speak against it too."""
    counts: CountChoice = "auto"
    """What the ATAC counts count; "auto" reads it off their histogram."""
    layer: str | None = None
    """Layer that holds the raw counts, where X does not."""
    batch_size: int | None = None
    """Cells computed at a time; as many as memory has room for if not given."""
    overwrite: bool = False
    """Replace the file that stands at --out."""
    debug: bool = False
    """Show a traceback with an error."""


def run_links(command: Links) -> None:
    """`scmultimodal links`."""
    from scmultimodal.models import CellModel
    from scmultimodal.singlecell import readers

    _check(command)
    found = CellModel.load(command.model).peak_to_gene(
        readers.read(command.data, layer=command.layer),
        command.genes or None,
        within_bp=command.within_bp,
        counts=command.counts,
        batch_size=command.batch_size,
        progress=True,
    )
    path = found.to_bedpe(command.out, k=command.top or None)
    written = found.top_links(command.top) if command.top else found.table
    genes = found.table["gene_id"].nunique()
    if (found.table["score"] > 0).any():
        print(f"\nthe strongest peaks\n{found.format_table()}\n")
    else:
        print("\nno open peak speaks for a gene near it\n")
    print(f"{len(found.table):,} links of {genes:,} genes in {found.cells:,} cells")
    print(f"written {path}: {len(written):,} of them")


def _check(command: Links) -> None:
    """Raises InputError for what cannot be written, before work is done for it."""
    from scmultimodal.data import atomic
    from scmultimodal.schemas.errors import InputError

    if command.top < 0:
        raise InputError("--top", f"is {command.top}", "Give 0 or more")
    atomic.check_apart(command.out, command.data)
    atomic.check_new_file(command.out, like="links.bedpe", overwrite=command.overwrite)

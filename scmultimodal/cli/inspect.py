"""The command `inspect`: what a prepared dataset holds."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import tyro


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspect:
    """Show what a prepared dataset holds, and where it comes from.

    Cells, genes and modalities, cell types, batches and splits, how even the bins of
    the training cells are, what became of genes, peaks and fragments of each dataset,
    files with their sha256.

    Examples:
        scmultimodal inspect data/mine
        scmultimodal inspect data/mine --json > facts.json
        scmultimodal inspect data/mine --figures data/mine-figures
    """

    store: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Prepared dataset: a folder, of a bucket too (gs://…)."""
    json: bool = False
    """Print all facts as JSON, and nothing else."""
    figures: Path | None = None
    """Folder for pictures: peaks per gene and genes per peak by distance, and three
    ways to bin side by side."""
    debug: bool = False
    """Show a traceback with an error."""


def run_inspect(command: Inspect) -> None:
    """`scmultimodal inspect`."""
    from scmultimodal.data.store import Store
    from scmultimodal.evaluation import store_report
    from scmultimodal.workflows import inspection, inspection_figures

    if command.figures is not None:
        inspection_figures.check_figures()
    store = Store.open(command.store)
    facts = inspection.facts(store)
    drawn = []
    if command.figures is not None:
        drawn = inspection_figures.draw(store, facts, command.figures)
    if command.json:
        print(json.dumps(facts, indent=1, allow_nan=False))
        return
    print(store_report.format_table(facts))
    for path in drawn:
        print(f"figure  {path}")

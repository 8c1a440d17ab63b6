"""What a model looks at, as files and pictures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from scmultimodal.workflows.explanation import GeneImportance

REPORT = "explanation.json"


def check_figures() -> None:
    """Raises InputError where nothing can be drawn, before work is done for it."""
    from scmultimodal.evaluation.figures import importance  # noqa: F401


def write(
    folder: Path,
    found: GeneImportance | None,
    neighbours: Mapping[str, pd.DataFrame],
    facts: Mapping[str, Any],
    *,
    k: int = 10,
    note: str = "",
) -> list[str]:
    """Writes tables and pictures into a folder that is there.

    importance.csv      of all genes, by modality
    top_genes.csv       k of each type and modality
    rna.png, atac.png   the same, as pictures
    neighbours_rna.csv, neighbours_atac.csv
    explanation.json    facts, top genes and neighbours

    Args:
        folder: where.
        found: importance of genes, if it was asked for.
        neighbours: by modality, as from `explanation.neighbours`.
        facts: where the data come from; anything that JSON holds.
        k: genes of each type and modality.
        note: line above the pictures.

    Returns:
        Names of the pictures.
    """
    content = {"kind": "scmultimodal.explanation", **facts}
    content["neighbours"] = {m: t.to_dict("records") for m, t in neighbours.items()}
    for modality, table in neighbours.items():
        table.to_csv(folder / f"neighbours_{modality}.csv", index=False)
    drawn = []
    if found is not None:
        top = found.top_genes(k)
        content["cells"] = found.cells.to_dict()
        content["top_genes"] = top.to_dict("records")
        found.table.to_csv(folder / "importance.csv")
        top.to_csv(folder / "top_genes.csv", index=False)
        drawn = [
            _draw(folder, str(modality), part, note)
            for modality, part in top.groupby("modality", sort=False)
        ]
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    (folder / REPORT).write_text(text)
    return drawn


def format_neighbours(table: pd.DataFrame, modality: str) -> str:
    """To print: a line for each gene."""
    lines = [f"nearest genes, {modality}"]
    for name, part in table.groupby("symbol", sort=False):
        pairs = zip(part["neighbour"], part["cosine"], strict=True)
        lines.append(f"{name}: " + ", ".join(f"{n} {c:.2f}" for n, c in pairs))
    return "\n".join(lines)


def _draw(folder: Path, modality: str, top: pd.DataFrame, note: str) -> str:
    from scmultimodal.evaluation.figures import importance

    found = {
        str(name): list(zip(genes["symbol"], genes["importance"], strict=True))
        for name, genes in top.groupby("cell_type", sort=False)
    }
    title = f"{modality.upper()}: gradient × input of each type's logit"
    path = folder / f"{modality}.png"
    return importance.top_genes(found, path, title=title, note=note).name

"""What a model looks at, as files and pictures."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from scmultimodal.workflows.importance_tables import Importance

REPORT = "explanation.json"
_TITLES = {"rna": "RNA", "atac": "ATAC", "peaks": "Open peaks"}


def check_figures() -> None:
    """Raises InputError where nothing can be drawn, before work is done for it."""
    from scmultimodal.evaluation.figures import importance  # noqa: F401


def write(
    folder: Path,
    found: Importance,
    neighbours: Mapping[str, pd.DataFrame],
    facts: Mapping[str, Any],
    *,
    k: int = 10,
    note: str = "",
) -> list[str]:
    """Writes tables and pictures into a folder that is there.

    importance.csv      of all genes, by modality
    top_genes.csv       k of each type and modality
    peaks.bed.gz        of all peaks that are open, for genome browsers
    top_peaks.csv       k of each type
    rna.png, atac.png, peaks.png
                        the strongest, as pictures
    neighbours_rna.csv, neighbours_atac.csv
    explanation.json    facts, top genes and neighbours

    Args:
        folder: where.
        found: importance of genes and of peaks; None of what was not asked for.
        neighbours: by modality, as from `explanation.neighbours`.
        facts: where the data come from; anything that JSON holds.
        k: genes of each type and modality, and peaks of each type.
        note: line above the pictures.

    Returns:
        Names of the pictures.
    """
    content = {"kind": "scmultimodal.explanation", **facts}
    content["neighbours"] = {m: t.to_dict("records") for m, t in neighbours.items()}
    for modality, table in neighbours.items():
        table.to_csv(folder / f"neighbours_{modality}.csv", index=False)
    drawn = []
    for part in found:
        if part is not None:
            content["cells"] = part.cells.to_dict()
    if found.genes is not None:
        top = found.genes.top_genes(k)
        content["top_genes"] = top.to_dict("records")
        found.genes.table.to_csv(folder / "importance.csv")
        top.to_csv(folder / "top_genes.csv", index=False)
        drawn += [
            _draw(folder, str(modality), part, part["symbol"], note)
            for modality, part in top.groupby("modality", sort=False)
        ]
    if found.peaks is not None:
        top = found.peaks.top_peaks(k)
        content["top_peaks"] = top.to_dict("records")
        found.peaks.to_bed(folder / "peaks.bed.gz")
        top.to_csv(folder / "top_peaks.csv", index=False)
        if len(top):
            drawn.append(_draw(folder, "peaks", top, _peak_labels(top), note))
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


def _draw(
    folder: Path, name: str, top: pd.DataFrame, labels: Iterable[str], note: str
) -> str:
    from scmultimodal.evaluation.figures import importance

    found = {str(kind): [] for kind in top["cell_type"].unique()}
    rows = zip(top["cell_type"], labels, top["importance"], strict=True)
    for kind, label, value in rows:
        found[str(kind)].append((label, value))
    title = f"{_TITLES[name]}: gradient × input of each type's logit"
    path = folder / f"{name}.png"
    return importance.top_genes(found, path, title=title, note=note).name


def _peak_labels(top: pd.DataFrame) -> list[str]:
    """Short: where a peak lies from the gene nearest to it, or else its place."""
    rows = top[["chrom", "start", "nearest_gene", "distance_bp"]]
    return [
        f"{gene} {far / 1e3:.0f} kb" if gene else f"{chrom}:{start / 1e6:.2f} Mb"
        for chrom, start, gene, far in rows.itertuples(index=False)
    ]

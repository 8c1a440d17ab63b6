"""What a model was asked, as tables: what `perturb` and `explain` left, read again."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from scmultimodal.evaluation.report import Table

_SHIFTS = {"cosine_shift": "cosine shift", "euclidean_shift": "Euclidean shift"}
_TOP = {"top_rna": "RNA changed most", "top_atac": "ATAC changed most"}
SHOWN = 5
"""Genes and peaks that are named of each type."""
_STRONGEST = {"top_genes": "genes", "top_peaks": "peaks"}


def perturbed(content: Mapping[str, Any]) -> list[Table]:
    """Of `perturbation.json`: what moves cells most comes first."""
    rows = sorted(content["perturbed"], key=lambda row: -(row["euclidean_shift"] or 0))
    told = [name for name in _TOP if any(name in row for row in rows)]
    frame = pd.DataFrame(
        [
            {
                "perturbed": row["symbol"],
                "cells": int(row["cells"]),
                **{title: _digits(row[name]) for name, title in _SHIFTS.items()},
                **{_TOP[name]: row[name] or "–" for name in told},
            }
            for row in rows
        ]
    )
    caption = f"{content['change']}, in {content['cells']:,} cells"
    return [Table(frame=frame.set_index("perturbed"), caption=caption)]


def explained(content: Mapping[str, Any]) -> list[Table]:
    """Of `explanation.json`: what is strongest of types, and genes that are alike."""
    tables = []
    if any(name in content for name in _STRONGEST):
        tables.append(_types(content))
    for modality, rows in content["neighbours"].items():
        frame = pd.DataFrame(
            {"nearest, with cosines": _joined(rows, "symbol", "neighbour", "cosine")}
        )
        caption = f"Genes whose token embeddings are alike, {modality}"
        tables.append(Table(frame=frame.rename_axis("gene"), caption=caption))
    return tables


def _types(content: Mapping[str, Any]) -> Table:
    genes, peaks = (content.get(name, []) for name in _STRONGEST)
    named = [
        *((gene["modality"], gene["symbol"], gene) for gene in genes),
        *(("peaks", _place(peak), peak) for peak in peaks),
    ]
    strongest = [(of, name, row) for of, name, row in named if row["rank"] <= SHOWN]
    frame = pd.DataFrame({"cells": pd.Series(content["cells"], dtype=int)})
    for column in dict.fromkeys(of for of, _, _ in strongest):
        own = [{**row, "name": name} for of, name, row in strongest if of == column]
        found = _joined(own, "cell_type", "name", "importance")
        frame[column] = [found.get(name, "–") for name in frame.index]
    told = " and ".join(title for key, title in _STRONGEST.items() if key in content)
    return Table(
        frame=frame.rename_axis("cell type"),
        caption=f"{told.capitalize()} that speak most for each type, with what they "
        "add to its logit",
    )


def _place(peak: Mapping[str, Any]) -> str:
    place = f"{peak['chrom']}:{peak['start']}-{peak['end']}"
    return f"{place} ({peak['nearest_gene']})" if peak["nearest_gene"] else place


def _joined(
    rows: Sequence[Mapping[str, Any]], by: str, name: str, value: str
) -> dict[str, str]:
    """`A 0.5, B 0.4` for each value of a field."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row[by], []).append(f"{row[name]} {_digits(row[value])}")
    return {key: ", ".join(words) for key, words in found.items()}


def _digits(value: float | None) -> str:
    """Three that count: a shift may be far below one thousandth."""
    return "–" if value is None else f"{value:.3g}"

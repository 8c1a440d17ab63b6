"""What spans to be ranked are made of: cells or tracks, as tables of regions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scmultimodal.genome.regions import RegionTable, read_tracks
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import readers
from scmultimodal.singlecell.pseudobulk import PseudobulkConfig, pseudobulk
from scmultimodal.workflows.stages import stage


def read(
    *,
    atac: Sequence[Path],
    tracks: Sequence[Path],
    config: PseudobulkConfig | None,
    layer: str | None = None,
) -> tuple[list[RegionTable], dict[str, Any]]:
    """Reads cells and tracks, cells first.

    Args:
        atac: `.h5ad` or `.h5mu` with cells by peaks.
        tracks: tables as `genome.regions.read_tracks` takes them.
        config: how cells become pseudobulk; None where there are no cells.
        layer: that holds the raw counts, where X does not.

    Returns:
        A table per file, and what happened to it by its name; JSON.

    Raises:
        InputError: neither was given, or a file breaks a rule.
    """
    if not atac and not tracks:
        problem = "neither cells nor tracks were given"
        raise InputError("prepare-ranking", problem, "Use --atac or --tracks")
    if atac and config is None:
        problem = "cells were given, but no column of their types"
        raise InputError("prepare-ranking", problem, "Name it by --label")
    tables, reports = [], {}
    for path in atac:
        with stage("read") as said:
            bulk = pseudobulk(readers.read(path, layer=layer), config, path)
            tables.append(bulk.table)
            reports[str(path)] = bulk.report
            said += [path.name, _describe(bulk.report)]
    for path in tracks:
        with stage("read") as said:
            table = read_tracks(path)
            tables.append(table)
            size = f"{len(table.regions):,} regions, {len(table.samples)} samples"
            said += [path.name, size]
    return tables, reports


def _describe(report: dict[str, Any]) -> str:
    kept = report["peaks"] - report["peaks_seen_too_rarely"]
    text = (
        f"{report['cells']:,} cells, {len(report['cells_per_type'])} types, "
        f"{kept:,} of {report['peaks']:,} peaks, counts taken for "
        f"{report['counts_taken_for']}"
    )
    if left_out := report["types_too_small"]:
        text += f"; too small: {', '.join(left_out)}"
    if unlabelled := report["cells_without_label"]:
        text += f"; {unlabelled:,} cells without a label"
    return text

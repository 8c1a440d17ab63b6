"""What spans to be ranked are made of: cells or tracks, as tables of regions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from mudata import MuData

from scmultimodal.genome import liftover
from scmultimodal.genome.regions import RegionTable, read_tracks
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell import cell_annotations, readers
from scmultimodal.singlecell.observations import merge_obs
from scmultimodal.singlecell.peaks import peak_intervals
from scmultimodal.singlecell.pseudobulk import PseudobulkConfig, pseudobulk
from scmultimodal.workflows.stages import stage


def read(
    *,
    atac: Sequence[Path],
    tracks: Sequence[Path],
    config: PseudobulkConfig | None,
    layer: str | None = None,
    cells: Sequence[Path] = (),
    chain: Path | None = None,
    lifted: Sequence[Path] = (),
) -> tuple[list[RegionTable], dict[str, Any]]:
    """Reads cells and tracks, cells first.

    Args:
        atac: cells by peaks, as `readers.read` takes them.
        tracks: tables as `genome.regions.read_tracks` takes them.
        config: how cells become pseudobulk; None where there are no cells.
        layer: that holds the raw counts, where X does not.
        cells: tables about the cells, whose columns join obs; each names cells of at
            least one file.
        chain: UCSC chain from the assembly of the peaks to that of the genome.
        lifted: the files of cells that it is for; all if none is named.

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
    _check_chain(atac, chain, lifted)
    annotations = cell_annotations.Tables(cells)
    tables, reports = [], {}
    for path in atac:
        with stage("read") as said:
            data = _peaks(readers.read(path, layer=layer), path)
            data.obs = annotations.add_to(data.obs)
            if config.label not in data.obs:
                annotations.check()
            moved = {}
            if chain is not None and (path in lifted or not lifted):
                data, moved = _lift(data, chain, path)
            bulk = pseudobulk(
                readers.join_modalities({Modality.ATAC: data}), config, path
            )
            tables.append(bulk.table)
            reports[str(path)] = bulk.report | moved
            said += [path.name, _describe(reports[str(path)])]
    annotations.check()
    for path in tracks:
        with stage("read") as said:
            table = read_tracks(path)
            tables.append(table)
            size = f"{len(table.regions):,} regions, {len(table.samples)} samples"
            said += [path.name, size]
    return tables, reports


def _check_chain(
    atac: Sequence[Path], chain: Path | None, lifted: Sequence[Path]
) -> None:
    if chain is not None and not atac:
        problem = "moves the peaks of --atac, and none is given"
        raise InputError("--chain", problem, "Lift the tracks before, or leave it out")
    for path in lifted:
        if chain is None:
            raise InputError("--lift", "there is no chain", "Give it by --chain")
        if path not in atac:
            raise InputError(path, "is to be lifted, and is no --atac", "Name it there")


def _peaks(data: MuData, path: Path) -> AnnData:
    """Cells by peaks, with the columns of all modalities."""
    parts = readers.split_modalities(data, path)
    if Modality.ATAC not in parts:
        raise InputError(path, "holds no ATAC", "Give cells by peaks")
    atac = parts[Modality.ATAC]
    atac.obs = merge_obs(data, parts).reindex(atac.obs_names)
    return atac


def _lift(atac: AnnData, chain: Path, path: Path) -> tuple[AnnData, dict[str, Any]]:
    """The peaks that have one place in the other assembly, and what was left out.

    Of two that overlap there the second is left out: regions are disjoint.
    """
    peaks = peak_intervals(atac, path).reset_index(drop=True)
    found = liftover.lift(peaks, chain, source=path)
    places = found.intervals.sort_values(["chrom", "start", "end"], kind="stable")
    clear = _disjoint(places)
    kept = places[clear].sort_index()
    atac = atac[:, kept.index.to_numpy()].copy()
    atac.var = kept.set_axis(atac.var_names)
    report = {"chain": chain.name, **found.report, "overlapping": int((~clear).sum())}
    return atac, {"liftover": report}


def _disjoint(places: pd.DataFrame) -> np.ndarray:
    """Which sorted intervals begin after all that were kept before them."""
    keep, chrom, until = np.zeros(len(places), bool), None, 0
    rows = zip(places["chrom"], places["start"], places["end"], strict=True)
    for number, (name, start, end) in enumerate(rows):
        if name != chrom:
            chrom, until = name, 0
        keep[number] = start >= until
        until = max(until, end) if keep[number] else until
    return keep


def _describe(report: dict[str, Any]) -> str:
    kept = report["peaks"] - report["peaks_seen_too_rarely"]
    text = (
        f"{report['cells']:,} cells, {len(report['cells_per_type'])} types, "
        f"{kept:,} of {report['peaks']:,} peaks, counts taken for "
        f"{report['counts_taken_for']}"
    )
    if lifted := report.get("liftover"):
        text += f"; {lifted['lifted'] - lifted['overlapping']:,} peaks lifted"
    if left_out := report["types_too_small"]:
        text += f"; too small: {', '.join(left_out)}"
    if unlabelled := report["cells_without_label"]:
        text += f"; {unlabelled:,} cells without a label"
    return text

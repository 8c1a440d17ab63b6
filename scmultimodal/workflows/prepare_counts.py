"""The first pass of preparing: counts of files to shards of counts of genes."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.schemas.modality import MODALITIES, Modality
from scmultimodal.singlecell import peak_sets
from scmultimodal.singlecell.filtering import filter_report
from scmultimodal.singlecell.fragments import CountHistogram, choose_kind
from scmultimodal.singlecell.inputs import Dataset
from scmultimodal.singlecell.peaks import coverage
from scmultimodal.workflows import prepare_plan, prepare_shards
from scmultimodal.workflows.prepare_config import PrepareConfig
from scmultimodal.workflows.prepare_shards import Part, Plan, Span, Written
from scmultimodal.workflows.progress import shown
from scmultimodal.workflows.runners import Runner


def write_counts(
    folder: Path,
    datasets: Sequence[Dataset],
    genes: prepare_plan.Genes,
    places: Mapping[str, prepare_plan.Places],
    peak_vocabulary: PeakVocabulary | None,
    config: PrepareConfig,
    runner: Runner,
    report: dict[str, Any],
) -> list[tuple[Part, Written]]:
    """The first pass: all shards of counts."""
    modalities = tuple(m for m in MODALITIES if any(m in d.counts for d in datasets))
    everything = []
    for dataset in datasets:
        facts = report["datasets"][dataset.name]
        alignments, links, matched = {}, None, None
        if Modality.RNA in dataset.counts:
            alignments[Modality.RNA] = prepare_plan.align_rna(
                dataset.counts[Modality.RNA],
                genes.found[dataset.name],
                len(genes.table),
            )
        if Modality.ATAC in dataset.counts:
            place, atac = places[dataset.name], dataset.counts[Modality.ATAC]
            peaks = prepare_plan.align_atac(
                atac, place, genes.table, config.recipe.aggregation
            )
            if peak_vocabulary is not None:
                matched = prepare_plan.match_peaks(atac, place, peak_vocabulary)
            halve = _halves(dataset, peaks.alignment, config, runner, facts)
            links = peaks.links
            facts |= place.report | peaks.report
            alignments[Modality.ATAC] = dataclasses.replace(
                peaks.alignment, halve=halve, peaks=matched
            )
        plan = Plan(
            folder=folder,
            alignments=alignments,
            modalities=modalities,
            num_genes=len(genes.table),
            num_peaks=0 if peak_vocabulary is None else peak_vocabulary.num_peaks,
            aggregation=config.recipe.aggregation,
            min_feature_fraction=config.recipe.min_feature_fraction,
        )
        parts = _parts(dataset, len(everything), config.cells_per_shard)
        counted = runner.map(prepare_shards.write_part, plan, parts)
        done = list(shown(counted, f"counts of {dataset.name}", len(parts)))
        if links is not None:
            inside = np.sum([w.fragments_in for w in done], axis=0)
            facts["peak_aggregation"] = coverage(
                inside, links, config.recipe.aggregation
            )
        if matched is not None:
            within = sum(w.fragments_in_peaks for w in done)
            facts["peak_tokens"] = peak_sets.kept(matched, int(inside.sum()), within)
        everything += zip(parts, done, strict=True)
    failed = {str(m): sum(w.failed[m] for _, w in everything) for m in modalities}
    report["cell_filter"] = filter_report(
        np.concatenate([w.keep for _, w in everything]),
        failed,
        config.recipe.min_feature_fraction,
        source=", ".join(dataset.name for dataset in datasets),
    )
    return everything


def _halves(
    dataset: Dataset,
    alignment: prepare_shards.Alignment,
    config: PrepareConfig,
    runner: Runner,
    facts: dict[str, Any],
) -> bool:
    """Whether the ATAC counts of a dataset are of things that come in pairs."""
    if dataset.counted is not None:
        facts["counts"] = {"asked": None, "taken_for": dataset.counted}
        return dataset.counted != "fragments"
    cells = alignment.rows.shape[0]
    spans = [
        Span(source=alignment.source, start=start, stop=min(start + step, cells))
        for step in [config.cells_per_shard]
        for start in range(0, cells, step)
    ]
    histograms = runner.map(prepare_shards.count_histogram, alignment, spans)
    found = shown(histograms, f"reads or fragments, {dataset.name}", len(spans))
    kind = choose_kind(sum(found, CountHistogram()), config.recipe.counts)
    facts["counts"] = {"asked": config.recipe.counts, "taken_for": kind}
    return kind != "fragments"


def _parts(dataset: Dataset, first: int, cells_per_shard: int) -> list[Part]:
    parts = []
    for start in range(0, len(dataset.obs), cells_per_shard):
        some = slice(start, start + cells_per_shard)
        parts.append(
            Part(
                number=first + len(parts),
                dataset=dataset.name,
                cells=dataset.obs.index[some],
                row={m: row[some] for m, row in dataset.row.items()},
            )
        )
    return parts

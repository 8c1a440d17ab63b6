"""Raw counts in, prepared dataset out: the recipe of SPEC 2.2 and a saved split.

Three passes, each over one shard's cells after the other, by as many workers as there
are: counts of files to counts of genes; these to medians; both to bins.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from scmultimodal.data import atomic, manifest, writing
from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.data.store import Store
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.schemas import configs
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell import inputs
from scmultimodal.singlecell.inputs import Dataset
from scmultimodal.singlecell.recipe import RecipeConfig
from scmultimodal.workflows import (
    prepare_cells,
    prepare_counts,
    prepare_medians,
    prepare_plan,
    prepare_shards,
)
from scmultimodal.workflows.prepare_config import PrepareConfig
from scmultimodal.workflows.prepare_shards import bin_counts
from scmultimodal.workflows.progress import shown
from scmultimodal.workflows.runners import Here, Runner

__all__ = ["PrepareConfig", "bin_counts", "recipe_config", "run", "run_datasets"]


def run(
    data: Any,
    genes: pd.DataFrame,
    config: PrepareConfig,
    out: Path,
    *,
    provenance: dict[str, Any],
    vocabulary: GeneVocabulary | None = None,
    peaks: PeakVocabulary | None = None,
) -> Store:
    """Prepares a MuData or AnnData of raw counts, in memory or backed by a file.

    Args:
        data: MuData, or an AnnData of one modality.
        genes: as from `genome.read_genes`.
        config: the numbers.
        out: folder of the prepared dataset; one that is there is replaced.
        provenance: where the data come from; anything that JSON holds.
        vocabulary: of the model that the cells are for; see `run_datasets`. Genes
            that the data lack are 0, as they are to the model when it embeds cells.
        peaks: of that model, where it reads them; see there.

    Raises:
        InputError: data that break a rule; nothing is written then.
    """
    name = str(provenance.get("name", "data"))
    return run_datasets(
        [inputs.from_data(data, name)],
        genes,
        config,
        out,
        provenance=provenance,
        vocabulary=vocabulary,
        peaks=peaks,
    )


def run_datasets(
    datasets: Sequence[Dataset],
    genes: pd.DataFrame,
    config: PrepareConfig,
    out: Path,
    *,
    provenance: dict[str, Any],
    vocabulary: GeneVocabulary | pd.DataFrame | None = None,
    peaks: PeakVocabulary | None = None,
    chains: Mapping[str, Path] | None = None,
    runner: Runner | None = None,
) -> Store:
    """Prepares datasets, wherever their counts lie, in bounded memory.

    Medians and totals come from the training cells only. Cells without a label, or of
    a class that is too small, are stored but belong to no split.

    Args:
        datasets: the cells; their order is kept.
        genes: as from `genome.read_genes`.
        config: the numbers.
        out: folder of the prepared dataset; one that is there is replaced.
        provenance: where the data come from; anything that JSON holds.
        vocabulary: of the model that the cells are for: its genes, medians and recipe
            are used, and `config.recipe` gives only what the counts count. Or the
            table of the genes that are wanted. None takes what the datasets share.
        peaks: the set that peaks are kept by; None leaves it to `config.peak_tokens`.
        chains: by name of the datasets whose peaks are lifted, the UCSC chain.
        runner: who does the work; None does it here.

    Raises:
        InputError: data that break a rule; nothing is written then.
    """
    runner = runner or Here()
    trained = vocabulary if isinstance(vocabulary, GeneVocabulary) else None
    if trained is not None:
        fitted = dataclasses.replace(
            recipe_config(trained), counts=config.recipe.counts
        )
        config = dataclasses.replace(config, recipe=fitted)
    source = str(provenance.get("name", "data"))
    prepare_cells.check_columns(datasets, config, source)
    manifest.check_target(out, overwrite=True)
    chosen = _choose_genes(datasets, genes, config, vocabulary)
    places = {
        d.name: prepare_plan.place_peaks(
            d.counts[Modality.ATAC], (chains or {}).get(d.name)
        )
        for d in datasets
        if Modality.ATAC in d.counts
    }
    peaks = peaks or prepare_plan.choose_peaks(places, config)
    report: dict[str, Any] = {
        "annotation": genes.attrs.get("report", {}),
        "vocabulary": chosen.report,
        "datasets": {d.name: dict(d.facts) for d in datasets},
    }
    for name, found in chosen.found.items():
        report["datasets"][name]["gene_alignment"] = found.report
    with atomic.folder(out) as folder:
        with prepare_shards.writable(folder):
            written = prepare_counts.write_counts(
                folder, datasets, chosen, places, peaks, config, runner, report
            )
            obs, present = prepare_cells.gather_cells(datasets, written)
            obs, report["left_out"] = prepare_cells.annotate(obs, config, source)
            writing.write_cells(folder, obs, present)
            if trained is None and (vocabulary is not None or config.genes == "union"):
                writing.write_measured(folder, chosen.measured(datasets))
            if trained is None:
                training = (obs["split"] == "train").to_numpy()
                trained = prepare_medians.fit_vocabulary(
                    folder, chosen, config, written, training
                )
            trained.save(folder)
            if peaks is not None:
                peaks.save(folder)
            plan = prepare_shards.BinPlan(
                folder=folder,
                vocabulary=trained,
                modalities=tuple(present),
                has_peaks=peaks is not None,
            )
            binned = runner.map(prepare_shards.write_bins, plan, range(len(written)))
            list(shown(binned, "bins", len(written)))
        writing.write_manifest(
            folder,
            trained,
            {
                "num_cells": len(obs),
                "modalities": list(present),
                "splits": writing.split_sizes(obs),
                "shards": [int(w.keep.sum()) for _, w in written],
                "provenance": provenance | {"prepare": configs.to_json(config)},
                "report": report,
            },
        )
    return Store.open(out)


def recipe_config(vocabulary: GeneVocabulary) -> RecipeConfig:
    """The recipe that a vocabulary was made with, for new data."""
    fields = {k: v for k, v in vocabulary.recipe.items() if k != "totals"}
    return configs.from_json(RecipeConfig, fields, source="vocabulary.json")


def _choose_genes(
    datasets: Sequence[Dataset],
    genes: pd.DataFrame,
    config: PrepareConfig,
    vocabulary: GeneVocabulary | pd.DataFrame | None,
) -> prepare_plan.Genes:
    if vocabulary is None:
        return prepare_plan.choose_genes(
            datasets, genes, config.genes, config.min_resolved
        )
    table = (
        vocabulary if isinstance(vocabulary, pd.DataFrame) else vocabulary.to_frame()
    )
    return prepare_plan.find_given(datasets, table)

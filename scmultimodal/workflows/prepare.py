"""Raw counts in, prepared dataset out: the recipe of SPEC 2.2 and a saved split."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64
from scipy import sparse

from scmultimodal.data import splits
from scmultimodal.data.cell_table import CellTable
from scmultimodal.data.store import Store, write_store
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell import recipe
from scmultimodal.singlecell.recipe import RecipeConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """How raw counts become a prepared dataset.

    Attributes:
        recipe: the numbers of the preprocessing.
        label: column of obs with the cell types; None where there is none.
        batch: column of obs with the batches; None where there is none.
        fractions: shares of training, validation and test cells.
        min_cells_per_class: smaller classes are left out, and so are unlabelled cells.
        seed: of the split.
    """

    recipe: RecipeConfig = dataclasses.field(default_factory=RecipeConfig)
    label: str | None = None
    batch: str | None = None
    fractions: tuple[float, float, float] = splits.FRACTIONS
    min_cells_per_class: int = 10
    seed: int = 0


def run(
    data: Any,
    genes: pd.DataFrame,
    config: PrepareConfig,
    out: Path,
    *,
    provenance: dict[str, Any],
    vocabulary: GeneVocabulary | None = None,
) -> Store:
    """Prepares a MuData or AnnData of raw counts.

    Medians and totals come from the training cells only. Cells without a label, or of
    a class that is too small, are stored but belong to no split.

    Args:
        data: MuData, or an AnnData of one modality.
        genes: as from `genome.read_genes`.
        config: the numbers.
        out: folder of the prepared dataset; one that is there is replaced.
        provenance: where the data come from; anything that JSON holds.
        vocabulary: of the model that the cells are for: its genes, medians and recipe
            are used, and `config.recipe` gives only what the counts count. None fits
            one to the training cells.

    Raises:
        InputError: data that break a rule; nothing is written then.
    """
    source = str(provenance.get("name", "data"))
    if vocabulary is None:
        cells = recipe.align_counts(data, genes, config.recipe)
    else:
        fitted = dataclasses.replace(
            recipe_config(vocabulary), counts=config.recipe.counts
        )
        cells = recipe.drop_poor_cells(
            recipe.align_to_genes(data, vocabulary.to_frame(), fitted),
            fitted.min_feature_fraction,
        )
    obs, left_out = _annotate(cells.obs, config, source)
    if vocabulary is None:
        training = np.flatnonzero(obs["split"] == "train")
        vocabulary = fit_vocabulary(cells, training, config.recipe)
    return write_store(
        out,
        cells=CellTable(rna=cells.rna, atac=cells.atac, present=cells.present, obs=obs),
        vocabulary=vocabulary,
        bin_function=functools.partial(bin_counts, vocabulary),
        provenance=provenance | {"prepare": configs.to_json(config)},
        report=cells.report | {"left_out": left_out},
        overwrite=True,
    )


def fit_vocabulary(
    cells: recipe.AlignedCells,
    training: Int64[np.ndarray, " training"],
    config: RecipeConfig,
) -> GeneVocabulary:
    """Genes, totals and medians of the training cells."""
    both = {Modality.RNA: cells.rna, Modality.ATAC: cells.atac}
    counts = {m: c[training] for m, c in both.items() if c is not None}
    totals = {m: _total(config, c) for m, c in counts.items()}
    medians = {
        f"{m}_medians": recipe.fit_medians(recipe.log_normalize(c, totals[m]))
        for m, c in counts.items()
    }
    return GeneVocabulary.from_frame(
        cells.genes,
        atac_unit=cells.atac_unit,
        recipe=configs.to_json(config) | {"totals": totals},
        **medians,
    )


def bin_counts(
    vocabulary: GeneVocabulary, modality: Modality, counts: sparse.csr_matrix
) -> sparse.csr_matrix:
    """Counts of one modality to bins, as the vocabulary was fitted."""
    return recipe.bin_counts(
        counts,
        unit=vocabulary.atac_unit if modality == Modality.ATAC else 1.0,
        target_sum=vocabulary.recipe["totals"].get(modality),
        medians=getattr(vocabulary, f"{modality}_medians"),
        strategy=vocabulary.recipe["strategy"],
        num_bins=vocabulary.recipe["num_bins"],
    )


def recipe_config(vocabulary: GeneVocabulary) -> RecipeConfig:
    """The recipe that a vocabulary was made with, for new data."""
    fields = {k: v for k, v in vocabulary.recipe.items() if k != "totals"}
    return configs.from_json(RecipeConfig, fields, source="vocabulary.json")


def _total(config: RecipeConfig, training: sparse.csr_matrix) -> float:
    """The common total of step 6: a number, or the training cells' median depth."""
    if config.target_sum is not None:
        return config.target_sum
    depths = np.asarray(training.sum(1)).ravel()
    return float(np.median(depths[depths > 0])) if (depths > 0).any() else 1.0


def _annotate(
    obs: pd.DataFrame, config: PrepareConfig, source: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Adds label, batch and split; says what was left out."""
    obs = obs.copy()
    if config.batch is not None:
        obs["batch"] = _column(obs, config.batch, source).astype(str)
    if config.label is None:
        obs["split"] = splits.random_split(
            len(obs), seed=config.seed, fractions=config.fractions
        )
        return obs, {}
    labels = _column(obs, config.label, source)
    known = labels.dropna().astype(str)
    if known[known != ""].nunique() < 2:
        raise InputError(
            source,
            f"column {config.label!r} of obs has {known.nunique()} class"
            f" ({', '.join(known.unique()[:1])})",
            "name a column with at least two cell types by --label",
        )
    obs["label"] = labels
    obs["split"], left_out = splits.stratified_split(
        labels,
        seed=config.seed,
        fractions=config.fractions,
        min_cells=config.min_cells_per_class,
    )
    return obs, left_out


def _column(obs: pd.DataFrame, name: str, source: str) -> pd.Series:
    if name not in obs:
        raise InputError(
            source,
            f"obs has no column {name!r}",
            f"name one of {', '.join(map(str, obs.columns[:12]))}",
        )
    return obs[name]

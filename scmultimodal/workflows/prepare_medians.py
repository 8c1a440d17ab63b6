"""The second pass of preparing: totals and medians of the training cells."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from scmultimodal.data import writing
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.schemas import configs
from scmultimodal.singlecell import medians, recipe
from scmultimodal.singlecell.recipe import RecipeConfig
from scmultimodal.workflows import prepare_plan, prepare_shards
from scmultimodal.workflows.prepare_config import PrepareConfig
from scmultimodal.workflows.prepare_shards import Part, Written
from scmultimodal.workflows.progress import shown


def fit_vocabulary(
    folder: Path,
    genes: prepare_plan.Genes,
    config: PrepareConfig,
    written: Sequence[tuple[Part, Written]],
    training: np.ndarray,
) -> GeneVocabulary:
    """Totals and medians of the training cells: the second pass."""
    ends = np.cumsum([w.keep.sum() for _, w in written])[:-1]
    of_shards = np.split(training, ends)
    totals, fitted = {}, {}
    for modality in written[0][1].depth:
        depths = [w.depth[modality] for _, w in written]
        total = totals[modality] = _total(
            config.recipe, np.concatenate(depths)[training]
        )
        factors = [
            np.where(mask, recipe.depth_factors(depth, total), 0.0)
            for depth, mask in zip(depths, of_shards, strict=True)
        ]

        def blocks(modality=modality, factors=factors):
            every = shown(factors, f"medians of {modality}", len(factors))
            for number, some in enumerate(every):
                path = writing.shard_path(folder, number, modality)
                yield from prepare_shards.read_blocks(path, some)

        fitted[f"{modality}_medians"] = medians.fit_medians(
            blocks, len(genes.table), exact=config.medians == "exact"
        )
    return GeneVocabulary.from_frame(
        genes.table,
        atac_unit=config.recipe.aggregation.unit,
        recipe=configs.to_json(config.recipe) | {"totals": totals},
        **fitted,
    )


def _total(config: RecipeConfig, depths: Int64[np.ndarray, " training"]) -> float:
    """The common total of step 6: a number, or the training cells' median depth."""
    if config.target_sum is not None:
        return config.target_sum
    return float(np.median(depths[depths > 0])) if (depths > 0).any() else 1.0

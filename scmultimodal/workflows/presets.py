"""Sizes: `study` has the study's numbers, `small` fits two CPU cores, `best` tells
cell types best of all that was tried on validation cells of mouse cortex, and `aligned`
goes from one modality to the other.

A preset fills the configurations of pre-training and fine-tuning; every field may
still be set.
"""

import dataclasses
from typing import Any, Literal

from scmultimodal.data.peak_tokens import PeakTokenConfig
from scmultimodal.data.store import Store
from scmultimodal.modules.heads.gene_query import GeneQueryConfig
from scmultimodal.modules.performer import PerformerConfig
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.singlecell.fragments import CountChoice
from scmultimodal.singlecell.recipe import MIN_FEATURE_FRACTION, RecipeConfig
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.workflows.cell_types import CellTypesConfig
from scmultimodal.workflows.finetune_config import FinetuneConfig
from scmultimodal.workflows.peak_path import GeneFromPeaksOptions, PeakPathConfig
from scmultimodal.workflows.prepare_config import PrepareConfig
from scmultimodal.workflows.pretrain_config import PretrainConfig

PresetName = Literal["small", "study", "best", "aligned"]
PeakPresetName = Literal["small", "study", "best", "aligned", "peaks"]
"""Where a model may read open peaks."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """The numbers of one size."""

    pretrain: PretrainConfig
    finetune: FinetuneConfig
    recipe: RecipeConfig


STUDY = Preset(
    pretrain=PretrainConfig(),
    finetune=FinetuneConfig(),
    recipe=RecipeConfig(),
)

SMALL = Preset(
    pretrain=PretrainConfig(
        path=PerformerConfig(
            dim=64,
            num_layers=2,
            num_heads=2,
            key_size=32,
            num_features=32,
            feed_forward_multiplier=2,
            chunk=32,
        ),
        tokens="nonzero",
        buckets=(128, 256, 512),
        steps=240,
        batch_size=128,
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=20),
    ),
    finetune=FinetuneConfig(
        epochs=3,
        batch_size=64,
        silent_genes=False,
        token_dropout=0.3,
        cell_vector_weight=2.0,
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=40),
    ),
    recipe=RecipeConfig(target_sum=None),
)

BEST = Preset(
    pretrain=dataclasses.replace(
        SMALL.pretrain,
        path=dataclasses.replace(SMALL.pretrain.path, num_layers=0),
        buckets=(64, 128, 192, 256, 384, 512, 768, 1_024),
        mask_weight=0.0,
        count_weight=1.0,
        steps=900,
        optimizer=OptimizerConfig(
            learning_rate=2e-3, warmup_steps=30, weight_decay=1e-2
        ),
    ),
    finetune=FinetuneConfig(
        hidden=(256,),
        silent_genes=False,
        token_dropout=0.4,
        by_value=True,
        skip=True,
        naive_bayes=0.3,
        epochs=14,
        batch_size=128,
        optimizer=OptimizerConfig(
            learning_rate=1e-3, warmup_steps=30, weight_decay=1e-2
        ),
    ),
    recipe=RecipeConfig(target_sum=None, strategy="counts"),
)
"""Counts for bins, no attention, a linear map past the trunk that begins as naive
Bayes; pre-trained by count splitting, which helps its vectors, not its fine-tuning."""

ALIGNED = dataclasses.replace(
    BEST,
    pretrain=dataclasses.replace(
        BEST.pretrain,
        mixing={Regime.MULTIOME: 1.0},
        contrastive_weight=1.0,
        modality_dropout=0.9,
        kept_share=0.7,
    ),
)
"""RNA and ATAC of a cell in one place: labels go from one modality to the other, and
each is told from the other; mostly one is hidden whole."""

PEAKS = Preset(
    pretrain=dataclasses.replace(
        BEST.pretrain,
        atac_path="peak",
        peaks=PeakPathConfig(
            path=BEST.pretrain.path,
            pool="mean",
            tokens=PeakTokenConfig(buckets=(64, 128, 192, 256, 512)),
        ),
        count_weight=0.0,
        gene_from_peaks=GeneFromPeaksOptions(
            weight=1.0,
            head=GeneQueryConfig(style="inner_product"),
            num_queries=None,
            peak_dropout=0.3,
            loadings=30,
        ),
        mixing={Regime.MULTIOME: 1.0},
        steps=400,
        optimizer=OptimizerConfig(
            learning_rate=1e-2, warmup_steps=30, weight_decay=1e-2
        ),
    ),
    finetune=FinetuneConfig(
        hidden=(64,),
        token_dropout=0.5,
        skip=True,
        naive_bayes=0.3,
        paired=1.0,
        epochs=3,
        batch_size=128,
        optimizer=OptimizerConfig(
            learning_rate=1e-4, warmup_steps=30, weight_decay=1e-2
        ),
    ),
    recipe=BEST.recipe,
)
"""Open peaks as tokens, for the study `cell_model.peaks`: no attention; expression told
from peaks; a map of peaks past the trunk that begins as naive Bayes and paired RNA."""

EPIFOUNDATION = dataclasses.replace(
    PEAKS,
    pretrain=PretrainConfig(
        path=PerformerConfig(dim=512, num_heads=8),
        atac_path="peak",
        peaks=PeakPathConfig(path=PerformerConfig(dim=512, num_heads=8)),
        mask_weight=0.0,
        gene_from_peaks=GeneFromPeaksOptions(weight=1.0, cell_type_weight=0.0),
        mixing={Regime.MULTIOME: 1.0},
        batch_size=160,
        optimizer=OptimizerConfig(learning_rate=1e-4, warmup_steps=500),
    ),
    finetune=FinetuneConfig(hidden=(512, 512), token_dropout=0.2),
)
"""EpiFoundation's sizes: 6 layers × 512, 8 heads, CLS, batches of 8 × 20. It has no
dropout of activations, which this Performer lacks."""

PRESETS: dict[PresetName, Preset] = {
    "small": SMALL,
    "study": STUDY,
    "best": BEST,
    "aligned": ALIGNED,
}


def named(name: PeakPresetName) -> Preset:
    """A preset, or the one of open peaks, by its name."""
    return PEAKS if name == "peaks" else PRESETS[name]


def without_pairs(preset: Preset) -> Preset:
    """The same, of cells of which none has RNA and ATAC: hidden peaks are told."""
    asked = dataclasses.replace(preset.pretrain.gene_from_peaks, loadings=0)
    return dataclasses.replace(
        preset,
        pretrain=dataclasses.replace(
            preset.pretrain, gene_from_peaks=asked, mixing={Regime.ATAC: 1.0}
        ),
        finetune=dataclasses.replace(preset.finetune, paired=0.0),
    )


def for_cells(preset: Preset, store: Store) -> Preset:
    """The same, or a preset of open peaks as the training cells can serve it.

    Where none has RNA and ATAC, hidden peaks are told (`without_pairs`). Where some
    have ATAC alone, batches that ask for hidden peaks take turns with those of pairs,
    as often as there are cells of either. Prints what it changes.

    Args:
        preset: numbers.
        store: the cells.
    """
    config = preset.pretrain
    if config.atac_path == "gene":
        return preset
    cells = store.split("train")
    rna, atac = (store.present(m)[cells] for m in (Modality.RNA, Modality.ATAC))
    pairs, alone = int((rna & atac).sum()), int((atac & ~rna).sum())
    if not pairs:
        print(
            "no training cell has RNA and ATAC: hidden peaks are told in place of genes"
        )
        return without_pairs(preset)
    changes: dict[str, Any] = {}
    if alone and config.mixing == {Regime.MULTIOME: 1.0}:
        print(
            f"{alone:,} training cells have ATAC alone: hidden peaks are told, in turn "
            f"with genes of the {pairs:,} that have both"
        )
        changes["mixing"] = {Regime.MULTIOME: float(pairs), Regime.ATAC: float(alone)}
    most, asked = min(store.num_genes, int(rna.sum())) - 1, config.gene_from_peaks
    if asked.loadings > most:
        print(f"genes are asked about by {most} components, not {asked.loadings}")
        changes["gene_from_peaks"] = dataclasses.replace(asked, loadings=most)
    if config.sees_peaks_alone and store.measured(Modality.RNA) is not None:
        # Genes that were not measured are told from silent ones by this alone.
        changes["tokens"] = "all"
    if not changes:
        return preset
    return dataclasses.replace(preset, pretrain=dataclasses.replace(config, **changes))


def quick(preset: Preset) -> Preset:
    """The same model, one batch shape, few steps: to see that all of it runs."""
    return dataclasses.replace(
        preset,
        pretrain=dataclasses.replace(preset.pretrain, steps=18, buckets=(512,)),
        finetune=dataclasses.replace(preset.finetune, epochs=2),
    )


def preparation(
    preset: Preset,
    *,
    label: str | None = None,
    batch: str | None = None,
    counts: CountChoice = "auto",
    min_feature_fraction: float = MIN_FEATURE_FRACTION,
    seed: int = 0,
) -> PrepareConfig:
    """How cells are prepared for a model of one size; see `PrepareConfig`."""
    return PrepareConfig(
        recipe=dataclasses.replace(
            preset.recipe, counts=counts, min_feature_fraction=min_feature_fraction
        ),
        label=label,
        batch=batch,
        seed=seed,
        peak_tokens=None if preset.pretrain.atac_path == "gene" else "consensus",
    )


def cell_types(
    preset: Preset,
    *,
    label: str,
    batch: str | None = None,
    counts: CountChoice = "auto",
    min_feature_fraction: float = MIN_FEATURE_FRACTION,
    regimes: tuple[Regime, ...] | None = None,
    frozen: bool = False,
    from_scratch: bool = True,
    seed: int | None = None,
) -> CellTypesConfig:
    """All numbers of a cell-type run of one size; see `CellTypesConfig`."""
    return CellTypesConfig(
        prepare=preparation(
            preset,
            label=label,
            batch=batch,
            counts=counts,
            min_feature_fraction=min_feature_fraction,
        ),
        pretrain=preset.pretrain,
        finetune=dataclasses.replace(preset.finetune, frozen=frozen),
        regimes=regimes,
        from_scratch=from_scratch,
        seed=seed,
    )

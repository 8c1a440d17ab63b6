"""The objectives of pre-training, for the vocabulary of a prepared dataset."""

from scmultimodal.data.store import Store
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.tasks.batch_adversary import BatchAdversary, BatchAdversaryConfig
from scmultimodal.tasks.combined import Combined
from scmultimodal.tasks.contrastive import Contrastive, ContrastiveConfig
from scmultimodal.tasks.count_splitting import CountSplitting, CountSplittingConfig
from scmultimodal.tasks.gene_from_peaks import GeneFromPeaks
from scmultimodal.tasks.masked_reconstruction import (
    MaskedReconstruction,
    MaskedReconstructionConfig,
)
from scmultimodal.tasks.task import Task
from scmultimodal.workflows import peak_path, pretrain_batches
from scmultimodal.workflows.pretrain_config import PretrainConfig


def make_task(store: Store, config: PretrainConfig) -> Task:
    """The objective, or the weighted sum of several, for a dataset's vocabulary.

    Raises:
        InputError: counts are to be split, and the dataset's bins are none.
    """
    makers = {
        "masked": (masked_bins, config.mask_weight),
        "counts": (_count_splitting, config.count_weight),
        "contrastive": (_contrastive, config.contrastive_weight),
        "gene_from_peaks": (gene_from_peaks, config.gene_from_peaks.weight),
    }
    asked = {n: (make, weight) for n, (make, weight) in makers.items() if weight}
    tasks = {n: (make(store, config), weight) for n, (make, weight) in asked.items()}
    if config.adversary:
        tasks["adversary"] = (_adversary(store, config), 1.0)
    if len(tasks) == 1:
        return next(iter(tasks.values()))[0]
    return Combined(tasks)


def _count_splitting(store: Store, config: PretrainConfig) -> CountSplitting:
    strategy = store.vocabulary.recipe["strategy"]
    if strategy != "counts":
        raise InputError(
            store.path,
            f"has bins by the strategy {strategy!r}, and count_weight is "
            f"{config.count_weight}",
            "prepare it with the strategy counts, or take another preset or "
            "--count-weight 0",
        )
    return CountSplitting(
        CountSplittingConfig(
            encoder=encoder_config(store, config),
            decoder=config.decoder,
            kept_share=config.kept_share,
            modality_dropout=config.modality_dropout,
        )
    )


def _contrastive(store: Store, config: PretrainConfig) -> Contrastive:
    return Contrastive(
        ContrastiveConfig(
            encoder=encoder_config(store, config), temperature=config.temperature
        )
    )


def _adversary(store: Store, config: PretrainConfig) -> BatchAdversary:
    return BatchAdversary(
        BatchAdversaryConfig(
            encoder=encoder_config(store, config),
            num_batches=_num_batches(store),
            strength=config.adversary,
            peaks_alone=config.sees_peaks_alone,
        )
    )


def masked_bins(store: Store, config: PretrainConfig) -> MaskedReconstruction:
    """The study's objective."""
    return MaskedReconstruction(
        MaskedReconstructionConfig(
            encoder=encoder_config(store, config),
            mask_share=config.mask_share,
            replaced_share=config.replaced_share,
        )
    )


def gene_from_peaks(store: Store, config: PretrainConfig) -> GeneFromPeaks:
    """EpiFoundation's objective; see `peak_path.task`."""
    options = config.gene_from_peaks
    num_batches = _num_batches(store) if options.tell_batch else None
    return peak_path.task(
        store, encoder_config(store, config), options, num_batches=num_batches
    )


def encoder_config(store: Store, config: PretrainConfig) -> CellEncoderConfig:
    """Shape of the trunk, for the vocabulary of a dataset."""
    by_gene = config.atac_path == "gene"
    return CellEncoderConfig(
        num_genes=store.num_genes,
        num_bins=store.vocabulary.recipe["num_bins"],
        tokens=config.tokens,
        path=config.path,
        joint=config.joint,
        depth=config.depth,
        atac_path=config.atac_path,
        peaks=None if by_gene else peak_path.encoder_config(store, config.peaks),
        peak_joint=config.peak_joint,
    )


def _num_batches(store: Store) -> int:
    return int(pretrain_batches.batch_codes(store).max()) + 1

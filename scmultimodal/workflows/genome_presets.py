"""Numbers of the genome model: the study's, and small ones for two CPU cores."""

import dataclasses
from typing import Literal

from scmultimodal.data.region_loading import Turning
from scmultimodal.modules.heads.accessibility import ScorerConfig
from scmultimodal.modules.nucleotide_transformer import NucleotideTransformerConfig
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.workflows.kmer_pretrain import KmerPretrainConfig
from scmultimodal.workflows.ranking_config import RankingConfig, SignalConfig
from scmultimodal.workflows.segmentation_config import SegmentationTrainingConfig

GenomePresetName = Literal["small", "study"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenomePreset:
    """The numbers of one size.

    Attributes:
        kmers: masked-k-mer pre-training.
        signal: training on the signal of windows at random places, before.
        ranking: training by ranking.
        segmentation: training in segmentation.
    """

    kmers: KmerPretrainConfig
    signal: SignalConfig
    ranking: RankingConfig
    segmentation: SegmentationTrainingConfig


STUDY = GenomePreset(
    kmers=KmerPretrainConfig(),
    signal=SignalConfig(),
    ranking=RankingConfig(),
    segmentation=SegmentationTrainingConfig(),
)

_SHAPE = NucleotideTransformerConfig(
    dim=64, num_layers=2, num_heads=4, hidden=128, max_tokens=86
)
_SCORER = ScorerConfig(name="linear", transformer_hidden=64, convolution_hidden=64)
_TURNING = Turning(reverse_complement=True, crop_bp=12)

SMALL = GenomePreset(
    kmers=KmerPretrainConfig(
        shape=_SHAPE,
        window_bp=510,
        steps=2_000,
        batch_size=64,
        evaluate_every=500,
        checkpoint_every=500,
        optimizer=OptimizerConfig(
            learning_rate=2e-3, weight_decay=1e-2, warmup_steps=100
        ),
    ),
    signal=SignalConfig(
        steps=800,
        optimizer=OptimizerConfig(
            learning_rate=1e-3, weight_decay=1e-2, warmup_steps=50
        ),
    ),
    ranking=RankingConfig(
        shape=_SHAPE,
        scorer=_SCORER,
        turning=_TURNING,
        steps=150,
        evaluate_every=50,
        checkpoint_every=150,
        keep_best=None,
        optimizer=OptimizerConfig(
            learning_rate=1e-3, weight_decay=1e-2, warmup_steps=20
        ),
    ),
    segmentation=SegmentationTrainingConfig(
        shape=_SHAPE,
        window_bp=1_200,
        steps=800,
        batch_size=32,
        evaluate_every=100,
        validation_windows=640,
        checkpoint_every=200,
        # Of few steps few bases have a probability above one half.
        keep_best="auprc",
        optimizer=OptimizerConfig(
            learning_rate=1e-3, weight_decay=1e-2, warmup_steps=50
        ),
    ),
)

GENOME_PRESETS: dict[GenomePresetName, GenomePreset] = {"small": SMALL, "study": STUDY}

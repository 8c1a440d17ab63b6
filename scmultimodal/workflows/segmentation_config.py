"""The numbers of a training in segmentation (SPEC 3.4)."""

import dataclasses
import math
from typing import Literal

from scmultimodal.modules.heads.segmentation import SegmentationHeadConfig
from scmultimodal.modules.nucleotide_transformer import NucleotideTransformerConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.training.config import RunningConfig
from scmultimodal.training.optimizers import OptimizerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationTrainingConfig:
    """Training in segmentation; defaults are the study's.

    Attributes:
        shape: of a fresh encoder; of one that is given to start from, `dtype` and
            `remat` alone.
        head: the U-Net.
        vocabulary: of a fresh encoder's tokens; one that is given has its own.
        k: letters of such a token.
        window_bp: length of a window; a multiple of 24 with 6-mers and two levels. In
            longer windows than an encoder is used to its positions are rescaled.
        gamma: of the focal loss; 0 is cross-entropy.
        encoder_rate: the encoder learns at this part of the head's rate; 0 freezes it.
        reverse_complement: shows either strand at random.
        steps: updates in all.
        batch_size: windows of a batch, over all devices.
        evaluate_every: steps between validations; None validates at the end.
        validation_windows: windows validated on, evenly spread and always the same;
            None takes all. The judgement at the end takes all.
        checkpoint_every: steps between checkpoints; None saves at the end.
        keep_best: metric by which the validation windows choose what is kept; None
            keeps the last.
        resume: "auto" goes on where the folder has a checkpoint.
        seed: of the head, of windows and strands.
        optimizer: Adam.
        running: how it runs; changes nothing that is learned, but for rounding.
    """

    shape: NucleotideTransformerConfig = dataclasses.field(
        default_factory=NucleotideTransformerConfig
    )
    head: SegmentationHeadConfig = dataclasses.field(
        default_factory=SegmentationHeadConfig
    )
    vocabulary: Literal["v1", "v2"] = "v2"
    k: int = 6
    window_bp: int = 3_000
    gamma: float = 2.0
    encoder_rate: float = 1.0
    reverse_complement: bool = True
    steps: int = 10_000
    batch_size: int = 256
    evaluate_every: int | None = 500
    validation_windows: int | None = 2_048
    checkpoint_every: int | None = 500
    keep_best: Literal["mcc", "f1", "auprc"] | None = "mcc"
    resume: Literal["auto", "never"] = "auto"
    seed: int = 0
    optimizer: OptimizerConfig = dataclasses.field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=5e-5, weight_decay=0.0, decay="constant"
        )
    )
    running: RunningConfig = dataclasses.field(default_factory=RunningConfig)

    def __post_init__(self):
        self.check_window(self.k)
        if not 0 <= self.encoder_rate < math.inf:
            problem = f"is {self.encoder_rate}"
            raise InputError("encoder_rate", problem, "Give 0 (frozen) or more")
        if self.validation_windows is not None and self.validation_windows < 1:
            problem = f"is {self.validation_windows}"
            raise InputError("validation_windows", problem, "Give 1 or more")

    def check_window(self, k: int) -> None:
        """Raises InputError for windows that k-mers and the U-Net do not fill."""
        unit = self.head.unit_bp(k)
        if self.window_bp < unit or self.window_bp % unit:
            valid = max(1, -(-self.window_bp // unit)) * unit
            raise InputError(
                "window_bp",
                f"is {self.window_bp:,}, no multiple of {unit} (k-mers of {k} letters, "
                f"halved {self.head.num_levels} times)",
                f"Take {valid:,}",
            )

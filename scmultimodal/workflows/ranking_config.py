"""The numbers of a training by ranking (SPEC 3.3)."""

import dataclasses
import math
import typing
from typing import Literal

from scmultimodal.data.region_loading import Turning
from scmultimodal.modules.heads.accessibility import ScorerConfig
from scmultimodal.modules.nucleotide_transformer import NucleotideTransformerConfig
from scmultimodal.ops.ranking import LabelKind, LossName
from scmultimodal.schemas.errors import InputError
from scmultimodal.training.config import RunningConfig
from scmultimodal.training.optimizers import OptimizerConfig

EncoderTraining = Literal["trained", "frozen"]
Outputs = Literal["shared", "per_cell_type", "added"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankingConfig:
    """Training by ranking; defaults are the study's (SPEC 3.3).

    Attributes:
        shape: of a fresh encoder; of one that is given to start from, `dtype` and
            `remat` alone.
        scorer: the head.
        encoder: "trained" with the head, or "frozen".
        outputs: "shared" has one score for all cell types; "per_cell_type" one for
            each, learned together; "added" takes encoder and head of the model that is
            started from as they are, and learns scores of further cell types alone.
        layer_decay: with a trained encoder, each layer below another learns at this
            part of its rate.
        loss: which of Rax's losses.
        labels: what a region's relevance is: its rank in the span, or its value.
        l2: of the weights, in the loss; the study's decay may also be decoupled, as
            the optimiser's is.
        turning: how training varies what it shows of a sequence.
        steps: updates in all.
        batch_size: spans of a batch, over all devices.
        evaluate_every: steps between validations; None validates at the end.
        checkpoint_every: steps between checkpoints; None saves at the end.
        keep_best: metric by which the validation spans choose what is kept; None
            keeps the last.
        resume: "auto" goes on where the folder has a checkpoint.
        seed: of the head, of batches and of what is shown.
        optimizer: Adam, with decoupled weight decay.
        running: how it runs; changes nothing that is learned, but for rounding.
    """

    shape: NucleotideTransformerConfig = dataclasses.field(
        default_factory=NucleotideTransformerConfig
    )
    scorer: ScorerConfig = dataclasses.field(default_factory=ScorerConfig)
    encoder: EncoderTraining = "trained"
    outputs: Outputs = "shared"
    layer_decay: float = 1.0
    loss: LossName = "softmax"
    labels: LabelKind = "ranks"
    l2: float = 0.0
    turning: Turning = dataclasses.field(default_factory=Turning)
    steps: int = 5_000
    batch_size: int = 64
    evaluate_every: int | None = 500
    checkpoint_every: int | None = 500
    keep_best: Literal["full_order", "pairwise", "ndcg", "mrr"] | None = "full_order"
    resume: Literal["auto", "never"] = "auto"
    seed: int = 0
    optimizer: OptimizerConfig = dataclasses.field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=5e-5, weight_decay=1e-3, decay="constant"
        )
    )
    running: RunningConfig = dataclasses.field(default_factory=RunningConfig)

    def __post_init__(self):
        if self.encoder not in typing.get_args(EncoderTraining):
            raise InputError(
                "encoder", f"is {self.encoder!r}", "Choose trained or frozen"
            )
        if self.outputs not in typing.get_args(Outputs):
            raise InputError(
                "outputs", f"is {self.outputs!r}", "Choose shared, per_cell_type, added"
            )
        if not 0 < self.layer_decay <= 1:
            raise InputError(
                "layer_decay", f"is {self.layer_decay}", "Give a number in (0, 1]"
            )
        if not 0 <= self.l2 < math.inf:
            raise InputError("l2", f"is {self.l2}", "Give 0 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SignalConfig:
    """Training on windows at random places, by their signal, before ranking peaks.

    Attributes:
        steps: updates; 0 goes without.
        optimizer: of these.
    """

    steps: int = 0
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)

    def ranking(self, config: RankingConfig) -> RankingConfig:
        """The numbers of this training: those of the ranking, but for its own."""
        return dataclasses.replace(
            config,
            steps=self.steps,
            optimizer=self.optimizer,
            encoder="trained",
            outputs="shared",
            layer_decay=1.0,
            evaluate_every=max(1, self.steps // 4),
            checkpoint_every=max(1, self.steps // 4),
            keep_best=None,
        )

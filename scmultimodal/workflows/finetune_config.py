"""What fine-tuning depends on."""

import dataclasses
from typing import Literal

from scmultimodal.schemas.errors import InputError
from scmultimodal.training.config import RunningConfig
from scmultimodal.training.optimizers import OptimizerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Fine-tuning; defaults are the study's (SPEC 2.5).

    Attributes:
        hidden: widths of the head's hidden layers.
        dropout: rate in the head.
        silent_genes: whether the head reads silent genes where they are tokens.
        token_dropout: share of a cell's values hidden in training.
        thinning: share of a cell's single counts hidden in training; needs bins that
            are counts.
        by_value: the head weighs what a token says by its value.
        skip: adds a linear map of the value bins to the logits, and of the open peaks.
        naive_bayes: that map begins as so much of naive Bayes' log-likelihoods.
        paired: of a model that reads peaks, a further linear map of them begins as so
            much of what they tell of types by the RNA of training cells that have
            both (`evaluation.paired`).
        cell_vector_weight: of a second loss, that the cell's vector alone tells types.
        labels_per_type: training cells of each type whose label is shown; None shows
            all.
        self_training: shows training cells without a label too, with the type that
            naive Bayes gives them by expectation maximisation (`naive_bayes.fit_em`).
        without_types: types whose cells are not shown in training or validation, to
            see what becomes of a type that was not learned.
        epochs: passes over the training cells; the best on validation is kept.
        min_steps: updates at least: as many more passes as that takes.
        batch_size: cells of a batch over all devices.
        frozen: trains the head alone.
        layer_decay: each layer of the encoder learns at so much of the rate of the one
            above it, the embeddings below the first; the top one at the full rate.
        head_rate: of the head, as a share of the learning rate.
        resume: "auto" goes on where the folder has a checkpoint.
        seed: of the head, of batches and of dropout.
        optimizer: AdamW.
        running: how it runs; changes nothing that is learned, but for rounding.
    """

    hidden: tuple[int, ...] = (512, 100)
    dropout: float = 0.0
    silent_genes: bool = True
    token_dropout: float = 0.0
    thinning: float = 0.0
    by_value: bool = False
    skip: bool = False
    naive_bayes: float = 0.0
    paired: float = 0.0
    cell_vector_weight: float = 0.0
    labels_per_type: int | None = None
    self_training: bool = False
    without_types: tuple[str, ...] = ()
    epochs: int = 20
    min_steps: int = 0
    batch_size: int = 256
    frozen: bool = False
    layer_decay: float = 1.0
    head_rate: float = 1.0
    resume: Literal["auto", "never"] = "auto"
    seed: int = 0
    optimizer: OptimizerConfig = dataclasses.field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-4, warmup_steps=50)
    )
    running: RunningConfig = dataclasses.field(default_factory=RunningConfig)

    def __post_init__(self):
        """Raises InputError for values out of range."""
        if not 0 <= self.thinning < 1:
            raise InputError("thinning", f"is {self.thinning}", "Give 0 up to below 1")
        if self.paired < 0:
            raise InputError("paired", f"is {self.paired}", "Give 0 or more")
        for name in ("layer_decay", "head_rate"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise InputError(name, f"is {value}", "Give a share above 0, up to 1")
        if self.naive_bayes < 0 or (self.naive_bayes and not self.skip):
            raise InputError(
                "naive_bayes",
                f"is {self.naive_bayes}, skip is {self.skip}",
                "Give 0 or more, and with more than 0 the skip that it begins",
            )

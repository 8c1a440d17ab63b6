"""What fine-tuning on values of expression depends on."""

import dataclasses
from typing import Literal

from scmultimodal.schemas.errors import check_rules
from scmultimodal.training.config import RunningConfig
from scmultimodal.training.optimizers import OptimizerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneValuesConfig:
    """Fine-tuning that tells values of genes from open peaks; see `tasks.gene_values`.

    The head has the shape of the one that told expression in pre-training.

    Attributes:
        num_queries: genes that a cell is asked about in a step, of those that it
            shows; None asks about all.
        peak_dropout: share of the open peaks hidden in training. Pre-training saw the
            RNA of the same cells: shown whole, they are told by heart.
        tell_batch: tells what answers which batch a cell is of (`obs["batch"]`).
        epochs: passes over the training cells; the best on validation is kept.
        min_steps: updates at least: as many more passes as that takes.
        batch_size: cells of a batch over all devices.
        frozen: trains the head alone.
        resume: "auto" goes on where the folder has a checkpoint.
        seed: of the head, of batches, queries and dropout.
        optimizer: AdamW; the warm-up takes at most a quarter of the steps.
        running: how it runs; changes nothing that is learned, but for rounding.
    """

    num_queries: int | None = 256
    peak_dropout: float = 0.8
    tell_batch: bool = False
    epochs: int = 10
    min_steps: int = 0
    batch_size: int = 128
    frozen: bool = False
    resume: Literal["auto", "never"] = "auto"
    seed: int = 0
    optimizer: OptimizerConfig = dataclasses.field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=1e-3, warmup_steps=30, weight_decay=1e-2
        )
    )
    running: RunningConfig = dataclasses.field(default_factory=RunningConfig)

    def __post_init__(self):
        """Raises InputError for values out of range."""
        rules = {
            "num_queries": (self.num_queries is None or self.num_queries > 0, "1 on"),
            "peak_dropout": (0 <= self.peak_dropout < 1, "0 to below 1"),
            "epochs": (self.epochs > 0, "1 on"),
            "min_steps": (self.min_steps >= 0, "0 or more"),
            "batch_size": (self.batch_size > 0, "1 on"),
        }
        check_rules(self, rules)

"""What pre-training depends on."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from scmultimodal.data.loading import FeatureOrder
from scmultimodal.modules.cell_encoder import PeakJoint
from scmultimodal.modules.heads.counts import CountDecoderConfig
from scmultimodal.modules.joining import Joint
from scmultimodal.modules.performer import PerformerConfig
from scmultimodal.schemas.batches import AtacPath, Tokens
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.training.config import RunningConfig
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.workflows.peak_path import GeneFromPeaksOptions, PeakPathConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Pre-training; defaults are the study's (SPEC 2.3, 2.4).

    Attributes:
        path: shape of each of the two paths.
        joint: how the outputs of the two paths become one; see `CellEncoderConfig`.
        depth: tells tokens how much is seen of their cell; see there.
        tokens: "all" genes; the union of a cell's "nonzero" ones; or these beside
            "static_zeros", the silent genes as all cells share them.
        feature_order: of the genes, where tokens are all genes.
        buckets: numbers of tokens that a batch may be padded to; fewer compile faster,
            more pad less. None takes a ladder with two rungs an octave.
        mask_share: of the non-zero values, the share to predict.
        replaced_share: of those, the share that becomes the mask value.
        mask_weight: of the loss of masked bins.
        count_weight: of the loss of counts that the encoder did not see, told from the
            cell's vector; above 0 it needs bins by the strategy "counts".
        kept_share: of those counts, the share that it does see.
        contrastive_weight: of the loss of telling which RNA belongs to which ATAC
            profile, by the vectors of each path alone, among the cells of a batch that
            are on one device: more devices make it easier.
        temperature: that its cosines are divided by.
        modality_dropout: of a cell with both modalities, how often one is not shown.
        adversary: strength of a gradient that keeps a cell's batch (`obs["batch"]`) out
            of its vector; 0 lets it be.
        decoder: what tells counts from the cell's vector.
        atac_path: whether ATAC is encoded by values of genes, by the open peaks
            themselves, or by both.
        peaks: the path of peaks, where there is one.
        peak_joint: how genes and peaks become one; see `CellEncoderConfig`.
        gene_from_peaks: telling expression from peaks; its weight, and what is asked.
        mixing: "round_robin" over RNA-only, ATAC-only and multiome batches, or the
            weights of those that there are to be; a modality that is in none of them
            has no path in the model.
        dataset_weights: share of each dataset in a batch, where it has cells of its
            kind; None takes cells as there are. A small one comes round more often.
        batch_size: cells of a batch over all devices; a batch is of one kind.
        steps: updates in all.
        evaluate_every: steps between validations.
        checkpoint_every: steps between checkpoints; None saves at the end.
        resume: "auto" goes on where the folder has a checkpoint.
        seed: of parameters, batches and masks.
        optimizer: AdamW; the warm-up takes at most a quarter of the steps.
        running: how it runs; changes nothing that is learned, but for rounding.
    """

    path: PerformerConfig = dataclasses.field(default_factory=PerformerConfig)
    joint: Joint = "mean"
    depth: bool = False
    tokens: Tokens = "all"
    feature_order: FeatureOrder = "fixed"
    buckets: tuple[int, ...] | None = None
    mask_share: float = 0.15
    replaced_share: float = 0.9
    mask_weight: float = 1.0
    count_weight: float = 0.0
    kept_share: float = 0.5
    modality_dropout: float = 0.5
    contrastive_weight: float = 0.0
    temperature: float = 0.1
    adversary: float = 0.0
    decoder: CountDecoderConfig = dataclasses.field(default_factory=CountDecoderConfig)
    atac_path: AtacPath = "gene"
    peaks: PeakPathConfig = dataclasses.field(default_factory=PeakPathConfig)
    peak_joint: PeakJoint = "mean"
    gene_from_peaks: GeneFromPeaksOptions = dataclasses.field(
        default_factory=GeneFromPeaksOptions
    )
    mixing: Literal["round_robin"] | Mapping[Regime, float] = "round_robin"
    dataset_weights: Mapping[str, float] | None = None
    batch_size: int = 256
    steps: int = 10_000
    evaluate_every: int | None = None
    checkpoint_every: int | None = None
    resume: Literal["auto", "never"] = "auto"
    seed: int = 0
    optimizer: OptimizerConfig = dataclasses.field(
        default_factory=lambda: OptimizerConfig(warmup_steps=500)
    )
    running: RunningConfig = dataclasses.field(default_factory=RunningConfig)

    def __post_init__(self):
        """Raises InputError where nothing is to be learned."""
        names = ("mask_weight", "count_weight", "contrastive_weight")
        weights = {name: getattr(self, name) for name in names}
        weights["gene_from_peaks.weight"] = self.gene_from_peaks.weight
        if min(weights.values()) < 0 or not any(weights.values()):
            raise InputError(
                "weights", f"are {weights}", "Give one above 0, and none below"
            )
        if self.adversary < 0:
            raise InputError("adversary", f"is {self.adversary}", "Give 0 or more")
        if self.gene_from_peaks.weight and self.atac_path == "gene":
            raise InputError(
                "gene_from_peaks.weight",
                f"is {self.gene_from_peaks.weight}, and atac_path is 'gene'",
                "Give --atac-path peak or both",
            )
        if self.atac_path == "both" and self.sees_peaks_alone:
            raise InputError(
                "atac_path",
                "is 'both', and of mask_weight, count_weight and contrastive_weight "
                "none is above 0: nothing shows the model values of genes",
                "Give one above 0, or --atac-path peak",
            )
        if self.peaks.dna is not None and self.atac_path == "gene":
            raise InputError(
                "peaks.dna",
                "is given, and atac_path is 'gene', which reads no peaks",
                "Give --atac-path peak or both",
            )
        if self.adversary and self.gene_from_peaks.cell_type_weight:
            raise InputError(
                "adversary",
                "takes the place of the types that gene_from_peaks.cell_type_weight "
                "asks for",
                "Give one of them 0",
            )

    @property
    def sees_peaks_alone(self) -> bool:
        """Whether no objective shows the encoder a gene."""
        return not (self.mask_weight or self.count_weight or self.contrastive_weight)

    @property
    def with_labels(self) -> bool:
        """Whether some objective asks for the labels of cells."""
        return bool(self.adversary or self.gene_from_peaks.cell_type_weight)

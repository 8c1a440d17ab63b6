"""The kinds of runs that can be read again: how each is told, and what it leaves."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from scmultimodal.evaluation.comparison import Score
from scmultimodal.workflows import run_scores

SUMMARY = "summary.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of run.

    Attributes:
        title: heads its section.
        told_by: a key of `config.json` that runs of this kind have.
        never_with: a key that none has.
        scores: name of the run, content of the file -> its scores by part.
        file: that holds what it reached.
        metrics: what to draw.
        by_class: metric to show class by class.
        text: what a reader should know.
    """

    title: str
    told_by: str
    never_with: str = ""
    scores: Callable[[str, Any], dict[str, list[Score]]]
    file: str = SUMMARY
    metrics: tuple[str, ...]
    by_class: str = ""
    text: str = ""


# The first that fits: a study of several kinds of training has the keys of each.
KINDS: Mapping[str, Kind] = {
    "cell_types": Kind(
        title="Cell types",
        told_by="from_scratch",
        scores=run_scores.cell_types,
        metrics=("accuracy", "macro_f1"),
        by_class="f1",
        text="Test cells by modality. Baselines are shaded.",
    ),
    "ranking_grid": Kind(
        title="Region ranking, out of fold",
        told_by="folds",
        scores=run_scores.rankings,
        metrics=("full_order", "pairwise"),
        text="Spans with all regions in the right order; chance is .167.",
    ),
    "encoders": Kind(
        title="Segmentation by encoder",
        told_by="spans_v1",
        scores=run_scores.encoders,
        metrics=("auprc", "mcc"),
        by_class="auprc",
        text="Means over the elements that can be judged, and over seeds.",
    ),
    "segmentation": Kind(
        title="Segmentation",
        told_by="segmentation",
        scores=run_scores.segmentation,
        metrics=("auprc", "mcc"),
        by_class="auprc",
        text="Means over the elements that can be judged.",
    ),
    "ranking": Kind(
        title="Region ranking",
        told_by="ranking",
        scores=run_scores.rankings,
        metrics=("full_order", "pairwise"),
        text="Spans with all regions in the right order; chance is .167.",
    ),
    "kmers": Kind(
        title="Pre-training on masked k-mers",
        told_by="kmers",
        scores=run_scores.kmer_losses,
        file="losses.json",
        metrics=("loss",),
        text="Loss of hidden k-mers of held-out windows in nats, beside that of tables "
        "of frequencies.",
    ),
    "pretraining": Kind(
        title="Pre-training of cells",
        told_by="pretrain",
        never_with="finetune",
        scores=run_scores.nothing,
        metrics=("loss",),
        text="Validation cells at the last step. Losses of different objectives (see "
        "mask_weight, count_weight, contrastive_weight, adversary and mask_share) are "
        "different things.",
    ),
}

"""The kinds of runs that can be read again: how each is told, and what it leaves."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from scmultimodal.evaluation.comparison import Score
from scmultimodal.evaluation.report import Table
from scmultimodal.workflows import (
    explanation_files,
    perturbation_results,
    provenance,
    run_answers,
    run_scores,
)

SUMMARY = "summary.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of run.

    Attributes:
        title: heads its section.
        told_by: a key of `config` that runs of this kind have.
        never_with: a key that none has.
        scores: name of the run, content of the file -> its scores by part.
        file: that holds what it reached.
        metrics: what to draw; none where nothing is judged.
        by_class: metric to show class by class.
        text: what a reader should know.
        config: file that tells command and settings.
        answers: keys of it that are no settings but what was found.
        tables: content of `config` -> tables of it.
        pictures: files that are shown where the run has them -> what they show.
    """

    title: str
    told_by: str
    never_with: str = ""
    scores: Callable[[str, Any], dict[str, list[Score]]]
    file: str = SUMMARY
    metrics: tuple[str, ...]
    by_class: str = ""
    text: str = ""
    config: str = provenance.CONFIG
    answers: tuple[str, ...] = ()
    tables: Callable[[Mapping[str, Any]], list[Table]] | None = None
    pictures: Mapping[str, str] = dataclasses.field(default_factory=dict)


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
    "gene_values": Kind(
        title="Expression from open peaks",
        told_by="gene_values",
        scores=run_scores.gene_values,
        metrics=("mse", "gene_pearson"),
        text="Values of the genes that cells show: squared error, and correlation over "
        "the cells that show a gene. Rivals are shaded: they know the gene's mean, the "
        "number of open peaks, and the type that naive Bayes on peaks gives the cell.",
    ),
    "batch_correction": Kind(
        title="Batches out of vectors",
        told_by="batch_correction",
        scores=run_scores.integration,
        metrics=("biology", "batches", "total"),
        text="Vectors of test cells by scib-metrics, before and after: whether types "
        "stay apart, whether batches mix. Components of the peaks are shaded.",
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
    "perturbation": Kind(
        title="Perturbation in silico",
        told_by="perturbed",
        scores=run_scores.nothing,
        metrics=(),
        text="How far cells' vectors move where a gene is changed, mean over the cells "
        "that the change has changed, and the genes of which what is told changes "
        "most: their expected share of the cell's counts, or, by a model that tells "
        "RNA from open peaks, how likely they are expressed. Vectors of two models "
        "have no common measure: compare shifts of one model.",
        config=perturbation_results.REPORT,
        answers=("perturbed",),
        tables=run_answers.perturbed,
        pictures={
            "shifts.png": "How far cells move.",
            "rna.png": "Change of the RNA that is expected.",
            "atac.png": "Change of the ATAC that is expected.",
        },
    ),
    "explanation": Kind(
        title="What a model looks at",
        told_by="neighbours",
        scores=run_scores.nothing,
        metrics=(),
        text="Gradient × input: what a gene or an open peak adds to the logit of a "
        "cell's type, less what it adds to the mean of all types, mean over the cells "
        "of the type. Peaks are named by the gene whose start is nearest. It "
        "says what the classifier reads, not what makes a cell what it is.",
        config=explanation_files.REPORT,
        answers=("neighbours", "cells", "top_genes", "top_peaks"),
        tables=run_answers.explained,
        pictures={
            "rna.png": "The strongest genes of each type, RNA.",
            "atac.png": "The strongest genes of each type, ATAC.",
            "peaks.png": "The strongest open peaks of each type.",
        },
    ),
}

"""What each part of `best` is worth, and what was tried and left out.

On validation cells alone. All cells are taken unless told otherwise.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.evaluation import classifiers
from experiments.evaluation.cases import Case
from experiments.evaluation.tables import Entry, Section
from experiments.evaluation.variants import vary
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows.presets import BEST

FROM_SCRATCH: Mapping[str, Mapping[str, Any]] = {
    "best": {},
    "bins of the cell's own values for counts": {
        "recipe.strategy": "gene_normalized",
        "pretrain.mask_weight": 1.0,
        "pretrain.count_weight": 0.0,
    },
    "tokens that do not weigh by value": {"finetune.by_value": False},
    "the skip begins at zero": {"finetune.naive_bayes": 0.0},
    "the skip begins at .15 of naive Bayes": {"finetune.naive_bayes": 0.15},
    "the skip begins at .5 of naive Bayes": {"finetune.naive_bayes": 0.5},
    "the skip begins at naive Bayes": {"finetune.naive_bayes": 1.0},
    "no skip": {"finetune.naive_bayes": 0.0, "finetune.skip": False},
    "no token dropout": {"finetune.token_dropout": 0.0},
    "half of the counts hidden, for token dropout": {
        "finetune.token_dropout": 0.0,
        "finetune.thinning": 0.5,
    },
    "a quarter of the counts hidden, too": {"finetune.thinning": 0.25},
    "dropout of .3 in the head": {"finetune.dropout": 0.3},
    "the cell's vector learns types, too": {"finetune.cell_vector_weight": 1.0},
    "running mean of the weights": {"finetune.optimizer.average": 0.99},
    "the head at a tenth of the rate": {"finetune.head_rate": 0.1},
    "tokens that know the cell's depth": {"pretrain.depth": True},
    "one layer of FAVOR+": {"pretrain.path.num_layers": 1},
    "two layers of FAVOR+": {"pretrain.path.num_layers": 2},
    "one layer of exact attention": {
        "pretrain.path.num_layers": 1,
        "pretrain.path.attention": "exact",
    },
    "one layer, embeddings at three tenths of the rate": {
        "pretrain.path.num_layers": 1,
        "finetune.layer_decay": 0.3,
    },
}
PRE_TRAINED: Mapping[str, Mapping[str, Any]] = {
    "pre-trained by count splitting": {},
    "pre-trained by count splitting, one layer": {"pretrain.path.num_layers": 1},
    "the same, embeddings at three tenths of the rate": {
        "pretrain.path.num_layers": 1,
        "finetune.layer_decay": 0.3,
    },
    "pre-trained by masked bins, one layer": {
        "pretrain.path.num_layers": 1,
        "pretrain.mask_weight": 1.0,
        "pretrain.count_weight": 0.0,
    },
}


def entries(case: Case, folder: Path) -> list[Entry]:
    """Each variant on the validation cells of a case."""
    found = []
    for name, changes in FROM_SCRATCH.items():
        job = classifiers.trained(case, vary(BEST, changes), folder)
        found.append(Entry(row={"model": name}, job=job, within=("validation",)))
    only = {"pretrain.mixing": {case.regime: 1.0}}
    for name, changes in PRE_TRAINED.items():
        preset = vary(BEST, {**only, **changes})
        start = classifiers.pretraining(case, preset, folder)
        job = classifiers.trained(case, preset, folder, start=start)
        found.append(Entry(row={"model": name}, job=job, within=("validation",)))
    return found


SECTION = Section(
    about="parts of `best` changed one at a time: validation cells, gains over it",
    entries=entries,
    regimes=(Regime.RNA, Regime.ATAC),
    references=("best",),
)

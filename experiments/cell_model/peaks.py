"""Open peaks as tokens, EpiFoundation's way, beside what is simple and the genes' path.

    python -m experiments.train cell_model.peaks --out runs/peaks
    python -m experiments.train cell_model.peaks --preset study --out runs/epifoundation

A trunk of open peaks learns to tell the paired expression of training cells, then types
of cells by ATAC alone. Beside it: its control without pre-training; `best`, which reads
gene-level values; on the peaks themselves naive Bayes, and TF-IDF, SVD and logistic
regression. Every seed is a split of its own. `--preset study` has EpiFoundation's
sizes, any other those of two CPU cores: about ten minutes for each seed. The run goes
on where it stopped. Cells without RNA (`--data.dataset`) pre-train by hidden peaks.

Expected on mouse cortex, five splits: .628 ± .007 accuracy and .431 ± .012 macro-F1,
where naive Bayes on peaks has .591 and .367. Without pre-training it is .628 and .430:
the maps past the trunk, which begin as naive Bayes and as what paired RNA teaches,
bring all of it.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from experiments.cell_model import data, token_modes
from experiments.cell_model.data import DataConfig
from experiments.study import CellStudyConfig
from scmultimodal.data import atomic
from scmultimodal.data.store import Store
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.singlecell.recipe import RecipeConfig
from scmultimodal.weights.export import StoredModel
from scmultimodal.workflows import finetune, judge, presets, pretrain, provenance
from scmultimodal.workflows.finetune_config import FinetuneConfig
from scmultimodal.workflows.presets import Preset, PresetName
from scmultimodal.workflows.pretrain_config import PretrainConfig

OURS, SCRATCH, BY_GENE = "peaks", "peaks_from_scratch", "gene_level_best"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(CellStudyConfig):
    """All numbers of a comparison."""

    seeds: tuple[int, ...] = (0,)
    """Of split, parameters and batches; every one is a run of its own."""
    gene_level: bool = True
    """Also train `best` on gene-level values."""
    data: DataConfig
    """Which cells; they have peaks and types, and some of them RNA."""
    recipe: RecipeConfig
    """How counts become bins."""
    pretrain: PretrainConfig
    """Pre-training on peaks; the seed is set by `seeds`."""
    finetune: FinetuneConfig
    """Fine-tuning; the seed is set by `seeds`."""


def default(preset: PresetName) -> Study:
    """The numbers of a preset; `out` is left to the command line."""
    numbers = presets.EPIFOUNDATION if preset == "study" else presets.PEAKS
    return Study(
        out=tyro.MISSING,
        preset=preset,
        data=DataConfig(),
        recipe=numbers.recipe,
        pretrain=numbers.pretrain,
        finetune=numbers.finetune,
    )


def run(study: Study) -> None:
    """Trains what is not trained yet, judges, and prints the table."""
    plain = default(study.preset)
    for name in ("pretrain", "finetune"):
        if getattr(study, name).seed != getattr(plain, name).seed:
            raise InputError(
                f"--{name}.seed", "is not read by this study", "give --seeds"
            )
    if study.pretrain.atac_path == "gene":
        raise InputError(
            "--pretrain.atac-path", "is 'gene'", "give peak or both to this study"
        )
    config = configs.to_json(study) | {"pretrain": pretrain.written(study.pretrain)}
    provenance.check_config(study.out, config, resume=True)
    provenance.write_config(study.out, config)
    scores = [row for seed in study.seeds for row in _scores(study, seed)]
    print(f"\n{token_modes.format_scores(scores)}\n")
    path = study.out / "summary.json"
    atomic.write_text(path, json.dumps({"scores": scores}, indent=1) + "\n")
    print(f"summary {path}")


def _scores(study: Study, seed: int) -> list[dict[str, Any]]:
    """A row for each model, baselines too; kept once they are there."""
    out = study.out / f"seed_{seed}"
    done = out / "scores.json"
    if done.is_file():
        return json.loads(done.read_text())
    store = _prepare(study, out / "data", seed)
    models = _trained(study, store, seed, out)
    found = judge.run(store, Regime.ATAC, models, seed=seed)
    peaks = store.peak_matrix().rows(np.arange(store.num_cells), "counts")
    simple = judge.peak_results(store, peaks, seed=seed)
    results = [*found.results, *(one.as_result(Regime.ATAC) for one in simple)]
    rows = [result.as_row() | {"seed": seed} for result in results]
    atomic.write_text(done, json.dumps(rows, indent=1) + "\n")
    return rows


def _prepare(study: Study, out: Path, seed: int) -> Store:
    given = Store.find(study.data.dataset)
    if given is not None:
        return Store.open(given)
    return data.prepare(
        study.data, study.recipe, out, seed=seed, peak_tokens="consensus"
    )


def _trained(
    study: Study, store: Store, seed: int, out: Path
) -> dict[str, StoredModel]:
    """Classifiers of ATAC, by name."""
    asked = Preset(
        pretrain=study.pretrain, finetune=study.finetune, recipe=study.recipe
    )
    fit = presets.for_cells(asked, store)
    numbers = dataclasses.replace(fit.pretrain, seed=seed)
    tuning = dataclasses.replace(fit.finetune, seed=seed)
    start = pretrain.run(store, numbers, out / "pretrain")
    models = {OURS: finetune.run(store, start, tuning, Regime.ATAC, out / OURS)}
    models[SCRATCH] = finetune.run(
        store, start, tuning, Regime.ATAC, out / SCRATCH, from_scratch=True
    )
    if study.gene_level:
        best = presets.BEST
        shape = dataclasses.replace(best.pretrain, seed=seed)
        models[BY_GENE] = finetune.run(
            store,
            pretrain.untrained(store, shape),
            dataclasses.replace(best.finetune, seed=seed),
            Regime.ATAC,
            out / BY_GENE,
            from_scratch=True,
        )
    return models

"""All genes as tokens, the non-zero ones, or these beside static zeros: cost and worth.

    python -m experiments.train cell_model.token_modes --out runs/tokens

Each is pre-trained and fine-tuned alike, with several seeds of split, parameters and
batches, and judged on the test cells beside the baselines. Then the steps of
pre-training are timed, one of each in turn, on one device and on real batches, and the
compiler is asked for their memory. The run goes on where it stopped.
"""

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro

from experiments.cell_model import data, step_cost
from experiments.cell_model.data import DataConfig
from experiments.cell_model.step_cost import StepCost
from experiments.study import CellStudyConfig
from scmultimodal.data import atomic
from scmultimodal.data.store import Store
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import TOKENS, Tokens
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.singlecell.recipe import RecipeConfig
from scmultimodal.weights.export import StoredModel
from scmultimodal.workflows import (
    finetune,
    judge,
    presets,
    pretrain,
    provenance,
)
from scmultimodal.workflows.finetune_config import FinetuneConfig
from scmultimodal.workflows.presets import PresetName
from scmultimodal.workflows.pretrain_config import PretrainConfig

SHOWN = ("accuracy", "macro_f1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(CellStudyConfig):
    """All numbers of a comparison."""

    modes: tuple[Tokens, ...] = TOKENS
    """Which genes of a cell are its tokens."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of split, parameters and batches; every one is a run of its own."""
    regimes: tuple[Regime, ...] = (Regime.RNA, Regime.ATAC, Regime.MULTIOME)
    """What classifiers see."""
    turns: int = 5
    """Timed steps of each, after one that warms up."""
    data: DataConfig
    """Which cells."""
    recipe: RecipeConfig
    """How counts become bins."""
    pretrain: PretrainConfig
    """Pre-training; tokens and seed are set by `modes` and `seeds`."""
    finetune: FinetuneConfig
    """Fine-tuning; the seed is set by `seeds`."""


def default(preset: PresetName) -> Study:
    """The numbers of a preset; `out` is left to the command line."""
    numbers = presets.PRESETS[preset]
    return Study(
        out=tyro.MISSING,
        preset=preset,
        data=DataConfig(),
        recipe=numbers.recipe,
        pretrain=numbers.pretrain,
        finetune=numbers.finetune,
    )


def run(study: Study) -> None:
    """Trains what is not trained yet, judges, times, draws and prints the table."""
    from scmultimodal.evaluation.figures import trade_off

    _refuse_unread(study)
    config = configs.to_json(study)
    provenance.check_config(study.out, config, resume=True)
    provenance.write_config(study.out, config)
    scores = [row for seed in study.seeds for row in _scores(study, seed)]
    costs = step_cost.measure(
        Store.open(_folder(study, study.seeds[0]) / "data"),
        {
            mode: dataclasses.replace(study.pretrain, tokens=mode)
            for mode in study.modes
        },
        turns=study.turns,
    )
    print(f"\n{format_costs(costs)}\n\n{format_scores(scores)}\n")
    picture = trade_off.draw(
        {mode: cost.seconds for mode, cost in costs.items()},
        scores,
        study.out / "tokens.png",
        title=f"Tokens of a cell, {study.data.dataset}",
    )
    summary = {
        "costs": {m: configs.to_json(c) for m, c in costs.items()},
        "scores": scores,
    }
    atomic.write_text(study.out / "summary.json", json.dumps(summary, indent=1) + "\n")
    print(f"figure  {picture}\nsummary {study.out / 'summary.json'}")


def format_costs(costs: Mapping[str, StepCost]) -> str:
    """What a step of each takes, as Markdown."""
    slowest = max(cost.seconds for cost in costs.values())
    lines = [
        "| tokens | a cell | ms per step | times as fast | temporary MB |",
        "|---|---:|---:|---:|---:|",
    ]
    for mode, cost in costs.items():
        lines.append(
            f"| {mode} | {cost.tokens:,.0f} | {1e3 * cost.seconds:,.0f} | "
            f"{slowest / cost.seconds:.1f} | {cost.temporary_mb:,.0f} |"
        )
    return "\n".join(lines)


def format_scores(scores: Sequence[Mapping[str, Any]]) -> str:
    """Mean and standard deviation over seeds, as Markdown."""
    seeds = len({row["seed"] for row in scores})
    lines = [
        f"| modality | model | accuracy, {seeds} seed(s) | macro-F1 |",
        "|---|---|---:|---:|",
    ]
    for regime, model in dict.fromkeys((r["modality"], r["model"]) for r in scores):
        mine = [r for r in scores if (r["modality"], r["model"]) == (regime, model)]
        cells = [_spread([row[name] for row in mine]) for name in SHOWN]
        lines.append(f"| {regime} | {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    sd = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{sd}"


def _refuse_unread(study: Study) -> None:
    plain = default(study.preset)
    for name, given, unread in (
        ("--pretrain.tokens", study.pretrain.tokens, plain.pretrain.tokens),
        ("--pretrain.seed", study.pretrain.seed, plain.pretrain.seed),
        ("--finetune.seed", study.finetune.seed, plain.finetune.seed),
    ):
        if given != unread:
            raise InputError(
                name, "is not read by this study", "give --modes and --seeds"
            )


def _folder(study: Study, seed: int) -> Path:
    return study.out / f"seed_{seed}"


def _scores(study: Study, seed: int) -> list[dict[str, Any]]:
    """A row for each modality and model, baselines too; kept once they are there."""
    out = _folder(study, seed)
    done = out / "scores.json"
    if done.is_file():
        return json.loads(done.read_text())
    store = data.prepare(study.data, study.recipe, out / "data", seed=seed)
    models = {
        mode: _trained(study, store, seed, mode, out / mode) for mode in study.modes
    }
    rows = [
        result.as_row() | {"seed": seed}
        for regime in study.regimes
        for result in judge.run(
            store,
            regime,
            {mode: tuned[regime] for mode, tuned in models.items()},
            seed=seed,
        ).results
    ]
    atomic.write_text(done, json.dumps(rows, indent=1) + "\n")
    return rows


def _trained(
    study: Study, store: Store, seed: int, mode: Tokens, out: Path
) -> dict[Regime, StoredModel]:
    """A classifier of each modality."""
    numbers = dataclasses.replace(study.pretrain, tokens=mode, seed=seed)
    start = pretrain.run(store, numbers, out / "pretrain")
    numbers = dataclasses.replace(study.finetune, seed=seed)
    return {
        regime: finetune.run(store, start, numbers, regime, out / regime)
        for regime in study.regimes
    }

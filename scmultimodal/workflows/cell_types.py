"""From raw counts to judged cell-type models: what `demo` and `finetune` run.

prepare → mixed pre-training on the training cells (or a given model) → fine-tuning of
each modality, pre-trained and from scratch → baselines → report and exported model.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from scmultimodal.data.store import Store
from scmultimodal.evaluation import summary
from scmultimodal.evaluation.summary import Result
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.weights import export
from scmultimodal.workflows import (
    finetune,
    judge,
    prepare,
    pretrain,
    provenance,
    reporting,
)
from scmultimodal.workflows.finetune import FinetuneConfig
from scmultimodal.workflows.prepare import PrepareConfig
from scmultimodal.workflows.pretrain import PretrainConfig

OURS, SCRATCH = "scmultimodal", "scmultimodal_from_scratch"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellTypesConfig:
    """All numbers of a run.

    Attributes:
        prepare: preprocessing and split.
        pretrain: used where no model is given.
        finetune: used for every modality.
        regimes: what to judge; None takes all that the data have.
        from_scratch: also trains each classifier from a fresh trunk, as a control.
        seed: of split, parameters, batches and baselines.
    """

    prepare: PrepareConfig
    pretrain: PretrainConfig
    finetune: FinetuneConfig
    regimes: tuple[Regime, ...] | None = None
    from_scratch: bool = True
    seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to.

    Attributes:
        summary: content of `summary.json`.
        results: test scores.
        report: the page to look at.
    """

    summary: Mapping[str, Any]
    results: tuple[Result, ...]
    report: Path


def run(
    data: Any,
    genes: pd.DataFrame,
    config: CellTypesConfig,
    out: Path,
    *,
    name: str,
    command: str,
    simulated: bool = False,
    model: export.StoredModel | None = None,
) -> Outcome:
    """Runs all of it into one self-contained folder.

    Args:
        data: MuData or AnnData with raw counts and a label column.
        genes: as from `genome.read_genes`.
        config: all numbers.
        out: run folder.
        name: of the data.
        command: that repeats this run; for the report.
        simulated: whether the data are made up; said in every table and picture.
        model: a pre-trained model to start from; its vocabulary is used.

    Raises:
        InputError: data or folder that break a rule.
    """
    config = _seeded(config)
    store = prepare.run(
        data,
        genes,
        config.prepare,
        out / "data",
        provenance={"name": name, "simulated": simulated},
        vocabulary=None if model is None else model.vocabulary,
    )
    regimes = _regimes(store, config, model)
    provenance.write_config(out, {"command": command, **configs.to_json(config)})
    if model is None:
        model = pretrain.run(store, config.pretrain, out / "pretrain")
    tuned, judgements = {}, {}
    for regime in regimes:
        tuned[regime] = _finetune(store, model, config, regime, out)
        judgements[regime] = judge.run(store, regime, tuned[regime], seed=config.seed)
    main = regimes[-1]
    export.save(tuned[main][OURS], out / "model")
    results = tuple(r for j in judgements.values() for r in j.results)
    written = summary.write_summary(
        out / "summary.json",
        dataset=name,
        seed=config.seed,
        split={s: len(store.split(s)) for s in summary.SPLITS},
        left_out=store.manifest["report"]["left_out"],
        results=results,
        simulated=simulated,
        validation={
            str(regime): dict(judgement.notes)
            for regime, judgement in judgements.items()
        },
    )
    report = reporting.write(
        out,
        store,
        judgements=judgements,
        models={"pre-trained": model, "fine-tuned": tuned[main][OURS]},
        shown=main,
        command=command,
        summary=written,
    )
    return Outcome(summary=written, results=results, report=report)


def _seeded(config: CellTypesConfig) -> CellTypesConfig:
    """One seed for all parts."""
    return dataclasses.replace(
        config,
        prepare=dataclasses.replace(config.prepare, seed=config.seed),
        pretrain=dataclasses.replace(config.pretrain, seed=config.seed),
        finetune=dataclasses.replace(config.finetune, seed=config.seed),
    )


def _regimes(
    store: Store, config: CellTypesConfig, model: export.StoredModel | None
) -> tuple[Regime, ...]:
    """What to judge: all that data and model have, or what was asked for."""
    has = {m for m in Modality if m in store.modalities}
    if model is not None:
        has &= {Modality(m) for m in model.config.modalities}
    possible = tuple(r for r in Regime if set(r.modalities) <= has)
    wanted = config.regimes or possible
    for regime in wanted:
        if regime not in possible:
            raise InputError(
                store.manifest["provenance"]["name"],
                f"{regime} was asked for, but data and model share "
                f"{' and '.join(sorted(has)) or 'no modality'}",
                f"choose --modality {' or '.join(possible) or 'of other data'}",
            )
    if not wanted:
        raise InputError(
            store.manifest["provenance"]["name"],
            "data and model share no modality",
            "give a model that was trained on a modality of the data",
        )
    return tuple(wanted)


def _finetune(
    store: Store,
    model: export.StoredModel,
    config: CellTypesConfig,
    regime: Regime,
    out: Path,
) -> dict[str, export.StoredModel]:
    tuned = {
        OURS: finetune.run(
            store, model, config.finetune, regime, out / "finetune" / regime
        )
    }
    if config.from_scratch:
        tuned[SCRATCH] = finetune.run(
            store,
            model,
            dataclasses.replace(config.finetune, frozen=False),
            regime,
            out / "from_scratch" / regime,
            from_scratch=True,
        )
    return tuned

"""From raw counts to judged cell-type models: what `demo` and `finetune` run.

prepare → mixed pre-training on the training cells (or a given model) → fine-tuning of
each modality, pre-trained and from scratch → baselines → report and exported model.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.data.store import Store
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.evaluation import store_report, summary
from scmultimodal.evaluation.summary import Result
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.singlecell.readers import have_pairs, split_modalities
from scmultimodal.weights import export
from scmultimodal.workflows import (
    finetune,
    finetune_skip,
    judge,
    judged,
    prepare,
    pretrain,
    provenance,
    reporting,
)
from scmultimodal.workflows.finetune_config import FinetuneConfig
from scmultimodal.workflows.prepare_config import PrepareConfig
from scmultimodal.workflows.pretrain_config import PretrainConfig
from scmultimodal.workflows.stages import stage

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
        seed: of split, parameters, batches and baselines; None leaves each part its
            own.
    """

    prepare: PrepareConfig
    pretrain: PretrainConfig
    finetune: FinetuneConfig
    regimes: tuple[Regime, ...] | None = None
    from_scratch: bool = True
    seed: int | None = None


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
    regimes = _regimes(data, name, config, model)
    written = {"command": command, "data": name, **configs.to_json(config)}
    resume = config.pretrain.resume == config.finetune.resume == "auto"
    provenance.check_config(out, written, resume=resume)
    store = prepare_cells(
        data,
        genes,
        config.prepare,
        out / "data",
        name=name,
        simulated=simulated,
        vocabulary=None if model is None else model.vocabulary,
        peaks=None if model is None else model.peaks,
    )
    if model is not None:
        provenance.check_split(
            store,
            model.config.provenance,
            remedy="Give the --label and --seed of its pre-training",
        )
    provenance.write_config(out, written)
    if model is None:
        with stage("pre-train") as found:
            model = pretrain.run(store, config.pretrain, out / "pretrain")
            found.append(f"{config.pretrain.steps:,} steps")
    tunings = {
        regime: finetune_skip.for_cells(config.finetune, store, model, regime)
        for regime in regimes
    }
    fitted = {
        f"finetune {regime}": changed
        for regime, tuning in tunings.items()
        if (changed := provenance.fitted(config.finetune, tuning))
    }
    if fitted:
        provenance.write_config(out, {**written, provenance.FITTED: fitted})
    tuned, judgements = {}, {}
    for regime in regimes:
        tuned[regime] = _finetune(
            store,
            model,
            dataclasses.replace(config, finetune=tunings[regime]),
            regime,
            out,
        )
        with stage(f"judge {regime}") as found:
            result = judge.run(store, regime, tuned[regime], seed=config.finetune.seed)
            found.append(f"{len(result.cells):,} test cells")
        judgements[regime] = result
    tested = {
        str(regime): judged.types(store, judgement.cells, judgement.predictions)
        for regime, judgement in judgements.items()
    }
    judged.write(out, tested)
    main = regimes[-1]
    export.save(tuned[main][OURS], out / "model")
    results = tuple(r for j in judgements.values() for r in j.results)
    scores = summary.write_summary(
        out / "summary.json",
        dataset=name,
        seed=config.prepare.seed,
        split={s: len(store.split(s)) for s in summary.SPLITS},
        left_out=store.manifest["report"]["left_out"],
        results=results,
        simulated=simulated,
        validation={
            str(regime): dict(judgement.notes)
            for regime, judgement in judgements.items()
        },
    )
    with stage("report"):
        report = reporting.write(
            out,
            store,
            judgements=judgements,
            models={"pre-trained": model, "fine-tuned": tuned[main][OURS]},
            shown=main,
            summary=scores,
        )
    return Outcome(summary=scores, results=results, report=report)


def prepare_cells(
    data: Any,
    genes: pd.DataFrame,
    config: PrepareConfig,
    out: Path,
    *,
    name: str,
    simulated: bool = False,
    vocabulary: GeneVocabulary | None = None,
    peaks: PeakVocabulary | None = None,
) -> Store:
    """Prepares the cells of a run, and says what was found; see `prepare.run`.

    Raises:
        InputError: data that break a rule, by their name.
    """
    with stage("prepare") as found, _naming(name):
        store = prepare.run(
            data,
            genes,
            config,
            out,
            provenance={"name": name, "simulated": simulated},
            vocabulary=vocabulary,
            peaks=peaks,
        )
        found.append(_describe(store))
    if (lost := _lost(store)) is not None:
        print(lost)
    return store


def _seeded(config: CellTypesConfig) -> CellTypesConfig:
    """One seed for all parts, where one is given."""
    if config.seed is None:
        return config
    return dataclasses.replace(
        config,
        prepare=dataclasses.replace(config.prepare, seed=config.seed),
        pretrain=dataclasses.replace(config.pretrain, seed=config.seed),
        finetune=dataclasses.replace(config.finetune, seed=config.seed),
    )


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Names the data in an error that knows their part alone."""
    try:
        yield
    except InputError as error:
        if error.source not in ("rna", "atac", "peaks"):
            raise
        source = f"{name} [{error.source}]"
        raise InputError(source, error.problem, error.remedy) from error


def _lost(store: Store) -> str | None:
    """A warning where most cells are left out for what they lack."""
    found = store.manifest["report"]["cell_filter"]
    if found["after"] * 2 >= found["before"]:
        return None
    return (
        f"*** kept {store_report.filtered(found)}. --min-feature-fraction 0 keeps all. "
        "***"
    )


def _describe(store: Store) -> str:
    """Sizes, split, and what became of the peaks."""
    split = " / ".join(f"{len(store.split(s)):,}" for s in summary.SPLITS)
    text = (
        f"{store.num_cells:,} cells x {store.num_genes:,} genes, "
        f"{len(store.label_names)} types; {split}"
    )
    found = reporting.peak_aggregation(store)
    if found is None:
        return text
    ends = [f"{bp / 1_000:g}" for bp in (0, *found["bands_bp"])]
    bands = " / ".join(map("-".join, itertools.pairwise(ends)))
    return (
        f"{text}; peaks to genes: {_counts(found['peaks_per_band'])} peaks and "
        f"{_counts(found['fragments_per_band'])} fragments in {bands} kb, "
        f"{found['peaks_outside']:,} and {found['fragments_outside']:,} outside, "
        f"{found['genes_without_peak']:,} genes without a peak"
    )


def _counts(numbers: list[int]) -> str:
    return " / ".join(f"{n:,}" for n in numbers)


def _regimes(
    data: Any,
    name: str,
    config: CellTypesConfig,
    model: export.StoredModel | None,
) -> tuple[Regime, ...]:
    """What to judge: all that data and model have, or what was asked for."""
    parts = split_modalities(data, name)
    has = set(parts)
    if model is not None:
        has &= {Modality(m) for m in model.config.modalities}
    possible = [r for r in Regime if set(r.modalities) <= has]
    if Regime.MULTIOME in possible and not have_pairs(parts):
        possible.remove(Regime.MULTIOME)
    for regime in config.regimes or ():
        if regime not in possible:
            raise InputError(
                name,
                f"{regime} was asked for, but data and model share "
                f"{', '.join(possible) or 'no modality'}",
                f"choose --modality {' or '.join(possible) or 'of other data'}",
            )
    if not possible:
        raise InputError(
            name,
            "data and model share no modality",
            "give a model that was trained on a modality of the data",
        )
    return config.regimes or tuple(possible)


def _finetune(
    store: Store,
    model: export.StoredModel,
    config: CellTypesConfig,
    regime: Regime,
    out: Path,
) -> dict[str, export.StoredModel]:
    tuned = {}
    with stage(f"fine-tune {regime}"):
        tuned[OURS] = finetune.run(
            store, model, config.finetune, regime, out / "finetune" / regime
        )
    if config.from_scratch:
        with stage(f"from scratch {regime}"):
            tuned[SCRATCH] = finetune.run(
                store,
                model,
                dataclasses.replace(config.finetune, frozen=False),
                regime,
                out / "from_scratch" / regime,
                from_scratch=True,
            )
    return tuned

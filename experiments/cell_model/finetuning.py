"""Cell types from a pre-trained model, on one host or on several (SPEC 2.5, 2.6).

    python -m experiments.train cell_model.finetuning --model runs/pretraining \\
        --data.dataset data/zheng68k --modality rna --out runs/zheng68k
    python -m experiments.train cell_model.finetuning --preset study \\
        --model runs/study --data.dataset gs://bucket/cells/neurips_bmmc \\
        --modality multiome --out runs/neurips_bmmc

The cells are prepared with the genes, medians and bins of the model: by `scmultimodal
prepare --vocabulary runs/pretraining --label COLUMN`, or here, of what
`cell_model.pretraining` takes too. Data that the model was pre-trained on must have the
same training cells as then. `cell_model.cell_type` compares modalities and
pre-trains itself; this trains one classifier, which many hosts can do. Host 0 judges it
beside the baselines. Expected: what experiments/study_runs.toml says of each dataset.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import jax
import tyro

from experiments.cell_model import data
from experiments.cell_model.data import DataConfig
from experiments.study import CellStudyConfig
from scmultimodal.data.store import Store
from scmultimodal.evaluation import summary
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.training import hosts
from scmultimodal.weights import export
from scmultimodal.workflows import (
    cell_types,
    comparison,
    curves,
    finetune,
    judge,
    judged,
    presets,
    provenance,
)
from scmultimodal.workflows.finetune_config import FinetuneConfig
from scmultimodal.workflows.presets import PresetName


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(CellStudyConfig):
    """All numbers of a fine-tuning."""

    model: Path
    """Run folder or exported model to start from."""
    data: DataConfig
    """Which cells; they must have labels."""
    modality: Regime = Regime.RNA
    """What the classifier sees."""
    from_scratch: bool = False
    """Also train a classifier without pre-training, as a control."""
    baselines: bool = True
    """Judge logistic regression and others beside it."""
    finetune: Annotated[FinetuneConfig, tyro.conf.arg(name="")]
    """The training."""


def default(preset: PresetName) -> Study:
    """The numbers of a preset; `out` and `model` are left to the command line."""
    return Study(
        out=tyro.MISSING,
        preset=preset,
        model=tyro.MISSING,
        data=DataConfig(),
        finetune=presets.PRESETS[preset].finetune,
    )


def run(study: Study) -> None:
    """Trains on the labelled training cells, and judges on the test cells."""
    model = export.load(study.model)
    _check_modality(study, model)
    given = Store.find(study.data.dataset)
    config = configs.to_json(study) | {
        "model_sha256": provenance.digest(*jax.tree.leaves(model.params))
    }
    resume = study.finetune.resume == "auto"
    provenance.check_config(study.out, config, resume=resume)
    store = data.on_all_hosts(given, study.out / "data", lambda: _prepare(study, model))
    _check_vocabulary(store, study, model)
    provenance.check_split(
        store,
        model.config.provenance,
        remedy="Give the data that it was trained on: --data.dataset RUN/data",
    )
    provenance.write_config(study.out, config)
    trained = {
        cell_types.OURS: finetune.run(
            store, model, study.finetune, study.modality, study.out
        )
    }
    trainings = {"fine-tuning": study.out}
    if study.from_scratch:
        folder = trainings["from scratch"] = study.out / "from_scratch"
        trained[cell_types.SCRATCH] = finetune.run(
            store,
            model,
            dataclasses.replace(study.finetune, frozen=False),
            study.modality,
            folder,
            from_scratch=True,
        )
    if hosts.is_main():
        _judge(study, store, trained)
    curves.draw(study.out, trainings)
    comparison.write_page(study.out)
    print(f"model   {study.out / 'model'}\nsummary {study.out / 'summary.json'}")
    hosts.barrier("judged")


def _check_modality(study: Study, model: export.StoredModel) -> None:
    missing = set(study.modality.modalities) - set(model.config.modalities)
    if missing:
        raise InputError(
            study.model,
            f"was not trained on {min(missing)}, and --modality is {study.modality}",
            f"Give --modality {' or '.join(model.config.modalities)}, or another model",
        )


def _prepare(study: Study, model: export.StoredModel) -> Store:
    return data.prepare(
        study.data,
        presets.PRESETS[study.preset].recipe,
        study.out / "data",
        seed=study.finetune.seed,
        vocabulary=model.vocabulary,
    )


def _check_vocabulary(store: Store, study: Study, model: export.StoredModel) -> None:
    if store.vocabulary.digest() != model.vocabulary.digest():
        raise InputError(
            study.data.dataset,
            f"has other genes, medians or bins than {study.model}",
            f"Prepare it by scmultimodal prepare --vocabulary {study.model}",
        )


def _judge(study: Study, store: Store, trained: dict[str, export.StoredModel]) -> None:
    """Scores on the test cells, printed and in `summary.json`."""
    found = judge.run(
        store,
        study.modality,
        trained,
        seed=study.finetune.seed,
        with_baselines=study.baselines,
    )
    told = judged.types(store, found.cells, found.predictions)
    judged.write(study.out, {str(study.modality): told})
    origin = store.manifest["provenance"]
    summary.write_summary(
        study.out / "summary.json",
        dataset=str(origin.get("name")),
        seed=study.finetune.seed,
        split={name: len(store.split(name)) for name in summary.SPLITS},
        left_out=store.manifest["report"]["left_out"],
        results=found.results,
        simulated=bool(origin.get("simulated")),
        validation={str(study.modality): dict(found.notes)},
    )
    print(f"\n{len(found.cells):,} test cells of {origin.get('name')}")
    print(summary.format_table(found.results))

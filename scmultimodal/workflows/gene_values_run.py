"""A fine-tuning on values of expression as a run folder, judged beside what is simple.

config.json     command and settings
finetune/       metrics and checkpoints; from_scratch/ of the control
model/          what `CellModel.impute` answers by
summary.json    scores of validation and test cells, models and rivals
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scmultimodal.data import atomic
from scmultimodal.data.store import Store
from scmultimodal.evaluation.gene_values import ValueScores
from scmultimodal.training import hosts
from scmultimodal.weights import export
from scmultimodal.workflows import (
    comparison,
    curves,
    gene_values,
    gene_values_judge,
    judged,
    provenance,
)
from scmultimodal.workflows.gene_values_config import GeneValuesConfig

OURS, SCRATCH = "scmultimodal", "scmultimodal_from_scratch"
TITLE = (
    "Squared error and per-gene Pearson over the genes that cells show, of {} {} cells"
)


def run(
    take: Callable[[], Store],
    start: export.StoredModel,
    config: GeneValuesConfig,
    out: Path,
    *,
    from_scratch: bool,
    written: Mapping[str, Any],
) -> dict[str, dict[str, ValueScores]]:
    """Trains, judges on validation and test cells, and says where its parts are.

    Args:
        take: opens or prepares the cells, once the folder is known to serve.
        start: model to go on from.
        config: the training.
        out: run folder.
        from_scratch: also trains from a fresh trunk, as a control.
        written: all else that the run depends on, for its `config.json`.

    Returns:
        Scores by part of the cells and by model.

    Raises:
        InputError: a model that reads no peaks, data that break a rule, or a folder of
            another run.
    """
    gene_values.check_start(start)
    provenance.check_config(out, written, resume=config.resume == "auto")
    store = take()
    remedy = "Give the --label and --seed of its pre-training, or its data"
    provenance.check_split(store, start.config.provenance, remedy=remedy)
    provenance.write_config(out, written)
    models = {OURS: gene_values.run(store, start, config, out / "finetune")}
    trainings = {"fine-tuning": out / "finetune"}
    if from_scratch:
        folder = trainings["from scratch"] = out / "from_scratch"
        whole = dataclasses.replace(config, frozen=False)
        models[SCRATCH] = gene_values.run(
            store, start, whole, folder, from_scratch=True
        )
    if hosts.is_main():
        export.save(models[OURS], out / "model")
    builder = gene_values.builder_for(store, start, config)
    scores = gene_values_judge.run(store, builder, models)
    if hosts.is_main():
        text = json.dumps(gene_values_judge.as_json(scores), indent=1) + "\n"
        atomic.write_text(out / "summary.json", text)
    parts = {part: gene_values.cells_of(store, part) for part in scores}
    judged.write(out, {part: judged.cells(store, c) for part, c in parts.items()})
    curves.draw(out, trainings)
    comparison.write_page(out)
    print(f"model   {out / 'model'}\nsummary {out / 'summary.json'}")
    for part, cells in parts.items():
        print(f"\n{TITLE.format(f'{len(cells):,}', part)}")
        print(gene_values_judge.format_table(scores[part]))
    return scores

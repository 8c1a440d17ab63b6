"""Which of a span's regions is more accessible: an encoder of DNA learns it (SPEC 3.3).

    python -m experiments.train genome_model.region_ranking \\
        --head convolutional --encoder trained --out runs/ranking
    python -m experiments.train genome_model.region_ranking --preset study \\
        --start nt-v2-50m/ --data.spans runs/spans --out runs/ranking

Without --data.spans the examples are made from DNase over 65 regions of hg38. `small`
first trains on the signal of windows at random places, then ranks; it takes some ten
minutes on two CPU cores. `study` is the published 50M shape and starts from --start.

The ten test regions of DNase say little alone (± .08 and more): quote what
genome_model.ranking_grid cross-validates over all 65.
"""

import dataclasses
import json
import tempfile
from pathlib import Path

from experiments.genome_model import data, variants
from experiments.genome_model.data import RIDGE, Loaded, PeakSet
from scmultimodal.data import atomic
from scmultimodal.evaluation import ranking_summary
from scmultimodal.modules.heads.accessibility import ScorerName
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.training import hosts
from scmultimodal.weights.genome_model import StoredGenomeModel
from scmultimodal.workflows import (
    comparison,
    curves,
    dry_run,
    judged,
    provenance,
    ranking,
)
from scmultimodal.workflows.ranking_config import RankingConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(variants.RankingStudyConfig):
    """All numbers of a training by ranking."""

    head: ScorerName = "convolutional"
    """The scorer."""
    start: Path | None = None
    """Encoder to start from: a model folder of ours, or a published one."""
    examples: PeakSet = "wide"
    """Of those made from DNase: two peaks and a gap within 3 kb, or within 65 kb."""
    dry_run: bool = False
    """Say what the trainings would take, and start none."""


default = Study.of_preset


def run(study: Study) -> None:
    """Trains, judges on the validation and test spans, and prints the tables."""
    variants.refuse_unread(
        study.ranking,
        default(study.preset).ranking,
        {"scorer.name": "--head"},
        start=study.start is not None,
    )
    if study.ranking.outputs == "added" and study.data.spans is None:
        raise InputError(
            "--outputs added",
            "has no spans of new cell types",
            "give --data.spans, prepared with the --num-tokens of the model",
        )
    start = data.load_start(study.start)
    numbers = variants.with_head(study.ranking, study.head)
    if study.dry_run:
        _say_what_it_takes(study, numbers, start)
        return
    config = configs.to_json(study) | data.identity(study.data, start)
    del config["dry_run"]
    provenance.check_config(study.out, config, resume=study.ranking.resume == "auto")

    def load() -> Loaded:
        return _load(study, study.out / "data")

    loaded = hosts.made_by_main(load, load)
    ((kind, spans),) = loaded.spans.items()
    provenance.write_config(study.out, config)
    if loaded.signal is not None:
        start = ranking.run(
            loaded.signal,
            study.signal.ranking(numbers),
            study.out / "signal",
            start=start,
            describe="train on signal",
        )
    model = ranking.run(spans, numbers, study.out, start=start)
    builder = ranking.make_builder(spans, numbers, model)
    name, summary = f"{study.head}, {study.ranking.encoder}", {}
    examples = {}
    for split in ("validation", "test"):
        rows = spans.split(split)
        if not len(rows):
            continue
        rankers = {
            name: ranking.scores(model, builder, rows),
            **data.baselines(spans, fit_on=spans.split("train"), score_on=rows),
        }
        results = ranking_summary.judge(
            rankers,
            spans.values[rows],
            spans.group[rows],
            over=("gc", RIDGE),
        )
        summary[split] = [result.as_row() for result in results]
        examples[split] = judged.spans(spans, rows)
        print(f"\n{len(rows):,} {split} spans of {study.data.name}, {kind}")
        print(ranking_summary.format_table(results))
    if hosts.is_main():
        text = json.dumps(summary, indent=1) + "\n"
        atomic.write_text(study.out / "summary.json", text)
    judged.write(study.out, examples)
    trainings = {"ranking": study.out}
    if loaded.signal is not None:
        trainings = {"signal": study.out / "signal", **trainings}
    curves.draw(study.out, trainings)
    comparison.write_page(study.out)
    print(f"\nmodel   {study.out / 'model'}\nsummary {study.out / 'summary.json'}")


def _load(study: Study, out: Path) -> Loaded:
    return data.load(
        study.data,
        out,
        peaks=(study.examples,),
        with_signal=study.signal.steps > 0,
    )


def _say_what_it_takes(
    study: Study, numbers: RankingConfig, start: StoredGenomeModel | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        loaded = _load(study, Path(folder))
        if loaded.signal is not None:
            of_signal = study.signal.ranking(numbers)
            plan = ranking.plan(loaded.signal, of_signal, start=start)
            print(f"on signal\n{dry_run.format_plan(plan)}\n")
        ((kind, spans),) = loaded.spans.items()
        plan = ranking.plan(spans, numbers, start=start)
        print(f"by ranking, {kind}\n{dry_run.format_plan(plan)}")
